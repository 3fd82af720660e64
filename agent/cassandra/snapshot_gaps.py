"""What a snapshot lacks. In: what was to be in it, and what is on the node's disks. Out: nothing, or the error that
names what is missing."""

from collections.abc import Mapping, Sequence

from agent.cassandra.errors import SnapshotMissing, SnapshotNotMade
from agent.cassandra.inventory import SnapshotDirectory
from agent.model.snapshot import SnapshotTable


def refuse_unmade(tag: str, found: Sequence[SnapshotDirectory], directories: Sequence[str]) -> None:
    """Raise `SnapshotNotMade` for a snapshot that was reported as made and of which nothing at all is there."""
    if not found:
        raise SnapshotNotMade(tag, directories)


def refuse_incomplete(tag: str, missing: list[str]) -> None:
    """Raise `SnapshotMissing` for files that Cassandra's own list of a snapshot names and that are not there."""
    if missing:
        raise SnapshotMissing(
            f"{len(missing)} files that Cassandra put into the snapshot {tag} are in no data directory that the agent "
            f"sees, among them {missing[0]}",
            tag=tag,
            files=missing[:100],
        )


def refuse_missing(
    tag: str, tables: Mapping[str, Sequence[str]], found: Sequence[SnapshotTable] | Sequence[SnapshotDirectory]
) -> None:
    """Raise `SnapshotMissing` for tables of which the snapshot has no directory."""
    present = {(one.keyspace, one.table) for one in found}
    missing = [
        f"{keyspace}.{table}" for keyspace in tables for table in tables[keyspace] if (keyspace, table) not in present
    ]
    if missing:
        raise SnapshotMissing(
            f"the snapshot {tag} has no directory of {len(missing)} tables, among them {missing[0]}",
            tag=tag,
            tables=missing[:100],
        )
