"""Who leads, as a record in Cassandra. In: a lease. Out: it is kept if the former one still was.

The record's version and the name of its writer tell, also after a lost answer, whether it was we who changed it.
"""

import msgspec

from coordinator.model.leading import Lease
from coordinator.store.cassandra.partitions import Change, Partitions
from coordinator.store.cassandra.tables import Key, Row, Snapshot

_KEY, _ONLY = Key("lead", "leader"), "only"


class CassandraLead:
    """See `coordinator.store.protocol.LeadRecord`."""

    def __init__(self, partitions: Partitions) -> None:
        self._partitions = partitions

    async def get(self) -> Lease | None:
        """See `protocol.LeadRecord.get`."""
        return _kept(await self._partitions.read(_KEY, (_ONLY,)))

    async def swap(self, former: Lease | None, lease: Lease) -> bool:
        """See `protocol.LeadRecord.swap`."""
        swapped = False

        def decide(found: Snapshot) -> Change | None:
            nonlocal swapped
            swapped = _kept(found) == former
            return Change([Row(_ONLY, "", msgspec.json.encode(lease))]) if swapped else None

        await self._partitions.change(_KEY, (_ONLY,), decide)
        return swapped


def _kept(found: Snapshot) -> Lease | None:
    return msgspec.json.decode(found.rows[0].data, type=Lease) if found.rows else None
