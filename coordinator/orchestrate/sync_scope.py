"""What a sync copies, and by whom. In: the order, the agents' reports, the source's plan. Out: the nodes that copy,
those whose part others copy, and those that can't."""

from collections.abc import Sequence

import msgspec

from agent.wire.backups import SUCCESS, NodeRecord, Plan, PlannedNode
from agent.wire.node import Tables
from coordinator.model.destinations import Destination
from coordinator.model.errors import InvalidArguments, NoSuchBackup
from coordinator.model.orders import SyncOrder
from coordinator.orchestrate.errors import BackupDeleted
from coordinator.orchestrate.listing import Joined, addresses_in
from coordinator.orchestrate.muster import Muster, missing_nodes, muster
from coordinator.orchestrate.places import Places, is_shared
from coordinator.orchestrate.run import Surroundings


class SyncScope(msgspec.Struct, frozen=True):
    """The source's plan and tables, the nodes that copy their own part, and those that can't. `gone`: nodes that left
    the ring and whose part others copy, `takers` who may. `held`: destinations that had a plan, a manifest or a record
    of the backup before this sync wrote anything, with the lines of nodes whose part was whole there."""

    tables: Tables
    hosts: list[str]
    missing: list[PlannedNode]
    plan: Plan
    held: dict[str, list[NodeRecord]] = {}
    gone: list[PlannedNode] = []
    takers: list[str] = []

    @property
    def speakers(self) -> list[str]:
        """Whose agents put the plan and the records."""
        return self.hosts or self.takers

    @property
    def nodes(self) -> list[PlannedNode]:
        """All whose part is copied, by themselves or by others."""
        copied = {*self.hosts, *(node.host_id for node in self.gone)}
        return [node for node in self.plan.nodes if node.host_id in copied]


async def sync_scope(around: Surroundings, cluster: str, order: SyncOrder) -> SyncScope:
    """Raises `NoSuchDestination`, `NoSuchBackup`, `BackupDeleted`, `MissingNodes`, `InvalidArguments`."""
    places = Places(around, cluster)
    destinations = [await places.destination(copy.destination) for copy in order.copies]
    source = await places.optional(order.source)
    _refuse_same(source, destinations)
    where = "on the nodes" if source is None else f"in {source.id}"
    backup = await places.backup(source, order.tag)
    if backup is None:
        raise NoSuchBackup(f"There is no backup {order.tag} {where}", tag=order.tag)
    if backup.deleted:
        whence = "the nodes" if source is None else source.id
        raise BackupDeleted(f"The backup {order.tag} was deleted from {whence}", tag=order.tag)
    if backup.plan is None:
        raise NoSuchBackup(f"The backup {order.tag} {where} has no plan", tag=order.tag)
    held: dict[str, list[NodeRecord]] = {}
    for destination in destinations:
        there = await places.backup(destination, order.tag)
        if there is not None and there.deleted:
            raise BackupDeleted(
                f"The backup {order.tag} was deleted from {destination.id}, and its data is still to be swept",
                tag=order.tag,
                destination=destination.id,
            )
        if there is not None:
            lines = there.record.nodes if there.record is not None else []
            held[destination.id] = [line for line in lines if line.state == SUCCESS and line.host_id in there.manifests]
    present = await muster(around, cluster)
    absent = {member.host_id: member for member in present.missing}
    silent = [node for node in backup.plan.nodes if node.host_id in absent]
    if silent and not order.partial:
        raise missing_nodes([absent[node.host_id] for node in silent], present)
    able = {*present.present}
    hosts = [node.host_id for node in backup.plan.nodes if node.host_id in able]
    gone = _gone(backup, backup.plan, present, [source, *destinations])
    left = {node.host_id for node in gone}
    missing = [node for node in backup.plan.nodes if node.host_id not in able | left]
    missing += _away(backup, backup.plan)
    if not hosts and not gone:
        raise NoSuchBackup(f"No node of the ring holds a part of {order.tag}", tag=order.tag)
    tables = backup.record.keyspaces if backup.record is not None else backup.plan.keyspaces
    takers = present.present if gone else []
    return SyncScope(tables, sorted(hosts), missing, backup.plan, held, gone, takers)


def _refuse_same(source: Destination | None, destinations: Sequence[Destination]) -> None:
    """A repository is not copied to itself, under whatever other name."""
    same = [one.id for one in destinations if source is not None and one.repository_id == source.repository_id]
    if same:
        raise InvalidArguments(f"{', '.join(same)} is where the backup is copied from", field="destinations")


def _away(backup: Joined, plan: Plan) -> list[PlannedNode]:
    """Members that the backup was taken without: what it lacks there its copies lack too."""
    addresses = addresses_in(backup)
    away = [host for host in plan.missing_nodes if host not in backup.manifests]
    return [PlannedNode(host, addresses.get(host, ""), "", "", []) for host in away]


def _gone(backup: Joined, plan: Plan, present: Muster, places: Sequence[Destination | None]) -> list[PlannedNode]:
    """Nodes that left the ring and whose part others can copy: that takes places which all nodes share."""
    if not present.present or not all(is_shared(place) for place in places):
        return []
    ring = {member.host_id for member in present.ring}
    return [node for node in plan.nodes if node.host_id not in ring and node.host_id in backup.manifests]
