"""Which ranges a restore would leave without a restored replica: ring, replication and restored nodes in, ranges out.

Pure. Replica placement as Cassandra does it: SimpleStrategy takes the next distinct nodes clockwise,
NetworkTopologyStrategy takes them per data centre, one per rack first
(org.apache.cassandra.locator.NetworkTopologyStrategy, DatacenterEndpoints).
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence, Set

from agent.wire.node import RingMember


def uncovered_ranges(ring: Sequence[RingMember], replication: Mapping[str, str], restored: Set[str]) -> list[str]:
    """End tokens of the ranges none of whose replicas is in `restored` (host ids). A strategy that isn't known is
    taken for one replica per range, which can only name more ranges than there are."""
    strategy = replication.get("class", "").rsplit(".", 1)[-1]
    owners = _Owners(ring)
    if strategy in {"EverywhereStrategy", "LocalStrategy"}:
        return [] if restored else [str(token) for token in owners.tokens]
    if strategy == "NetworkTopologyStrategy":
        circles = [
            (_Owners([member for member in ring if member.dc == dc]), _factor(replication[dc]), True)
            for dc in sorted({member.dc for member in ring} & set(replication))
        ]
    else:
        circles = [(owners, _factor(replication.get("replication_factor", "1")), False)]
    return [
        str(token)
        for token in owners.tokens
        if not any(circle.replicas(token, factor, by_rack) & restored for circle, factor, by_rack in circles)
    ]


class _Owners:
    """The token circle of some nodes."""

    def __init__(self, ring: Sequence[RingMember]) -> None:
        owned = sorted((int(token), index) for index, member in enumerate(ring) for token in member.tokens)
        self.tokens = [token for token, _ in owned]
        self._members = [ring[index] for _, index in owned]
        self._nodes = len({member.host_id for member in self._members})
        self._racks = len({member.rack for member in self._members})

    def replicas(self, token: int, factor: int, by_rack: bool) -> set[str]:
        """Host ids of the replicas of the range that ends at `token`."""
        factor = min(factor, self._nodes)
        # A rack may be used again only as often as there are more replicas than racks.
        repeats_allowed = factor - self._racks if by_rack else factor
        first = bisect_left(self.tokens, token)
        chosen: set[str] = set()
        racks: set[str] = set()
        for step in range(len(self._members)):
            if len(chosen) >= factor:
                break
            member = self._members[(first + step) % len(self._members)]
            if member.host_id in chosen:
                continue
            if member.rack in racks:
                if repeats_allowed <= 0:
                    continue
                repeats_allowed -= 1
            racks.add(member.rack)
            chosen.add(member.host_id)
        return chosen


def _factor(text: str) -> int:
    """`3`, or `3/1` with transient replicas: only the full ones hold all data."""
    total, _, transient = text.partition("/")
    return int(total) - int(transient or 0)
