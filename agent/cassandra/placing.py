"""Puts verified SSTables where Cassandra opens them at its next start. In: what stands in held/, and the table
directories of the live ids, emptied (`set_aside`). Out: hard links there; held/ stays whole.

Cassandra must be down. A file is there whole or not at all (a link, or a copy under a hidden name that is renamed); the
same call again goes on where it was cut, for a name that is there already must be the file itself, or as long as it.
Files and index directories get the mode that Cassandra gives its own: that of the table's directory.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from agent.cassandra.errors import FilesAppeared, FilesVanished
from agent.cassandra.live_directories import IndexFact, NodeFacts, held_directories
from agent.cassandra.staging import StagingRoot, link_or_copy, staging_error
from agent.plan.sstables import DATA, group
from kit.atomic_files import sync_directory

_ANY = 0o666
"""What a file may have of its directory's mode."""

Placed = dict[str, dict[str, int]]
"""keyspace → table → SSTables, those of its legacy indexes among them"""


def place(facts: NodeFacts) -> Placed:
    """Place everything that is held, durably. Raises `FilesAppeared` for a name that something else has,
    `FilesVanished` for a table that has no id, `NotEnoughSpace`, `StagingRefused`, `SnapshotMissing`."""
    counts: Placed = {keyspace: dict.fromkeys(tables, 0) for keyspace, tables in facts.tables.items()}
    for root in facts.data:
        for keyspace, table, index, held in held_directories(root, facts.tables):
            live = _live(root, keyspace, f"{table}-{facts.tables[keyspace][table]}", index)
            names = _files(held)
            for name in names:
                _place_one(root, held / name, live / name)
            sync_directory(live)
            counts[keyspace][table] += sum(name.endswith(f"-{DATA}") for name in names)
    return counts


def placed_names(facts: NodeFacts) -> dict[str, set[str]]:
    """Directory → names that `place` gives to files there, while it copies one and after."""
    found: dict[str, set[str]] = {}
    for root in facts.data:
        for keyspace, table, index, held in held_directories(root, facts.tables):
            live = Path(root.data_directory, keyspace, f"{table}-{facts.tables[keyspace][table]}", index)
            names = _files(held)
            found[str(live)] = {*names, *(f".{name}.part" for name in names)}
    return found


def indexes_to_rebuild(facts: NodeFacts) -> list[IndexFact]:
    """The indexes that SSTables were held without: a legacy one without any SSTable of its own, another one of which an
    SSTable lacks the components. Cassandra takes either for built."""
    return [one for one in facts.indexes if not _is_held(one, facts.data)]


def _is_held(index: IndexFact, roots: Sequence[StagingRoot]) -> bool:
    sstables = list(_sstables(roots, index))
    if not sstables:
        return True  # nothing to be indexed but what replay writes, which indexes it
    if index.legacy:
        places = [root.held(index.keyspace, index.table) / f".{index.name}" for root in roots]
        return any(name.endswith(f"-{DATA}") for place in places if place.is_dir() for name in _files(place))
    return all(any(_belongs(name, index.name) for name in names) for names in sstables)


def _sstables(roots: Iterable[StagingRoot], index: IndexFact) -> Iterator[list[str]]:
    """The components of each SSTable of the index's table."""
    for root in roots:
        held = root.held(index.keyspace, index.table)
        if held.is_dir():
            for files in group((name, None) for name in _files(held)).values():
                yield [name for name, _ in files]


def _belongs(component: str, index: str) -> bool:
    """SAI's components of an index are named `…SAI+<version>+<index>+<kind>.db`, SASI's one `…SI_<index>.db`."""
    return f"+{index}+" in component or component.endswith(f"-SI_{index}.db")


def _live(root: StagingRoot, keyspace: str, directory: str, index: str) -> Path:
    path = Path(root.data_directory)
    for part in (keyspace, directory, *([index] if index else [])):
        parent, path = path, path / part
        if not path.is_dir():
            make_as(parent, path)
    return path


def make_as(parent: Path, path: Path) -> None:
    """Make a directory with the mode and, where the agent may give it, the owner of the one above, durably. Raises
    `StagingRefused`, `NotEnoughSpace`."""
    about = parent.stat()
    try:
        path.mkdir()
        path.chmod(stat.S_IMODE(about.st_mode))
        if os.geteuid() == 0:
            os.chown(path, about.st_uid, about.st_gid)
        sync_directory(parent)
    except OSError as error:
        raise staging_error(error, f"{path} can't be made", path) from None


def _place_one(root: StagingRoot, held: Path, live: Path) -> None:
    if os.path.lexists(live):
        if not os.path.samefile(held, live) and held.stat().st_size != live.stat().st_size:
            raise FilesAppeared(f"{live} is there, and is not what was fetched", files=[str(live)])
    else:
        link_or_copy(root, held, live)
    about = live.stat()
    if root.group is None and about.st_uid == os.geteuid():
        wanted = stat.S_IMODE(live.parent.stat().st_mode) & _ANY
        if stat.S_IMODE(about.st_mode) != wanted:
            live.chmod(wanted)


def _files(directory: Path) -> list[str]:
    with os.scandir(directory) as entries:
        return sorted(one.name for one in entries if one.is_file(follow_symlinks=False))


def refuse_unlike(placed: Placed, fetched: Mapping[str, Mapping[str, Sequence[int]]]) -> None:
    """Raises `FilesVanished` unless exactly the SSTables that were fetched are placed (keyspace → table → [files,
    bytes, SSTables])."""
    wrong = [
        f"{keyspace}.{table}: {placed.get(keyspace, {}).get(table, 0)} of {count[2]} SSTables"
        for keyspace, tables in sorted(fetched.items())
        for table, count in sorted(tables.items())
        if placed.get(keyspace, {}).get(table, 0) != count[2]
    ]
    if wrong:
        raise FilesVanished(f"not all that was fetched could be placed: {', '.join(wrong[:5])}", files=wrong[:100])
