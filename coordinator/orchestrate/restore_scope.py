"""What a restore order means here and now: which backup, tables and nodes, and who takes whose part."""

import msgspec

from agent.wire.backups import Plan
from agent.wire.commands import RestoreArguments, Target
from agent.wire.destinations import ON_SERVER
from agent.wire.names import CLUSTER_KEYSPACES
from agent.wire.node import Tables
from agent.wire.replication import replication_differences
from coordinator.model.errors import NoSuchBackup, TagInUse
from coordinator.model.orders import RestoreOrder
from coordinator.model.requests import Request, RequestKind, RequestState
from coordinator.orchestrate.errors import (
    BackupDeleted,
    KeyspaceRefused,
    MissingNodes,
    ReplicationDiffers,
    RestoreRefused,
    TopologyDiffers,
)
from coordinator.orchestrate.listing import Joined
from coordinator.orchestrate.mapping import map_topology
from coordinator.orchestrate.muster import Muster, missing_nodes, muster
from coordinator.orchestrate.places import Places, target_of
from coordinator.orchestrate.run import Surroundings
from coordinator.orchestrate.scope import named_nodes, restore_scope

WRITERS = frozenset({RequestKind.BACKUP, RequestKind.SYNC, RequestKind.DELETE})


class RestoreScope(msgspec.Struct, frozen=True):
    """`sources`: host id of each node that is restored → host id of the backup's node whose part it takes.
    `truncated`: keyspaces to be emptied first. `left_out`: addresses of nodes that aren't restored (excluded, down, or
    without a part in the backup); `forced_out`: those of them that nobody excluded, whom only force left out."""

    plan: Plan
    tables: Tables
    truncated: list[str]
    sources: dict[str, str]
    left_out: list[str]
    source: Target | None
    forced_out: list[str] = []

    @property
    def hosts(self) -> list[str]:
        """The restored nodes' host ids."""
        return sorted(self.sources)

    def arguments(self, host_id: str, order: RestoreOrder) -> RestoreArguments:
        """What every phase is told on that node."""
        return RestoreArguments(
            tag=order.tag,
            source_host_id=self.sources[host_id],
            tables=self.tables,
            source=self.source,
            throttle_bytes_per_second=order.throttle_bytes_per_second,
            truncate=bool(self.truncated),
            truncate_keyspaces=self.truncated,
        )


async def restore_scope_of(around: Surroundings, cluster: str, order: RestoreOrder) -> RestoreScope:
    """Raises `NoSuchDestination`, `NoSuchBackup`, `BackupDeleted`, `UnknownKeyspace`, `UnknownTable`,
    `KeyspaceRefused`, `InvalidArguments`, `TopologyDiffers`, `ReplicationDiffers`, `MissingNodes`, `RestoreRefused`;
    `TagInUse` while it is being taken."""
    places = Places(around, cluster)
    destination = await places.optional(order.destination)
    backup = await places.backup(destination, order.tag)
    where = f"in {order.destination}" if order.destination else "on the nodes"
    maker = await _last_writer(around, cluster, order)
    if maker is not None and maker.state is RequestState.RUNNING and not (backup is not None and backup.complete):
        raise TagInUse(
            f"The backup {order.tag} is still running, not all of it is {where} yet: "
            f"GET /request/{maker.id}/status shows how it stands",
            request=maker.id,
            tag=order.tag,
        )
    cancelled = maker is not None and maker.state is RequestState.CANCELLED
    if backup is None or backup.plan is None:
        told = f"The backup {order.tag} was cancelled, nothing of it is {where}"
        raise NoSuchBackup(
            told if cancelled else f"There is no backup {order.tag} {where}",
            tag=order.tag,
            destination=order.destination,
        )
    if backup.deleted:
        told = "was cancelled before it was whole, nothing of it can be restored" if cancelled else "was deleted"
        raise BackupDeleted(f"The backup {order.tag} {told} {where}", tag=order.tag)
    in_backup = backup.record.keyspaces if backup.record is not None else backup.plan.keyspaces
    asked = {keyspace: chosen.tables for keyspace, chosen in (order.keyspaces or {}).items()}
    tables = restore_scope(asked, in_backup)
    truncated = [
        keyspace
        for keyspace in tables
        if (
            order.keyspaces[keyspace].truncate
            if order.keyspaces is not None and keyspace in order.keyspaces
            else order.truncate
        )
    ]
    if kept := sorted(CLUSTER_KEYSPACES & {*truncated}):
        raise KeyspaceRefused(
            f"{', '.join(kept)} can't be emptied: restore it without truncate, beside the others or alone",
            keyspaces=kept,
        )
    present = await muster(around, cluster)
    excluded = named_nodes(order.excluded_nodes, present.ring)
    sources, left_out = _sources(order, backup, backup.plan, present, excluded)
    live = {keyspace: view.replication for keyspace, view in present.keyspaces.items()}
    differing = replication_differences(backup.plan.replication, live, tables)
    if differing:
        raise ReplicationDiffers(
            f"{', '.join(sorted(differing))}: replication differs from the backup's", keyspaces=differing
        )
    chosen_away = {*present.addresses(excluded)}
    return RestoreScope(
        plan=backup.plan,
        tables=tables,
        truncated=truncated,
        sources=sources,
        left_out=left_out,
        source=target_of(destination) if destination is not None else None,
        forced_out=[address for address in left_out if address not in chosen_away],
    )


async def _last_writer(around: Surroundings, cluster: str, order: RestoreOrder) -> Request | None:
    """The last request of this coordinator that wrote the backup to the order's place, and how that one stands."""
    place = order.destination or ON_SERVER
    requests = await around.store.requests.find(cluster=cluster, tag=order.tag)
    writers = [each for each in requests if each.kind in WRITERS and place in each.destinations]
    return writers[-1] if writers and writers[-1].kind is not RequestKind.DELETE else None


def _sources(
    order: RestoreOrder, backup: Joined, plan: Plan, present: Muster, excluded: list[str]
) -> tuple[dict[str, str], list[str]]:
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
    if missing and not order.force:
        raise missing_nodes(missing, present.reasons)
    absent = {member.host_id for member in present.missing}
    with_part = {*backup.manifests}
    no_part = [
        host_id
        for host_id in present.present
        if host_id not in excluded and mapping.sources.get(host_id) not in with_part
    ]
    if no_part and not order.force:
        addresses = present.addresses(no_part)
        refusal = {
            "code": "backup_incomplete",
            "message": f"the backup has no manifest for {', '.join(addresses)}",
            "fields": {"nodes": addresses},
            "lifted_by": "force",
        }
        raise RestoreRefused(f"The backup {order.tag} is not complete", refusals=[refusal])
    without = {*no_part}
    chosen = {
        host_id: source
        for host_id, source in mapping.sources.items()
        if host_id not in excluded and host_id not in absent and host_id not in without
    }
    if not chosen:
        raise MissingNodes(
            "No node is left that could be restored: "
            + "; ".join(
                [
                    *(f"{member.address}: {present.reasons[member.host_id]}" for member in missing),
                    *(f"{address}: the backup has no part of it" for address in present.addresses(no_part)),
                    *(f"{address}: excluded" for address in present.addresses(excluded)),
                ]
            ),
            missing_nodes=present.addresses(list(absent)),
        )
    ring = [member.host_id for member in present.ring]
    return chosen, present.addresses([host_id for host_id in ring if host_id not in chosen])
