"""Who takes whose part in a restore. In: the order, the backup as found, and who is there. Out: a source for each node
that is restored, and those that are left out; or the refusal that names them, before anything is changed. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from agent.wire.backups import Plan
from coordinator.fleet.errors import AgentMisbehaved, AgentUnreachable
from coordinator.model.orders import RestoreOrder
from coordinator.orchestrate.errors import (
    MissingNodes,
    NoNodeLeft,
    PartUnreadable,
    RestoreRefused,
    TopologyDiffers,
    TruncateNeedsAll,
)
from coordinator.orchestrate.listing import Joined
from coordinator.orchestrate.muster import Muster, missing_nodes
from coordinator.orchestrate.restore.mapping import map_topology

NO_ANSWER = frozenset({AgentUnreachable.code, AgentMisbehaved.code})
"""Codes of agents that gave no answer of their own: force goes on without their nodes."""

MOUNT = "Mount or repair the destination on this node; or name it in excluded-nodes."


class Sources(msgspec.Struct, frozen=True):
    """`sources`: host id of each node that is restored → host id of the backup's node whose part it takes. `left_out`:
    addresses of the others; `partless`: those of them of whom the backup has no part."""

    sources: dict[str, str]
    left_out: list[str]
    partless: list[str]


def sources_of(
    order: RestoreOrder, backup: Joined, plan: Plan, present: Muster, excluded: list[str], *, emptied: bool
) -> Sources:
    """`excluded`: host ids; `emptied`: tables are emptied first, on every node of the ring. What force would leave out
    and empty all the same is named in the refusal that force lifts. Raises `TopologyDiffers`, `MissingNodes`,
    `TruncateNeedsAll`, `PartUnreadable`, `RestoreRefused`, `NoNodeLeft`."""
    mapping = map_topology(plan.nodes, plan.missing_nodes, present.ring)
    if mapping.misfits:
        told = "; ".join(f"{misfit.node} {misfit.reason}" for misfit in mapping.misfits)
        reasons: dict[str, list[str]] = {}
        for misfit in mapping.misfits:  # a rebuilt node has the address of the one whose tokens are gone
            reasons.setdefault(misfit.node, []).append(misfit.reason)
        raise TopologyDiffers(
            f"The ring is not the one of the backup: {told}",
            nodes={node: "; ".join(each) for node, each in reasons.items()},
        )
    missing = [member for member in present.missing if member.host_id not in excluded]
    with_part = {*backup.manifests}
    no_part = [
        host_id
        for host_id in present.present
        if host_id not in excluded and mapping.sources.get(host_id) not in with_part
    ]
    # One that was away when the parts were looked for, and is back by now, hasn't said that it has none.
    unasked = set() if backup.told is None else {*no_part} - {*backup.told, *backup.unread}
    silent = [
        host_id for host_id in no_part if host_id in unasked or backup.unread.get(host_id, {}).get("code") in NO_ANSWER
    ]
    unread = {host_id: backup.unread[host_id] for host_id in no_part if host_id in backup.unread}
    unread = {host_id: error for host_id, error in unread.items() if host_id not in silent}
    partless = [host_id for host_id in no_part if host_id not in unread and host_id not in silent]
    absent = {member.host_id for member in present.missing}
    chosen = {
        host_id: source
        for host_id, source in mapping.sources.items()
        if host_id not in excluded and host_id not in absent and host_id not in {*no_part}
    }
    left_out = present.addresses([member.host_id for member in present.ring if member.host_id not in chosen])
    loss: dict[str, Any] = {"will_be_emptied": left_out} if emptied and left_out else {}
    also = f"; with force and truncate, emptied and not restored: {', '.join(left_out)}" if loss else ""
    if missing and not order.force:
        if emptied and any(member.host_id in present.stopped for member in missing):
            raise missing_nodes(missing, present, TruncateNeedsAll)
        raise missing_nodes(missing, present, MissingNodes, also, **loss)
    refusals = [_unreadable(present.addresses([host_id])[0], error) for host_id, error in unread.items()]
    if no_part and not order.force:
        refusals += _lifted_by_force(
            "backup_incomplete", "no manifest in the backup for", present, partless, also, loss
        )
        refusals += _lifted_by_force("agent_unreachable", "no answer from the agent of", present, silent, also, loss)
    if unread:
        raise PartUnreadable(f"Parts of the backup {order.tag} can't be read: {_told(refusals)}", refusals=refusals)
    if refusals:
        what = "is not complete" if partless else "can't be looked at on every node"
        raise RestoreRefused(f"The backup {order.tag} {what}: {_told(refusals)}", refusals=refusals)
    if not chosen:
        raise NoNodeLeft(
            "No node is left that could be restored: "
            + "; ".join(
                [
                    *(f"{member.address}: {present.reasons[member.host_id]}" for member in missing),
                    *(f"{address}: the backup has no part of it" for address in present.addresses(partless)),
                    *(f"{address}: its agent gives no answer" for address in present.addresses(silent)),
                    *(f"{address}: excluded" for address in present.addresses(excluded)),
                ]
            ),
            nodes=left_out,
        )
    return Sources(chosen, left_out, present.addresses(partless))


def _unreadable(address: str, error: Mapping[str, Any]) -> dict[str, Any]:
    """The agent's own error as a refusal: what it holds may be whole, so that nobody may empty it for lacking."""
    return {
        "code": str(error.get("code", "")),
        "message": f"{address} can't read its part: {error.get('message', '')}",
        "todo": MOUNT,
        "node": address,
        "fields": error.get("fields", {}),
        "lifted_by": None,
    }


def _lifted_by_force(
    code: str, what: str, present: Muster, hosts: list[str], also: str, loss: Mapping[str, Any]
) -> list[dict[str, Any]]:
    if not hosts:
        return []
    addresses = present.addresses(hosts)
    message = f"{what} {', '.join(addresses)}{also}"
    return [{"code": code, "message": message, "fields": {"nodes": addresses, **loss}, "lifted_by": "force"}]


def _told(refusals: list[dict[str, Any]]) -> str:
    return "; ".join(str(refusal["message"]) for refusal in refusals)
