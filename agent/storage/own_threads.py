"""Short questions to file systems that may hang. In: a name and a function. Out: its result, or `Transient` in time.

A hung network file system holds its thread for as long as it hangs. So no such question runs on the event loop, nor in
a pool that others share: each name has one thread of its own, and the next caller of the name waits for that one.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from agent.storage.protocol import Transient

Result = TypeVar("Result")

PATIENCE_SECONDS = 10.0


class OwnThreads:
    """`patience`: seconds that a caller waits, for its turn and its result together."""

    def __init__(self, patience: float = PATIENCE_SECONDS) -> None:
        self._patience = patience
        self._busy: dict[str, asyncio.Future[Any]] = {}

    async def run(self, name: str, work: Callable[[], Result]) -> Result:
        """The result of `work`, or what it raised. Raises `Transient` when it doesn't come in time; the thread then
        goes on, and what it does after that is nobody's."""
        try:
            async with asyncio.timeout(self._patience):
                while (busy := self._busy.get(name)) is not None:
                    await asyncio.wait({busy})
                result: Result = await asyncio.shield(self._begun(name, work))
                return result
        except TimeoutError:
            raise Transient(f"the file system of {name} does not answer", patience=self._patience) from None

    def _begun(self, name: str, work: Callable[[], Result]) -> "asyncio.Future[Result]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def settle(result: Result | None, error: BaseException | None) -> None:
            del self._busy[name]
            if error is not None:
                future.set_exception(error)
                future.exception()  # looked at: whoever asked may be gone
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def run() -> None:
            result, failed = None, None
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - raised to whoever asked
                failed = error
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(settle, result, failed)

        self._busy[name] = future
        # A daemon, so that the process can end while it hangs.
        threading.Thread(target=run, name=f"open-{name}", daemon=True).start()
        return future
