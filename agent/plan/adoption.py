"""Whether a node's prefix may be swept by another node's agent. In: the ring, and a host id. Out: why not. Pure."""

from collections.abc import Mapping


def refusal(ring: Mapping[str, str], host_id: str) -> str | None:
    """`ring`: address of each member, up or down, in whatever state → its host id, "" where it isn't known. None: the
    node has left the ring."""
    for address, member in sorted(ring.items()):
        if member == host_id:
            return f"the node {host_id} is in the ring: {address}"
    nameless = sorted(address for address, member in ring.items() if not member)
    if nameless or not ring:
        who = ", ".join(nameless) or "no member"
        return f"whether the node {host_id} is in the ring isn't known: {who} has no host id"
    return None
