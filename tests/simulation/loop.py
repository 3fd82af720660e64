"""Virtual time on one event loop, without threads. In: a coroutine. Out: what it gives, as quickly as it computes.

When nothing is ready, time leaps to the next timer; when there is no timer either, the run is stuck and says so. What
the product gives to threads runs in the loop, after as much virtual time as `work_seconds` says: so the order of all
that happens depends on nothing but the numbers that are drawn, and a run can be repeated.
"""

import asyncio
import contextvars
import selectors
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, TypeVar

from agent.storage.threads import Stop, Workers
from tests.simulation.process import PROCESS, Crash, Process

Result = TypeVar("Result")
EPOCH = 1_700_000_000.0
"""Unix seconds of the time 0."""


class Stuck(AssertionError):
    """Everybody waits for something that nobody will ever do."""


class _Leap(selectors.SelectSelector):
    """Waits for no file descriptor: instead of passing, time is set on."""

    def __init__(self, now: float) -> None:
        super().__init__()
        self.now = now

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck("nothing is ready, and no timer is set")
        self.now += max(timeout, 0.0)
        return []


class _Task(asyncio.Task[Any]):
    """A task whose place in a set is the same in each run: asyncio cancels a group's tasks in that order."""

    def __init__(self, number: int, *arguments: Any, **more: Any) -> None:
        self._number = number
        super().__init__(*arguments, **more)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class VirtualLoop(asyncio.SelectorEventLoop):
    """`work_seconds`: how long a call in a thread takes, drawn for each."""

    def __init__(self, work_seconds: Callable[[], float], begin: float) -> None:
        self._leap = _Leap(begin)
        super().__init__(self._leap)
        self._work_seconds = work_seconds
        self._numbers = count()
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Virtual seconds since `EPOCH`."""
        return self._leap.now

    def unix(self) -> float:
        """The time of day, for clocks."""
        return EPOCH + self._leap.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]
        """Call the function in the loop, a little later."""
        process = PROCESS.get()
        if process is not None:
            process.step("work", _name(func))
        future = self.create_future()
        self.call_later(self._work_seconds(), self._work, process, future, func, args)
        return future

    def _work(
        self, process: Process | None, future: "asyncio.Future[Any]", func: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        if process is not None and process.dead:
            _settle(future, error=Crash())
            return
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 - raised to whoever waits
            _settle(future, error=error)
        else:
            _settle(future, result)

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, work: Any, context: contextvars.Context | None = None, **more: Any
    ) -> "asyncio.Task[Any]":
        task = _Task(next(self._numbers), work, loop=loop, context=context, **more)
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is not None:
            process.tasks.append(task)
        return task


class InLoop(Workers):
    """A pool of threads without threads, for `VirtualLoop`."""

    def __init__(self, count: int, name: str) -> None:
        self._turns = asyncio.Semaphore(count)

    async def run(self, work: Callable[[Stop], Result]) -> Result:
        """See `Workers.run`."""
        stop = Stop()
        async with self._turns:
            running = asyncio.get_running_loop().run_in_executor(None, work, stop)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                stop.set()
                while not running.done():
                    try:
                        await asyncio.wait([running])
                    except asyncio.CancelledError:
                        continue
                raise

    async def close(self) -> None:
        """There is nothing to end."""


def simulate(
    work: Coroutine[Any, Any, Result], work_seconds: Callable[[], float] = lambda: 0.0, begin: float = 0.0
) -> Result:
    """What the coroutine gives, on a loop of its own, whose time begins `begin` seconds after `EPOCH`. Raises what it
    raises, and `Stuck`."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(work_seconds, begin)) as runner:
        return runner.run(work)


def unix_now() -> float:
    """The virtual time of day of the loop that runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.unix()


def _settle(future: "asyncio.Future[Any]", result: Any = None, error: BaseException | None = None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
        future.exception()  # looked at: whoever asked may be gone


def _name(func: Any) -> str:
    while hasattr(func, "func"):  # what `asyncio.to_thread` makes of it
        func = func.args[0] if func.args and callable(func.args[0]) else func.func
    return str(getattr(func, "__qualname__", func)).replace(".<locals>", "")
