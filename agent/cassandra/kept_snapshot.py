"""What was set aside of tables, kept as a snapshot of theirs. In: the list of what was set aside, a tag. Out: the same
files in `<data>/<keyspace>/<table>-<id>/snapshots/<tag>/`, those of a legacy index in `.<index>/` below, as Cassandra
lays out its own: `nodetool listsnapshots` shows them, `nodetool clearsnapshot -t <tag>` removes them [T: 4.1, 5.0].

What makes it safe: a table's files on a data directory move by one rename of their whole directory, onto a name that is
not there. So each is in `aside` or in the snapshot whenever this is cut, and the same call again ends it. Cassandra may
run: it looks into `snapshots` only when it is asked to.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from agent.cassandra.errors import FilesAppeared
from agent.cassandra.placing import make_as
from agent.cassandra.set_aside import Aside, aside_of
from agent.cassandra.staging import StagingRoot, staging_error
from kit.atomic_files import sync_directory

_SNAPSHOTS = "snapshots"


def keep_as_snapshot(plan: Iterable[Aside], tag: str) -> dict[str, int]:
    """Do it, durably. keyspace.table → bytes that the snapshot has, also when an earlier call made it. Raises
    `FilesAppeared` where another one has the name, `StagingRefused`, `NotEnoughSpace`."""
    kept: dict[str, int] = {}
    for root, keyspace, directory in dict.fromkeys(_tables(plan)):
        source, live = aside_of(root, keyspace, directory), Path(root.data_directory, keyspace, directory)
        target = live / _SNAPSHOTS / tag
        if source.is_dir():
            _move(root, source, live, target)
        if target.is_dir():
            name = f"{keyspace}.{directory.rpartition('-')[0]}"
            kept[name] = kept.get(name, 0) + sum(path.lstat().st_size for path in target.rglob("*") if path.is_file())
    return kept


def _tables(plan: Iterable[Aside]) -> Iterator[tuple[StagingRoot, str, str]]:
    """Whose staging root, keyspace, name of the table's directory."""
    for one in plan:
        if one.directory.what == "table":
            yield one.directory.root, one.directory.below[0], one.directory.below[1]


def _move(root: StagingRoot, source: Path, live: Path, target: Path) -> None:
    if os.path.lexists(target):
        raise FilesAppeared(f"{source} is to be kept as {target}, which is there already", files=[str(target)])
    for path in (live, target.parent):
        if not path.is_dir():
            make_as(path.parent, path)
    try:
        if root.group is None:  # else both users need what staging gave them
            for path in (source, *(path for path in source.iterdir() if path.is_dir())):
                path.chmod(stat.S_IMODE(live.stat().st_mode))
        os.rename(source, target)
    except OSError as error:
        raise staging_error(error, f"{source} can't be kept as {target}", target) from None
    sync_directory(target.parent)
    sync_directory(source.parent)
