"""Which archived segments a restore could not have: in, records; out, those whose objects are missing or cut, or that a
scrub found damaged.

Listings tell, nothing is read: bytes that are others are found by a scrub, or when a segment is fetched.
"""

from collections.abc import Iterable, Sequence

from agent.model.commit_log import SegmentRecord
from agent.repository.commit_logs.index import CommitLogs
from agent.repository.commit_logs.names import log_data_prefix


async def incomplete(logs: CommitLogs, records: Sequence[SegmentRecord]) -> dict[str, str]:
    """Segment's name → the reason, as a clause. Copies of parts are left out: the next one takes their objects with it.
    Raises a StorageError."""
    whole = {record.name for record in records if record.whole}
    noted = {name: f"a scrub found {name} damaged in the destination" for name in await logs.damaged() & whole}
    return noted | await cut(logs, records)


async def cut(logs: CommitLogs, records: Iterable[SegmentRecord]) -> dict[str, str]:
    """As `incomplete`, by the objects alone. Raises a StorageError."""
    prefix = log_data_prefix(logs.opened.cluster_id, logs.host_id)
    sizes = {entry.key: entry.size async for entry in logs.opened.storage.list(prefix)}
    found = {}
    for record in records:
        if not record.whole:
            continue
        for name, size in record.objects.items():
            there = sizes.get(logs.object_key(record, name))
            if there is None:
                found[record.name] = f"an object of {record.name} is missing in the destination"
            elif there != size:
                found[record.name] = f"an object of {record.name} has {there} bytes instead of {size}"
    return found
