"""Cassandra's `commitlog_archiving.properties`, which it reads once, at its start. In: what it is to do. Out: the text,
and the file itself put in place of the node's own, which is kept beside it and put back.

    commitlog_archiving.properties                   the one that Cassandra reads
    commitlog_archiving.properties.before-helenus    the node's own, as long as ours is in its place

Order: the node's own file is durable under its other name before ours takes its place (a rename), and it goes back by a
rename. So whenever this stops half-way, a whole file is where Cassandra looks for it, and the same call again ends it.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from agent.cassandra.commit_log.archive_command import checked_path
from agent.cassandra.commit_log.errors import ArchivingRefused
from kit.atomic_files import remove_durably, sync_directory, write_atomically

MARK = "# Helenus wrote this file, and writes it anew. The node's own is kept beside it (.before-helenus)."
_KEPT_SUFFIX = ".before-helenus"
_MODE = 0o644
_LINE = re.compile(r"\s*([^\s=:#!][^\s=:]*)\s*[=:\s]\s*(.*)")
_MICROS = 1_000_000


class Restoring(msgspec.Struct, frozen=True):
    """A start that replays segments from `directory` first. `pit_micros`: microseconds since 1970, what is written
    later is left out; None: everything is replayed. `digits`: of the second's fraction that the version understands."""

    directory: str
    pit_micros: int | None = None
    digits: int = 6


class Archiving(msgspec.Struct, frozen=True):
    """What Cassandra is told: the archive command at `program`, into `directory` ("" = don't archive)."""

    program: str
    directory: str = ""

    @property
    def archive_command(self) -> str:
        """The property's value."""
        return f"{self.program} %path {self.directory}/%name" if self.directory else ""


def render(archiving: Archiving) -> str:
    """The file's text. Raises `ArchivingRefused` for paths that Cassandra would take apart."""
    checked_path(archiving.program, "the archive command")
    if archiving.directory:
        checked_path(archiving.directory, "the archive directory")
    lines = [MARK, f"archive_command={archiving.archive_command}"]
    lines += ["restore_command=", "restore_directories=", "restore_point_in_time=", "precision=MICROSECONDS"]
    return "\n".join(lines) + "\n"


def point_text(micros: int, digits: int = 6) -> str:
    """A point as `restore_point_in_time` takes it: in UTC, cut (never rounded up) to so many digits of the second."""
    seconds, rest = divmod(micros, _MICROS)
    moment = datetime.fromtimestamp(seconds, UTC)
    text = f"{moment.year:04}:{moment:%m:%d %H:%M:%S}"
    return f"{text}.{f'{rest:06}'[:digits]}" if digits else text


def is_ours(text: str) -> bool:
    """Whether Helenus wrote the file."""
    return text.startswith(MARK)


def properties_of(text: str) -> dict[str, str]:
    """The properties of such a file, by name. Continued lines and escapes are not read: nobody writes them here."""
    found = (_LINE.fullmatch(line) for line in text.splitlines())
    return {one[1]: one[2].strip() for one in found if one is not None}


def read(path: Path) -> str | None:
    """The file's text, None when there is none. Raises `ArchivingRefused`."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(path, error) from error


def kept(path: Path) -> Path:
    """Where the node's own file waits."""
    return path.with_name(path.name + _KEPT_SUFFIX)


def put(path: Path, archiving: Archiving) -> bool:
    """Let Cassandra be told that from its next start on; the node's own file is kept. False when it is told already.
    Raises `ArchivingRefused`."""
    text = render(archiving)
    found = read(path)
    if found == text:
        return False
    try:
        if found is not None and not is_ours(found):
            write_atomically(kept(path), path.read_bytes(), mode=_MODE)
        write_atomically(path, text.encode(), mode=_MODE)
    except OSError as error:
        raise _refused(path, error) from error
    return True


def put_back(path: Path) -> bool:
    """Give the node its own file again, or none where it had none. False when the one that is there is not ours: then
    somebody replaced it, and it stays. Raises `ArchivingRefused`."""
    found = read(path)
    if found is not None and not is_ours(found):
        return False
    try:
        if kept(path).exists():
            kept(path).rename(path)
            sync_directory(path.parent)
        elif found is not None:
            remove_durably(path)
    except OSError as error:
        raise _refused(path, error) from error
    return found is not None


def _refused(path: Path, error: OSError) -> ArchivingRefused:
    reason = error.strerror or str(error)
    return ArchivingRefused(f"{path} can't be read or written: {reason}", path=str(path), reason=reason)
