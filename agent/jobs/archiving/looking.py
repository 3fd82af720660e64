"""The node's directories of segments at one moment. In: paths. Out: which segments are in them.

The commit-log directory is read before the archive directory: a segment is archived before Cassandra deletes it, so one
that is moved on meanwhile is seen in one of them at least.
"""

import os
import stat
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from agent.cassandra.commit_log.archive_command import MARK
from agent.cassandra.commit_log.archive_directory import owner_of
from agent.jobs.archiving.ledger import Stamp
from agent.plan.segment_names import parse_segment, segment_id


class SeenFile(msgspec.Struct, frozen=True):
    """A segment's file. `changed_at`: modification time, unix seconds."""

    path: Path
    stamp: Stamp

    @property
    def changed_at(self) -> float:
        return self.stamp.mtime_ns / 1e9

    @property
    def size(self) -> int:
        return self.stamp.size


class Look(msgspec.Struct, frozen=True):
    """`live`: in Cassandra's own directory, `archived`: in an archive directory, by name; `failed`: noted by the
    archive command as not archived, `offered`: as what it was called for. `bytes`: all files of Cassandra's directory.
    `unread`: why an archive directory could not be read, "" when each was: what is not in it then may be there all the
    same; `present_unread`: why the present one could not. `false`: files of an archive directory with other bytes than
    the segment of their name; `differs`: the archive command noted so."""

    live: dict[str, SeenFile]
    archived: dict[str, SeenFile]
    failed: frozenset[str]
    bytes: int
    unread: str = ""
    present_unread: str = ""
    false: dict[str, SeenFile] = {}
    differs: frozenset[str] = frozenset()
    offered: frozenset[str] = frozenset()

    @property
    def there(self) -> set[str]:
        """Names that are somewhere on the node."""
        return {*self.live, *self.archived}

    @property
    def closed(self) -> list[str]:
        """Of Cassandra's own directory those that no new write goes to: all but the newest two (the one that is written
        and the one that is allocated ahead), oldest first. The last ones may still await their last sync."""
        return sorted(self.live, key=segment_id)[:-2]

    def kept_out(self, directory: str) -> list[Path]:
        """The files for which Cassandra's own segments can't be archived there: one that lies in a former directory
        keeps none out. Oldest first."""
        found = [self.false[name].path for name in sorted(self.false.keys() & self.live.keys(), key=segment_id)]
        return [path for path in found if path.parent == Path(directory)]


def look(
    commitlog: str,
    archives: Sequence[str],
    failed: Sequence[str],
    mark: str | None = "",
    offered: Sequence[str] = (),
    ours: Collection[str] = (),
) -> Look:
    """Blocks. `archives`: the present one first, with this mark ("" = any or none; None: all are former ones). A former
    one that is gone is empty, and so is one that another node has by now: its mark is none of `ours` (empty: not
    known). `failed` and `offered` were read before: what was noted is in a directory then, or is nowhere. Raises
    OSError for a commit-log directory that can't be read."""
    live, total = _files(commitlog) if commitlog else ({}, 0)
    archived: dict[str, SeenFile] = {}
    unread: dict[int, str] = {}
    for number, directory in enumerate(archives):
        present = number == 0 and mark is not None
        try:
            if present and mark and (owner := owner_of(Path(directory))) != mark:
                told = (
                    f"it belongs to the node {owner}" if owner else f"its mark {MARK} is gone: is its volume mounted?"
                )
                unread[number] = f"{directory}: {told}"
                continue
            if not present and ours and owner_of(Path(directory)) not in {"", *ours}:
                continue
            found, _ = _files(directory)
        except OSError as error:
            if present or not isinstance(error, FileNotFoundError):
                unread[number] = f"{directory}: {error.strerror}"
            continue
        archived = found | archived
    reasons = "; ".join(unread.values())
    return Look(live, archived, frozenset(failed), total, reasons, unread.get(0, ""), offered=frozenset(offered))


def _files(directory: str) -> tuple[dict[str, SeenFile], int]:
    found: dict[str, SeenFile] = {}
    total = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                about = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(about.st_mode):
                continue
            total += about.st_size
            if parse_segment(entry.name) is not None:
                found[entry.name] = SeenFile(Path(entry.path), Stamp(about.st_size, about.st_mtime_ns))
    return found, total
