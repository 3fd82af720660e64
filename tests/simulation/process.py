"""A process that can be killed. In: its tasks and what they ask of the outside. Out: nothing any more, once it is dead.

All that leaves a process goes through `step` (work in threads: files, the journal) or `request` (a store, Cassandra),
each a moment at which it may be killed. From its death on each of them raises `Crash` and does nothing; what had been
asked of others may still be carried out by them.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from enum import Enum, auto
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")


class Crash(BaseException):
    """The process is gone: nothing catches it."""


class Fate(Enum):
    """What becomes of a request."""

    ANSWERED = auto()
    KILLED_BEFORE = auto()
    """The process dies before it asks."""
    KILLED_AFTER = auto()
    """It dies when what it asked for is done, before it hears of it."""
    LOST = auto()
    """It is done, and the answer gets lost."""


class Faults(Protocol):
    """Who decides what goes wrong."""

    def step(self, process: "Process", what: str) -> Fate:
        """Called at each step in a thread; ANSWERED or KILLED_BEFORE."""

    def request(self, process: "Process", what: str) -> Fate:
        """Called at each request to a store or to Cassandra."""

    def travel(self, what: str) -> tuple[float, float, float]:
        """How long the process waits before it asks, how long the request is on its way, and its answer; in seconds."""

    def arrives(self) -> bool:
        """Whether a request still arrives whose process died while it was on its way."""


class Calm:
    """Nothing goes wrong, and all takes a millisecond."""

    def step(self, process: "Process", what: str) -> Fate:
        """See `Faults`."""
        return Fate.ANSWERED

    def request(self, process: "Process", what: str) -> Fate:
        """See `Faults`."""
        return Fate.ANSWERED

    def travel(self, what: str) -> tuple[float, float, float]:
        """See `Faults`."""
        return 0.0, 0.0005, 0.0005

    def arrives(self) -> bool:
        """See `Faults`."""
        return True


class Process:
    """One life. `trace` is told each moment."""

    def __init__(self, name: str, faults: Faults, trace: Callable[[str], None] = lambda line: None) -> None:
        self.name = name
        self.dead = False
        self.tasks: list[asyncio.Task[Any]] = []
        self.died = asyncio.Event()
        self._faults = faults
        self._trace = trace

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run the work as the process's own. Raises Crash when the process dies meanwhile."""
        context = Context()
        context.run(PROCESS.set, self)
        task: asyncio.Task[Result] = asyncio.get_running_loop().create_task(work, context=context)
        dying = asyncio.ensure_future(self.died.wait())
        try:
            await asyncio.wait([task, dying], return_when=asyncio.FIRST_COMPLETED)
        finally:
            dying.cancel()
        if self.dead:
            raise Crash
        return task.result()

    def step(self, kind: str, what: str) -> None:
        """A moment in which the process does something itself. Raises Crash."""
        self._refuse_dead()
        fate = self._faults.step(self, f"{kind} {what}")
        self._tell(kind, what, fate)
        if fate is not Fate.ANSWERED:
            self._die()

    async def request(
        self, verb: str, what: str, effect: Callable[[], Coroutine[Any, Any, Result]], lost: Callable[[], Exception]
    ) -> Result:
        """Ask somebody else for something; `lost` makes the error of an answer that doesn't come. Raises Crash."""
        self._refuse_dead()
        fate = self._faults.request(self, f"{verb} {what}")
        self._tell(verb, what, fate)
        if fate is Fate.KILLED_BEFORE:
            self._die()
        before, there, back = self._faults.travel(f"{verb} {what}")
        if before:
            await asyncio.sleep(before)
            self._refuse_dead()
        # Outside of the process: what was asked for is carried out, whatever becomes of who asked.
        carried: asyncio.Task[Result] = asyncio.get_running_loop().create_task(
            self._carried_out(effect, there), context=Context()
        )
        carried.add_done_callback(_looked_at)
        result = await asyncio.shield(carried)
        self._refuse_dead()
        if fate is Fate.KILLED_AFTER:
            self._die()
        await asyncio.sleep(back)
        self._refuse_dead()
        if fate is Fate.LOST:
            raise lost()
        return result

    def kill(self) -> None:
        """The process is no more. `reap` ends what is left of it."""
        self._trace(f"{self.name} dies")
        self.dead = True
        self.died.set()

    async def reap(self) -> None:
        """After its death: end its tasks, none of which can do anything any more."""
        for _ in range(200):
            left = [task for task in self.tasks if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=60.0)
        names = [task.get_name() for task in self.tasks if not task.done()]
        assert not names, f"tasks of {self.name} can't be ended: {names}"
        for task in self.tasks:
            _looked_at(task)
        self.tasks.clear()

    async def _carried_out(self, effect: Callable[[], Coroutine[Any, Any, Result]], there: float) -> Result:
        await asyncio.sleep(there)
        if self.dead and not self._faults.arrives():
            raise Crash
        return await effect()

    def _die(self) -> None:
        self.kill()
        raise Crash

    def _refuse_dead(self) -> None:
        if self.dead:
            raise Crash

    def _tell(self, verb: str, what: str, fate: Fate) -> None:
        told = "" if fate is Fate.ANSWERED else f"  <- {fate.name.lower()}"
        self._trace(f"{self.name} {verb} {what}{told}")


PROCESS: ContextVar[Process | None] = ContextVar("PROCESS", default=None)


def _looked_at(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()  # looked at: whoever asked may be gone
