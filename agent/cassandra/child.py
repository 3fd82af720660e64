"""A child process with a deadline. In: an argument list. Out: exit code and the beginning and end of what it said.

The child leads a process group of its own: when the deadline passes, or the task is cancelled, the whole group is
killed, so that no grandchild (nodetool is a script that starts a JVM) stays behind.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Collection, Mapping, Sequence

import msgspec

_HALF = 16 * 1024
_READ = 64 * 1024


class Ended(msgspec.Struct, frozen=True):
    """How a child ended. `output`: stdout and stderr as they came, its middle left out when it is long."""

    exit_code: int
    output: str


class _Bounded:
    """The first and the last bytes of a stream."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0

    def add(self, data: bytes) -> None:
        room = _HALF - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room < len(data) else b""
        surplus = len(self._tail) - _HALF
        if surplus > 0:
            del self._tail[:surplus]
            self._left_out += surplus

    def text(self) -> str:
        middle = f"\n[… {self._left_out} bytes left out …]\n" if self._left_out else ""
        return self._head.decode(errors="replace") + middle + self._tail.decode(errors="replace")


async def run_child(
    arguments: Sequence[str], *, deadline: float, environment: Mapping[str, str] | None = None
) -> Ended:
    """Run the child to its end, without a shell, without stdin.

    Raises `TimeoutError` after `deadline` seconds and `OSError` when it can't be started; in the first case, and when
    the calling task is cancelled, its process group is killed and reaped before this returns.
    """
    process = await start_child(arguments, environment=environment)
    said = _Bounded()
    try:
        async with asyncio.timeout(deadline):
            assert process.stdout is not None  # noqa: S101 a pipe was asked for
            while data := await process.stdout.read(_READ):
                said.add(data)
            return Ended(await process.wait(), said.text())
    except BaseException:  # the leader may be gone while what it started lives on and holds the pipe
        await asyncio.shield(_kill(process))
        raise


async def start_child(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None,
    stdin: int = asyncio.subprocess.DEVNULL,
    stdout: int = asyncio.subprocess.PIPE,
    executable: str | None = None,
    directory: str | None = None,
    kept_open: Collection[int] = (),
) -> asyncio.subprocess.Process:
    """Start a child in a group of its own; stderr goes where stdout does. `executable`: what is run, where it isn't the
    first argument. `kept_open`: file descriptors that it has too.

    Raises `OSError` when it can't be started. It is killed when the calling task is cancelled meanwhile.
    """
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *arguments,
            executable=executable,
            stdin=stdin,
            stdout=stdout,
            stderr=asyncio.subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            cwd=directory,
            pass_fds=tuple(kept_open),
            start_new_session=True,
            close_fds=True,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:  # it may run already, and asyncio would kill it without its group
        await asyncio.shield(_kill_started(starting))
        raise


async def _kill_started(starting: asyncio.Future[asyncio.subprocess.Process]) -> None:
    with contextlib.suppress(OSError):  # it could not be started at all
        await _kill(await starting)


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def own_environment() -> dict[str, str]:
    """The agent's environment without what only the agent is for."""
    hidden = ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
    prefixes = ("AWS_", "HELENUS_")
    return {name: value for name, value in os.environ.items() if name not in hidden and not name.startswith(prefixes)}
