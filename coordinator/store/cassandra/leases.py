"""Leases in Cassandra (`coordinator.store.leases`). In: a cluster. Out: a change of its lease's record.

Each take, renewal and release makes the record's version higher, so that «unchanged» is «of the same version», and none
of them can be done upon a lease that was renewed meanwhile.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from coordinator.store.cassandra.index import LEASE
from coordinator.store.cassandra.partitions import Change, Partitions
from coordinator.store.cassandra.tables import Key, Row, Snapshot
from coordinator.store.leases import HELD_SHARE, KeptLease, Lease, may_take

_ONLY = "only"


def since_boot() -> float:
    """Seconds since the machine was started, those of its sleep too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Sighting(NamedTuple):
    version: int
    since: float


class CassandraLeases:
    """See `coordinator.store.leases.Leases`. `clock`: seconds that never go back, nor stand while the machine sleeps: a
    holder that slept is late, and knows it."""

    def __init__(self, partitions: Partitions, clock: Callable[[], float] = since_boot) -> None:
        self._partitions = partitions
        self._clock = clock
        self._seen: dict[str, _Sighting] = {}

    async def take(self, cluster: str, owner: str, seconds: float) -> Lease | None:
        """See `Leases`."""
        asked = self._clock()  # before anything is sent, however often it is
        given = [0]

        def decide(found: Snapshot) -> Change | None:
            kept, given[0] = _kept(found), 0
            if not may_take(kept, owner, self._unchanged(cluster, found.version)):
                return None
            given[0] = 1 if kept is None else kept.fence + 1
            return _change(KeptLease(owner, given[0], seconds))

        await self._changed(cluster, decide)
        return Lease(cluster, owner, given[0], asked + seconds * HELD_SHARE) if given[0] else None

    async def renew(self, lease: Lease, seconds: float) -> Lease | None:
        """See `Leases`."""
        asked = self._clock()
        mine = [False]

        def decide(found: Snapshot) -> Change | None:
            mine[0] = _is_of(_kept(found), lease)
            return _change(KeptLease(lease.owner, lease.fence, seconds)) if mine[0] else None

        await self._changed(lease.cluster, decide)
        return msgspec.structs.replace(lease, until=asked + seconds * HELD_SHARE) if mine[0] else None

    async def release(self, lease: Lease) -> None:
        """See `Leases`."""

        def decide(found: Snapshot) -> Change | None:
            return _change(KeptLease("", lease.fence, 0.0)) if _is_of(_kept(found), lease) else None

        await self._changed(lease.cluster, decide)

    async def _changed(self, cluster: str, decide: Callable[[Snapshot], Change | None]) -> None:
        await self._partitions.whole(self._partitions.change(Key(LEASE, cluster), (_ONLY,), decide))

    def _unchanged(self, cluster: str, version: int) -> float:
        """For how many seconds the version was seen, counted from when its first answer came."""
        now = self._clock()
        seen = self._seen.get(cluster)
        if seen is None or seen.version != version:
            seen = self._seen[cluster] = _Sighting(version, now)
        return now - seen.since


def _kept(found: Snapshot) -> KeptLease | None:
    return msgspec.json.decode(found.rows[0].data, type=KeptLease) if found.rows else None


def _is_of(kept: KeptLease | None, lease: Lease) -> bool:
    return kept is not None and (kept.owner, kept.fence) == (lease.owner, lease.fence)


def _change(kept: KeptLease) -> Change:
    return Change([Row(_ONLY, "", msgspec.json.encode(kept))])
