"""Children of the tests: started in a process group of their own, waited for with a deadline, and surely ended.

In: an argument list and a log file. Out: a `Child`. It belongs to no event loop, so a fixture of the session may start
what a test pauses or kills. Whatever fails shows the end of the child's log.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.cluster.reaper import Reaper, start_time

_reaper = Reaper()
_POLL = 0.05  # seconds


class ProcessError(Exception):
    """A child ended, or did not do what was waited for in time; the message carries the end of its log."""


def tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log file, '' when there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 256 * lines))
        return "\n".join(stream.read().decode(errors="replace").splitlines()[-lines:])


class Child:
    """One started program and its process group; everything that it prints goes to `log`."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        outlives_us: bool = False,
    ) -> None:
        """`env` is added to this process's own; `outlives_us` leaves it running when this process ends."""
        self.name = name
        self.argv = [str(part) for part in argv]
        self.log = log
        self.cwd = cwd
        self.environment = dict(env or {})
        self._outlives_us = outlives_us
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it must not be running."""
        if self.alive:
            raise ProcessError(f"{self.name} is running already, pid {self.pid}")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                cwd=self.cwd,
                start_new_session=True,
            )
        if not self._outlives_us:
            _reaper.adopt(self._process.pid)

    @property
    def pid(self) -> int:
        """The pid of the leader, which is also the number of its group."""
        if self._process is None:
            raise ProcessError(f"{self.name} was never started")
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the leader runs (a paused one does)."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The leader's exit code, negative for a signal; None while it runs or was never started."""
        return None if self._process is None else self._process.poll()

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the leader or to its whole group; to nobody when it has ended."""
        if not group:
            if self._process is not None:
                self._process.send_signal(number)
            return
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def pause(self) -> None:
        """SIGSTOP to the group, again and again, for one that was just started may not lead it yet. When it returns no
        thread of the leader runs any more: on a busy machine each one stops only when it is its turn, and may have
        answered somebody by then."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            self.signal(signal.SIGSTOP, group=True)
            if all(state in "TXZ" for state in _thread_states(self.pid)):
                return
            time.sleep(0.002)
        raise AssertionError(f"{self.pid} doesn't stand still")

    def resume(self) -> None:
        """SIGCONT to the group."""
        self.signal(signal.SIGCONT, group=True)

    async def stop(self, grace: float = 30.0) -> None:
        """SIGTERM to the leader; after `grace` seconds, and for what its group left behind, SIGKILL."""
        if self._process is None:
            return
        if self.alive:
            self.resume()
            self.signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await self.ended(grace)
        await self.kill()

    async def kill(self, *, group: bool = True) -> None:
        """SIGKILL to the group (or, with `group=False`, to the leader alone, whose children live on)."""
        if self._process is None:
            return
        self.signal(signal.SIGKILL, group=group)
        await self.ended(30)
        if group and not self._outlives_us:
            _reaper.release(self.pid)

    def let_go(self) -> None:
        """Know nothing of it any more: somebody else will end it."""
        if self._process is not None:
            self._process.returncode = 0

    def let_go_if_ended(self) -> None:
        """Ask for the exit code of a leader that is gone, so that nothing is left of it; of one that isn't, forget
        it."""
        if self.alive:
            self.let_go()

    def reaped(self) -> None:
        """Wait until the leader, which was sent SIGKILL, is gone."""
        if self._process is not None:
            self._process.wait()
            if not self._outlives_us:
                _reaper.release(self.pid)

    async def ended(self, deadline: float) -> int:
        """Wait until the leader ended; its exit code. Raises TimeoutError after `deadline` seconds."""
        async with asyncio.timeout(deadline):
            while (code := self.exit_code) is None:  # noqa: ASYNC110  # a process sets no event
                await asyncio.sleep(_POLL)
            return code

    async def until(self, what: str, holds: Callable[[], Awaitable[bool]], deadline: float) -> None:
        """Wait until `holds()`; raises ProcessError when the child ends first or `deadline` seconds have passed."""
        end = time.monotonic() + deadline
        while not await holds():
            if not self.alive:
                raise ProcessError(f"{self.name} ended with {self.exit_code} before {what}:\n{tail(self.log)}")
            if time.monotonic() > end:
                raise ProcessError(f"{self.name}: not {what} after {deadline:g} s:\n{tail(self.log)}")
            await asyncio.sleep(_POLL)

    async def until_listening(self, address: str, port: int, deadline: float = 30.0) -> None:
        """Wait until something accepts connections there; raises ProcessError as `until` does."""

        async def listening() -> bool:
            return answers(address, port)

        await self.until(f"listening on {address}:{port}", listening, deadline)


class Found(Child):
    """A process that somebody else started, the leader of its group; known by its pid and start time."""

    def __init__(self, name: str, pid: int, started: str, log: Path) -> None:
        super().__init__(name, (), log)
        self._found = pid
        self._started = started

    def start(self) -> None:
        """It can't be started here."""
        raise ProcessError(f"{self.name} was started by somebody else")

    @property
    def pid(self) -> int:
        """See `Child.pid`."""
        return self._found

    @property
    def alive(self) -> bool:
        """See `Child.alive`."""
        return start_time(self._found) == self._started

    @property
    def exit_code(self) -> int | None:
        """None while it runs; then 0, for nobody but its parent hears more."""
        return None if self.alive else 0

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """See `Child.signal`."""
        if self.alive:
            (os.killpg if group else os.kill)(self._found, number)

    async def stop(self, grace: float = 30.0) -> None:
        """See `Child.stop`."""
        self.resume()
        self.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await self.ended(grace)
        await self.kill()

    async def kill(self, *, group: bool = True) -> None:
        """See `Child.kill`."""
        self.signal(signal.SIGKILL, group=group)
        await self.ended(30)

    def let_go(self) -> None:
        """Nobody waits for it here."""

    def reaped(self) -> None:
        """Nobody waits for it here."""


def watch(directory: Path) -> None:
    """Have whoever the directory's pid file names killed when this process ends, see `tests.cluster.reaper`."""
    _reaper.watch(directory)


async def together(*waits: Coroutine[Any, Any, object]) -> None:
    """Await all at once; the first failure cancels the others and is raised as it is, not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            for wait in waits:
                group.create_task(wait)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


def end(children: Sequence[Child], grace: float) -> None:
    """SIGTERM to all at once; after `grace` seconds, and for what their groups left behind, SIGKILL. Needs no event
    loop, so that a signal handler may call it."""
    for child in children:
        child.resume()
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + grace
    while any(child.alive for child in children) and time.monotonic() < deadline:
        time.sleep(_POLL)
    for child in children:
        child.signal(signal.SIGKILL, group=True)
        child.reaped()


def answers(address: str, port: int) -> bool:
    """Whether a TCP connection to a loopback address is accepted at once."""
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


async def run(argv: Sequence[str | Path], deadline: float = 120.0, env: Mapping[str, str] | None = None) -> str:
    """Run a program to its end; what it printed on both streams. Raises ProcessError when it fails or hangs."""
    process = await asyncio.create_subprocess_exec(
        *[str(part) for part in argv],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(deadline):
            printed = (await process.communicate())[0].decode(errors="replace")
    except (TimeoutError, asyncio.CancelledError):
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    if process.returncode:
        raise ProcessError(f"{argv[0]} {argv[1] if len(argv) > 1 else ''} ended with {process.returncode}:\n{printed}")
    return printed


def _thread_states(pid: int) -> list[str]:
    """The state of each thread, as /proc has it (T: stopped)."""
    states = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            states.append((task / "stat").read_text().rpartition(")")[2].split()[0])
    return states
