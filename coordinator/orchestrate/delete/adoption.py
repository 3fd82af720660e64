"""Whose agent sweeps the part of a node that left the ring. In: nodes, and the hosts whose agents answer. Out: who
takes whom. Pure.
"""

from collections.abc import Sequence

from coordinator.model.cluster import NamedNode

ADOPT = "adopt"
"""The phase; a second one, where there are more nodes than agents, is `adopt-2`."""


def adopters(gone: Sequence[NamedNode], hosts: Sequence[str]) -> list[dict[str, NamedNode]]:
    """Rounds of host id → the node that its agent adopts. The same for the same nodes in whatever order, so that a
    request that is gone on with asks the same agents; each agent takes one in a round, for each costs a margin."""
    ordered, takers = sorted(gone, key=lambda node: node.host_id), sorted(hosts)
    if not takers:
        return []
    return [
        dict(zip(takers, ordered[start : start + len(takers)], strict=False))
        for start in range(0, len(ordered), len(takers))
    ]
