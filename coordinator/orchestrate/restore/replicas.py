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
    taken for one replica per range, which can only name more ranges than there are. Walks all tokens of the ring,
    unless every node of it is restored."""
    strategy = replication.get("class", "").rsplit(".", 1)[-1]
    if strategy in {"EverywhereStrategy", "LocalStrategy"}:
        return [] if restored else [str(token) for token in _Owners(ring).tokens]
    by_rack = strategy == "NetworkTopologyStrategy"
    if by_rack:
        circles = [
            ([member for member in ring if member.dc == dc], _factor(replication[dc]))
            for dc in sorted({member.dc for member in ring} & set(replication))
        ]
    else:
        circles = [(list(ring), _factor(replication.get("replication_factor", "1")))]
    if all(member.host_id in restored for member in ring) and any(
        factor > 0 and any(member.tokens for member in members) for members, factor in circles
    ):
        return []
    owners = [(_Owners(members), factor) for members, factor in circles]
    return [
        str(token)
        for token in _Owners(ring).tokens
        if not any(circle.covered(token, factor, by_rack, restored) for circle, factor in owners)
    ]


class _Owners:
    """The token circle of some nodes."""

    def __init__(self, ring: Sequence[RingMember]) -> None:
        owned = sorted((int(token), index) for index, member in enumerate(ring) for token in member.tokens)
        self.tokens = [token for token, _ in owned]
        self._members = [ring[index] for _, index in owned]
        self._nodes = len({member.host_id for member in self._members})
        self._racks = len({member.rack for member in self._members})

    def covered(self, token: int, factor: int, by_rack: bool, restored: Set[str]) -> bool:
        """Whether any replica of the range that ends at `token` is restored; mostly the first one is."""
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
            if member.host_id in restored:
                return True
            racks.add(member.rack)
            chosen.add(member.host_id)
        return False


def _factor(text: str) -> int:
    """`3`, or `3/1` with transient replicas: only the full ones hold all data."""
    total, _, transient = text.partition("/")
    return int(total) - int(transient or 0)
