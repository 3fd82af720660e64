"""A store at the other end of a line. In: a store in memory and the process that asks. Out: the same store, each of
whose answers takes time, and may never come.

A listing is asked for page by page, and shows at each page what is there by then. Keys to be deleted go one by one.
Gates are not passed: how bytes are throttled is proved elsewhere.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from agent.storage.protocol import OPEN, Buffer, Entry, Gate, Put, Transient, Unlocked
from tests.fast.storage.memory import MemoryStorage
from tests.simulation.process import Process

Result = TypeVar("Result")


class RemoteStorage(Unlocked):
    """`page`: how many keys one answer lists."""

    def __init__(self, memory: MemoryStorage, process: Process, page: int = 1000) -> None:
        self._memory = memory
        self._process = process
        self._page = page

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        """See `Storage.put`."""
        content = b"".join(body)  # as it is now: the buffers are used again
        return await self._ask("put", key, lambda: self._memory.put(key, [content], replace=replace))

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        """See `Storage.get`."""
        return await self._ask("get", key, lambda: self._memory.get(key, start, length))

    async def head(self, key: str) -> Entry | None:
        """See `Storage.head`."""
        return await self._ask("head", key, lambda: self._memory.head(key))

    async def list(self, prefix: str) -> AsyncIterator[Entry]:
        """See `Storage.list`."""
        last = ""
        while True:
            entries = await self._ask("list", f"{prefix} {last}", partial(self._listed, prefix, last))
            for entry in entries:
                yield entry
            if len(entries) < self._page:
                return
            last = entries[-1].key

    async def delete(self, keys: Sequence[str]) -> None:
        """See `Storage.delete`."""
        for key in keys:
            await self._ask("delete", key, partial(self._memory.delete, [key]))

    async def close(self) -> None:
        """Nothing to give back."""

    async def _listed(self, prefix: str, behind: str) -> Sequence[Entry]:
        found: list[Any] = []
        async for entry in self._memory.list(prefix):
            if entry.key > behind and len(found) < self._page:
                found.append(entry)
        return found

    async def _ask(self, verb: str, what: str, effect: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        return await self._process.request(
            verb, what.removeprefix("helenus/v1/"), effect, lambda: Transient(f"no answer to {verb} {what}")
        )
