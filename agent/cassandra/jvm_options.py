"""The agent's own lines among Cassandra's JVM options. In: a file with one option a line. Out: the same with a block

    # helenus begin <job>
    -D…
    # helenus end

at its end, or without it. Cassandra takes the last of options that contradict each other [T: 4.1, 5.0]. What makes it
safe: the file is replaced as a whole (a rename), every other line stays as it is, and both ways may be called again.
"""

import asyncio
import stat
from collections.abc import Sequence
from pathlib import Path

from agent.cassandra.service_errors import JvmOptionsDamaged, KeptDown, ServiceNotConfigured
from agent.wire.names import check_name
from kit.atomic_files import write_atomically

KEEP_DOWN = "-agentlib:helenus-restore-to-a-point-in-time-is-under-way"
"""With it no JVM starts: there is no such library. Whoever starts Cassandra while its files are exchanged, a service
manager that starts again whatever ends, a reboot or a person, gets this name as the reason [T: Java 17]."""
REPLAY_LIST = "-Dcassandra.replayList="
"""With it Cassandra replays into the named tables alone: what its own log holds of all others is dropped."""
_BEGIN, _END = "# helenus begin ", "# helenus end"
_ENCODING = "latin-1"
"""Every byte is a character."""


class JvmOptions:
    """`path`: the file, None when it isn't configured."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    async def put(self, job: str, lines: Sequence[str]) -> None:
        """Let Cassandra start with these lines too, in the place of those that the job gave before. Durable. Raises
        `ServiceNotConfigured`, `JvmOptionsDamaged` and OSError."""
        await self._change(job, lines)

    async def remove(self, job: str) -> None:
        """Take the job's lines away; none is fine, and so is no file. Durable. Raises `JvmOptionsDamaged` and
        OSError."""
        if self._path is not None:
            await self._change(job, ())

    def refuse_unconfigured(self) -> Path:
        """The file. Raises `ServiceNotConfigured`."""
        if self._path is None:
            setting = "cassandra.service.jvm_options_file"
            raise ServiceNotConfigured(f"`{setting}` is not set: Cassandra can't be told how to start", setting=setting)
        return self._path

    async def kept_down_by(self, but: str | None = None) -> list[str]:
        """The jobs, without `but`, that have lines there: they let no Cassandra start, or only for their own replay, or
        none that lets clients in, and nobody else takes that back."""
        if self._path is None or not self._path.exists():
            return []
        return [job for job in jobs_of(await asyncio.to_thread(_text, self._path)) if job != but]

    async def refuse_kept_down(self, but: str | None = None) -> None:
        """Raises `KeptDown` while there are such jobs."""
        if jobs := await self.kept_down_by(but):
            told = f"the restore {', '.join(jobs)} lets nobody else stop or start Cassandra on this node"
            raise KeptDown(told, jobs=jobs)

    async def _change(self, job: str, lines: Sequence[str]) -> None:
        check_name("job", job)
        path = self.refuse_unconfigured()

        def change() -> None:
            found = _text(path) if path.exists() or lines else ""
            changed = with_block(found, job, lines, str(path))
            if changed != found:
                write_atomically(path, changed.encode(_ENCODING), mode=stat.S_IMODE(path.stat().st_mode))

        await asyncio.to_thread(change)


def jobs_of(text: str) -> list[str]:
    """The jobs that have a block."""
    return [line.removeprefix(_BEGIN).rstrip() for line in text.splitlines() if line.startswith(_BEGIN)]


def _text(path: Path) -> str:
    return path.read_bytes().decode(_ENCODING)


def with_block(text: str, job: str, lines: Sequence[str], path: str) -> str:
    """The text without the job's block, and with `lines` (none: nothing) as its new block at the end. Raises
    `JvmOptionsDamaged`; `path` is for a person."""
    kept: list[str] = []
    inside = False
    for line in text.splitlines(keepends=True):
        told = line.rstrip()
        if told == _BEGIN + job:
            inside = True
        elif not inside:
            kept.append(line)
        elif told == _END:
            inside = False
        elif told.startswith(_BEGIN):
            break
    if inside:
        raise JvmOptionsDamaged(f"the block of the job {job} in {path} has no end", path=path, job=job)
    if not lines:
        return "".join(kept)
    if kept and not kept[-1].endswith("\n"):
        kept.append("\n")
    return "".join([*kept, f"{_BEGIN}{job}\n", *(f"{line}\n" for line in lines), f"{_END}\n"])
