"""A script while it runs. In: an opened script and the lines for its stdin. Out: how it ended, and the end of what it
said.

It has ended when its own process has: what it left running in its group is killed then, as at the end of its time and
when the command is cancelled or the agent stops. So nothing that it does keeps the agent waiting: not a child that
holds its output open, nor input that it never reads, nor output without end. (A child that made a group of its own is
out of reach, and may go on.)
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import FileIO

import msgspec
import structlog

from agent.cassandra.child import start_child
from agent.jobs.scripts.directory import OpenScript

_CHUNK = 64 * 1024
_KEPT = 64 * 1024
"""Bytes of what it said: many times what is shown, so that no secret is cut in two where the shown part begins."""
_LAST_READS = 16
"""A pipe holds 1 MiB at most."""
_END_SECONDS = 10.0
"""A killed process ends at once, unless it is another user's (sudo) or the kernel is at something for it."""

log = structlog.get_logger(__name__)


class Ran(msgspec.Struct, frozen=True):
    """`exit_code`: negative is the signal that ended it; None: its time was up. `said`: the last bytes of stdout and
    stderr."""

    exit_code: int | None
    said: bytes


async def run_script(
    script: OpenScript, environment: Mapping[str, str], lines: Iterable[str] | None, seconds: float
) -> Ran:
    """Run it to its end, at most so long; `lines`: what comes on its stdin, made as it reads, None = nothing. Raises
    OSError when it can't be started."""
    said = _Said()
    with contextlib.ExitStack() as ends:
        heard, output = _pipe(ends)
        given, fed = _pipe(ends)
        process = await start_child(
            [script.name],
            environment=environment,
            stdin=asyncio.subprocess.DEVNULL if lines is None else given.fileno(),
            stdout=output.fileno(),
            executable=script.path,
            directory=script.working_directory,
            kept_open=(script.file,),
        )
        given.close()
        output.close()
        for own in (heard, fed):
            os.set_blocking(own.fileno(), False)
        works = [asyncio.create_task(_hear(heard, said)), asyncio.create_task(_feed(fed, lines or ()))]
        exit_code: int | None = None
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    exit_code = await process.wait()
        finally:
            await asyncio.shield(_end(process, works))
        said.hear_rest(heard)
        return Ran(exit_code, said.last())


class _Said:
    """The last bytes of a stream."""

    def __init__(self) -> None:
        self._tail = bytearray()

    def hear(self, stream: FileIO) -> bool:
        """Take what is there; False at its end. Raises BlockingIOError when nothing is there."""
        data = os.read(stream.fileno(), _CHUNK)
        self._tail += data
        del self._tail[:-_KEPT]
        return bool(data)

    def hear_rest(self, stream: FileIO) -> None:
        """Take what its processes have left there: they are gone, or nobody waits for them."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(_LAST_READS):
                if not self.hear(stream):
                    return

    def last(self) -> bytes:
        """What is kept."""
        return bytes(self._tail)


async def _hear(stream: FileIO, said: _Said) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await _ready(stream, loop.add_reader, loop.remove_reader)
        with contextlib.suppress(BlockingIOError):
            if not said.hear(stream):
                return


async def _feed(stream: FileIO, lines: Iterable[str]) -> None:
    """Write as it reads, and close. One that doesn't read all, or nothing, does no wrong."""
    loop = asyncio.get_running_loop()
    try:
        for chunk in _chunks(lines):
            left = memoryview(chunk)
            while left:
                await _ready(stream, loop.add_writer, loop.remove_writer)
                with contextlib.suppress(BlockingIOError):
                    left = left[os.write(stream.fileno(), left) :]
    except BrokenPipeError:
        pass  # it closed its stdin: what it reads is its own business
    finally:
        stream.close()


def _chunks(lines: Iterable[str]) -> Iterator[bytes]:
    """The lines in pieces that are worth a system call."""
    piece = bytearray()
    for line in lines:
        piece += os.fsencode(line) + b"\n"
        if len(piece) >= _CHUNK:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


async def _ready(stream: FileIO, watch: Callable[..., object], unwatch: Callable[[FileIO], object]) -> None:
    """Return when a read, or a write, would do something. Also a lively stream lets others have their turn."""
    ready = asyncio.get_running_loop().create_future()
    watch(stream, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        unwatch(stream)


async def _end(process: asyncio.subprocess.Process, works: Sequence[asyncio.Task[None]]) -> None:
    """Kill what is left of its group, and let nothing of it be waited for. Raises what went wrong in `works`."""
    # As long as any process is in the group, its number is nobody else's; of an empty one it became free just now, and
    # the kernel gives numbers out in turn.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for work in works:
        work.cancel()
    results = await asyncio.gather(*works, return_exceptions=True)
    try:
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    except TimeoutError:
        log.error("script_not_ended", pid=process.pid)
    for result in results:
        if isinstance(result, Exception):
            raise result


def _pipe(ends: contextlib.ExitStack) -> tuple[FileIO, FileIO]:
    """Reading and writing end, closed with `ends`; a child inherits neither unless it is given one."""
    reading, writing = os.pipe()
    return ends.enter_context(FileIO(reading, "r")), ends.enter_context(FileIO(writing, "w"))
