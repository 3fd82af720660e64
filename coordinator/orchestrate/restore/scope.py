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
    ReplicationDiffers,
    StateOnThisCluster,
)
from coordinator.orchestrate.muster import muster
from coordinator.orchestrate.places import Places, target_of
from coordinator.orchestrate.restore.sources import sources_of
from coordinator.orchestrate.run import Surroundings
from coordinator.orchestrate.scope import named_nodes, restore_scope

WRITERS = frozenset({RequestKind.BACKUP, RequestKind.SYNC, RequestKind.DELETE})


class RestoreScope(msgspec.Struct, frozen=True):
    """`sources`: host id of each node that is restored → host id of the backup's node whose part it takes.
    `truncated`: keyspaces to be emptied first. `left_out`: addresses of nodes that aren't restored (excluded, down, or
    without a part in the backup); `forced_out`: those of them that nobody excluded, whom only force left
    out; `partless`: those of these of whom the backup has no part."""

    plan: Plan
    tables: Tables
    truncated: list[str]
    sources: dict[str, str]
    left_out: list[str]
    source: Target | None
    forced_out: list[str] = []
    partless: list[str] = []

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


async def restore_scope_of(
    around: Surroundings, cluster: str, order: RestoreOrder, *, truncate_done: bool = False
) -> RestoreScope:
    """`truncate_done`: what is to be emptied is already. Raises `NoSuchDestination`, `NoSuchBackup`, `BackupDeleted`,
    `UnknownKeyspace`, `UnknownTable`, `KeyspaceRefused`, `InvalidArguments`, `ReplicationDiffers`,
    `StateOnThisCluster`, what `sources_of` raises; `TagInUse` while it is being taken."""
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
        elsewhere = await _other_places(around, cluster, order)
        hint = f"; it was copied to {', '.join(elsewhere)}: name one as destination" if elsewhere else ""
        raise NoSuchBackup(
            told if cancelled else f"There is no backup {order.tag} {where}{hint}",
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
    own = [member.address for member in present.ring if member.host_id in around.state_on]
    if own and around.state_keyspace in tables:
        raise StateOnThisCluster(
            f"{around.state_keyspace}, which is in the backup too, is where this coordinator keeps its own state",
            nodes=sorted(own),
        )
    excluded = named_nodes(order.excluded_nodes, present.ring)
    found = sources_of(order, backup, backup.plan, present, excluded, emptied=bool(truncated) and not truncate_done)
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
        sources=found.sources,
        left_out=found.left_out,
        source=target_of(destination) if destination is not None else None,
        forced_out=[address for address in found.left_out if address not in chosen_away],
        partless=found.partless,
    )


async def _other_places(around: Surroundings, cluster: str, order: RestoreOrder) -> list[str]:
    """Destinations where the backup is by what this coordinator's requests did, without the order's place."""
    last: dict[str, Request] = {}
    for request in await around.store.requests.find(cluster=cluster, tag=order.tag):
        last |= dict.fromkeys(request.destinations if request.kind in WRITERS else (), request)
    known = {each.id for each in await around.store.destinations.all(cluster)} - {order.destination}
    there = {place for place, request in last.items() if request.kind is not RequestKind.DELETE}
    return sorted(place for place in there & known if last[place].state is RequestState.SUCCESS)


async def _last_writer(around: Surroundings, cluster: str, order: RestoreOrder) -> Request | None:
    """The last request of this coordinator that wrote the backup to the order's place, and how that one stands."""
    place = order.destination or ON_SERVER
    requests = await around.store.requests.find(cluster=cluster, tag=order.tag)
    writers = [each for each in requests if each.kind in WRITERS and place in each.destinations]
    return writers[-1] if writers and writers[-1].kind is not RequestKind.DELETE else None
