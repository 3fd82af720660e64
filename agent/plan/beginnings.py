"""What a table begins with when it is brought back to a point in time. In: ids and times of TRUNCATEs. Out: the
snapshot's SSTables, nothing, that it can't be told, or that the snapshot lacks it. Pure.

The commit log replays onto the beginning. It has no TRUNCATE: Cassandra keeps (in system.local) position and time of a
table's last one, and replays nothing of the table from before it when it was before the point [X 4.0 to 5.0:
CommitLogReplayer]. So a table that was truncated last between snapshot and point begins empty; after an earlier
TRUNCATE whose position is overwritten it can't be made as it was. A table made after the snapshot has another id; it
begins empty, too. One that was there already and is not in the backup is absent: the log has only a part of it.
"""

from collections.abc import Iterable
from typing import Literal

_SAME_MILLISECONDS = 60_000
"""Between a TRUNCATE's auto-snapshot, which is taken first, and the time that Cassandra keeps of it."""
Beginning = Literal["snapshot", "empty", "unknown", "absent"]


def beginning(
    id_in_snapshot: str | None,
    id_at_pit: str,
    *,
    last_truncate: int | None,
    truncates: Iterable[int],
    taken_at: float,
    pit_micros: int,
    was_there: bool = False,
) -> Beginning:
    """Ids as Cassandra's UUIDs, with or without dashes; None: the snapshot has no such table. `was_there`: a table of
    the id at the point may have existed when the snapshot was taken. `last_truncate`: the
    time that Cassandra keeps for the id at the point, `truncates`: what else is known (auto-snapshots), milliseconds
    since 1970. `taken_at`: when the snapshot was asked for, unix seconds."""
    since, until = taken_at * 1000, pit_micros // 1000
    within = [when for when in truncates if since < when <= until]
    if last_truncate is not None and since < last_truncate <= until:
        return "empty"
    if within:
        return "unknown"
    if id_in_snapshot is not None and same_id(id_in_snapshot, id_at_pit):
        return "snapshot"
    return "absent" if was_there else "empty"


def may_hide(last_truncate: int | None, truncates: Iterable[int], pit_micros: int) -> bool:
    """Whether the TRUNCATE whose time Cassandra keeps, which is after the point, may stand before an earlier one that
    nothing shows: the auto-snapshots were cleared, for not even its own is there. Arguments as for `beginning`."""
    if last_truncate is None or last_truncate <= pit_micros // 1000:
        return False
    return not any(abs(when - last_truncate) < _SAME_MILLISECONDS for when in truncates)


def same_id(one: str, other: str) -> bool:
    """Whether two texts are the same table id."""
    return one.replace("-", "").lower() == other.replace("-", "").lower()


def truncate_times(tags: Iterable[str], table: str) -> list[int]:
    """The times (milliseconds) in the names of a table's auto-snapshots, `truncated-<ms>-<table>`
    [X: Keyspace.getTimestampedSnapshotNameWithPrefix]."""
    return _times("truncated", tags, table)


def dropped_at(tags: Iterable[str], table: str) -> list[int]:
    """As `truncate_times`, of its drops."""
    return _times("dropped", tags, table)


def _times(why: str, tags: Iterable[str], table: str) -> list[int]:
    found = []
    for tag in tags:
        prefix, _, rest = tag.partition("-")
        when, _, name = rest.partition("-")
        if prefix == why and name == table and when.isdecimal() and len(when) < 16:
            found.append(int(when))
    return sorted(found)
