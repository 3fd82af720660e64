"""The directory that Cassandra archives to. In: a path, whose it is to be. Out: the directory, marked, or why
it can't be.

`.helenus-archive` in it holds the host id of the node whose directory it is. Two nodes that shared one would ship and
remove each other's segments; and a volume that isn't mounted shows by the mark that is gone: the archive command puts
nothing where no mark is, and nobody takes such a directory for an empty one. The mark is there before anything names
the directory, so that a kill in between leaves a directory that the next order finds its own. One that holds anything
else than segments gets none: it was named by mistake.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from agent.cassandra.commit_log.archive_command import MARK
from agent.cassandra.commit_log.errors import ArchivingRefused
from agent.plan.segment_names import parse_segment
from kit.atomic_files import make_directory, write_atomically

_DIRECTORY_MODE = 0o2770
_MARK_MODE = 0o644
_LONGEST = 200
_SHOWN = 3


def have(directory: str, owners: Sequence[str], cassandras: Sequence[str], *, marked: bool, group: int | None) -> str:
    """Have the directory, with its mark; what that says. `owners`: who may own it, the first one owns it when nobody
    does. `cassandras`: Cassandra's own directories. `marked`: it has a mark unless its volume isn't mounted. `group`:
    of Cassandra's user where that isn't the agent's. Blocks. Raises ArchivingRefused."""
    path = Path(directory)
    try:
        _refuse_within(path, cassandras)
        if not path.parent.is_dir():
            raise _refused(directory, f"{path.parent} is not there: mount its volume, or make that directory")
        found = owner_of(path)
        if found and found not in owners:
            told = (
                "give each node a directory of its own. If it is this one's of a former installation, and nothing in "
            )
            raise _refused(directory, f"it belongs to the node {found}: {told}it is needed, remove {path / MARK}")
        if not found and marked:
            told = "mount its volume. If it was emptied on purpose, switch archiving off and then on"
            raise _refused(directory, f"its mark {MARK} is gone: {told}")
        if not found and (others := _others_in(path)):
            raise _refused(directory, f"it holds other things ({', '.join(others)}): name an empty directory")
        if not path.is_dir():
            make_directory(path, mode=_DIRECTORY_MODE)
            if group is not None:
                os.chown(path, -1, group)
            path.chmod(_DIRECTORY_MODE)
        if not found:
            write_atomically(path / MARK, owners[0].encode(), mode=_MARK_MODE)
    except OSError as error:
        raise _refused(directory, f"it can't be made or marked: {error.strerror}") from error
    return found or owners[0]


def owner_of(directory: Path) -> str:
    """What the directory's mark says, "" without one. Blocks. Raises OSError."""
    try:
        with (directory / MARK).open("rb") as file:
            return file.read(_LONGEST).decode(errors="replace").strip()
    except FileNotFoundError:
        return ""


def _others_in(path: Path) -> list[str]:
    """The first of what can't have come from archiving, nor from the making of a volume, by name."""
    names = sorted(os.listdir(path)) if path.is_dir() else []
    others = [name for name in names if name[0] != "." and name != "lost+found" and parse_segment(name) is None]
    return [ascii(name)[1:-1] for name in others[:_SHOWN]]


def _refuse_within(path: Path, cassandras: Sequence[str]) -> None:
    place = Path(os.path.realpath(path))
    for other in cassandras:
        if place.is_relative_to(os.path.realpath(other)):
            raise _refused(str(path), f"it lies in Cassandra's own {other}: choose one outside")


def _refused(directory: str, reason: str) -> ArchivingRefused:
    return ArchivingRefused(f"{directory} can't be the archive directory: {reason}", path=directory, reason=reason)
