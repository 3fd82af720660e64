"""What was extracted, laid into the tables of a scratch node that has the schema and no rows. In: the directories of an
extract's tables, and the node's data directory. Out: hard links there, which can be taken away again.

Files of several nodes meet in one table, so each SSTable gets a number of its own. The numbers follow from the names
alone: laid again after a kill it is the same. A table that holds anything but our links is refused before the first one
is made, for rows of a backup laid beside others would mix with them.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from agent.plan.sstables import DATA, group, parse
from agent.wire.names import CLUSTER_KEYSPACES, NODE_KEYSPACES
from kit.errors import HelenusError

CASSANDRAS_OWN = NODE_KEYSPACES | CLUSTER_KEYSPACES
"""The keyspaces that every node has already, with rows of its own."""


class ScratchNodeUnfit(HelenusError):
    """The data directory isn't that of a scratch node with the backup's schema and no rows."""

    code = "scratch_node_unfit"
    todo = (
        "Name the data directory of a node that serves nobody, that has the backup's schema and no rows, that is "
        "stopped, and that is on the file system of the extracted files."
    )


class LaidTable(msgspec.Struct, frozen=True):
    """A table with SSTables of the extract in it: name of each Data.db there → where it was extracted to."""

    keyspace: str
    table: str
    directory: Path
    sstables: dict[str, Path]


def lay(extracted: Iterable[Path], data: Path) -> list[LaidTable]:
    """Link every SSTable into its table; those of indexes stay out, Cassandra makes them anew. Raises ScratchNodeUnfit,
    before the first link unless a link can't be made."""
    tables = list(_tables(extracted, data))
    for table in tables:
        _refuse_others(table)
    for table in tables:
        for name, source in table.sstables.items():
            _link(source, table.directory, name)
    return tables


def take_away(tables: list[LaidTable]) -> None:
    """Remove the links, and what Cassandra's tools wrote beside them under the same numbers."""
    for table in tables:
        ours = {name.removesuffix(f"-{DATA}") for name in table.sstables}
        for path in table.directory.iterdir():
            component = parse(path.name)
            if component is not None and component.sstable in ours:
                path.unlink()


def _tables(extracted: Iterable[Path], data: Path) -> Iterator[LaidTable]:
    sources: dict[tuple[str, str], list[tuple[str, Path]]] = {}
    for directory in sorted(extracted):
        keyspace, table = directory.parent.name, directory.name.rpartition("-")[0]
        if keyspace in CASSANDRAS_OWN:
            continue
        found = group((path.name, path) for path in directory.iterdir() if path.is_file() and not path.is_symlink())
        for sstable, files in found.items():
            data_file = dict(files).get(f"{sstable}-{DATA}")
            if data_file is not None:
                sources.setdefault((keyspace, table), []).append((sstable, data_file))
    for (keyspace, table), sstables in sorted(sources.items()):
        numbered = {f"{_numbered(name, number)}-{DATA}": path for number, (name, path) in enumerate(sstables, 1)}
        yield LaidTable(keyspace, table, _directory(data, keyspace, table), numbered)


def _directory(data: Path, keyspace: str, table: str) -> Path:
    found = [path for path in (data / keyspace).glob("*-*") if path.name.rpartition("-")[0] == table]
    if len(found) != 1:
        what = "isn't there" if not found else f"is there {len(found)} times"
        raise ScratchNodeUnfit(f"{keyspace}.{table} {what} in {data}", keyspace=keyspace, table=table, data=str(data))
    return found[0]


def _refuse_others(table: LaidTable) -> None:
    ours = {_identity(path) for path in table.sstables.values()}
    for path in sorted(table.directory.glob(f"*-{DATA}")):
        if _identity(path) not in ours:
            raise ScratchNodeUnfit(
                f"{table.keyspace}.{table.table} holds rows already: {path}", keyspace=table.keyspace, table=table.table
            )


def _link(source: Path, directory: Path, name: str) -> None:
    """All components; a link that is there already is this one, for the names follow from the sources'."""
    start, wanted = (one.removesuffix(DATA) for one in (source.name, name))
    for path in sorted(source.parent.iterdir()):
        if not path.name.startswith(start) or path.is_symlink():
            continue
        try:
            os.link(path, directory / f"{wanted}{path.name.removeprefix(start)}")
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise ScratchNodeUnfit(f"{path} can't be linked to {directory}: {error.strerror}") from None
            raise ScratchNodeUnfit(f"{directory} is on another file system than {path}") from None


def _numbered(sstable: str, number: int) -> str:
    """The same name with another generation: version and format stay."""
    return f"{sstable.partition('-')[0]}-{number}-{sstable.rpartition('-')[2]}"


def _identity(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_dev, stat.st_ino
