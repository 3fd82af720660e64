"""Whether a backup fits the live ring: planned nodes and ring members in, the one-to-one mapping or the reasons out.

Pure. «Same topology» (design §5): for the whole ring one node of the backup for each member, with equal token sets, dc
and rack. Host ids and addresses may differ, for nodes may have been rebuilt.
"""

from collections.abc import Sequence

import msgspec

from agent.wire.backups import PlannedNode
from agent.wire.node import RingMember


class Misfit(msgspec.Struct, frozen=True):
    """Why a node has no counterpart. `node` is its address, `host_id` its own; `reason` a plain clause."""

    node: str
    host_id: str
    reason: str


class TopologyMapping(msgspec.Struct, frozen=True):
    """`sources`: host id of a ring member → host id of the backup's node whose part it takes. `unsourced`: ring members
    that the backup itself calls missing. `misfits`: empty when the topology is the same."""

    sources: dict[str, str]
    unsourced: list[str]
    misfits: list[Misfit]


def map_topology(planned: Sequence[PlannedNode], missing: Sequence[str], ring: Sequence[RingMember]) -> TopologyMapping:
    """Map the ring onto the backup's nodes. `missing`: host ids that the backup was taken without."""
    backup_of = {frozenset(node.tokens): node for node in planned if node.tokens}
    live_of = {frozenset(member.tokens): member for member in ring if member.tokens}
    sources: dict[str, str] = {}
    unsourced: list[str] = []
    misfits: list[Misfit] = []
    for member in ring:
        node = backup_of.get(frozenset(member.tokens))
        if member.state != "NORMAL":
            misfits.append(Misfit(member.address, member.host_id, f"is {member.state}, not NORMAL"))
        elif node is None and member.host_id in missing:
            unsourced.append(member.host_id)
        elif node is None:
            misfits.append(Misfit(member.address, member.host_id, _why_new(member, planned)))
        elif (node.dc, node.rack) != (member.dc, member.rack):
            reason = (
                f"is in {member.dc}/{member.rack}, its tokens were in {node.dc}/{node.rack} when the backup was taken"
            )
            misfits.append(Misfit(member.address, member.host_id, reason))
        else:
            sources[member.host_id] = node.host_id
    hosts = {member.host_id for member in ring}
    gone = "was in the ring of the backup; no live node has its tokens"
    misfits += [
        Misfit(node.address, node.host_id, gone)
        for node in planned
        if frozenset(node.tokens) not in live_of and node.host_id not in hosts
    ]
    return TopologyMapping(sources, unsourced, misfits)


def _why_new(member: RingMember, planned: Sequence[PlannedNode]) -> str:
    same_host = next((node for node in planned if node.host_id == member.host_id), None)
    if same_host is not None:
        gone = len(set(same_host.tokens) - set(member.tokens))
        new = len(set(member.tokens) - set(same_host.tokens))
        return f"owns other tokens than when the backup was taken ({gone} gone, {new} new)"
    return "is not in the backup, and no node of the backup had its tokens"
