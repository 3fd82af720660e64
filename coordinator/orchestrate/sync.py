"""A sync: the kept snapshots of an on-server backup are copied to destinations; the snapshots stay."""

import msgspec

from agent.wire.backups import Plan, PlannedNode, Record
from agent.wire.commands import DeleteArguments, Kind, SyncArguments
from agent.wire.node import Tables
from coordinator.model.destinations import Destination
from coordinator.model.errors import NoSuchBackup
from coordinator.model.orders import SyncOrder
from coordinator.orchestrate.announcing import Announcer
from coordinator.orchestrate.copies import (
    CopyStates,
    close_copies,
    forget_one_shots,
    mark_undone,
    targets,
    upload_states,
)
from coordinator.orchestrate.errors import BackupDeleted, RequestCancelled, foreseen
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.muster import missing_nodes, muster
from coordinator.orchestrate.outcome import Outcome, nodes_failed
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.run import Run, Surroundings


class SyncScope(msgspec.Struct, frozen=True):
    """The on-server backup's plan and tables, the nodes that copy, and those that can't. `held`: destinations that had
    a plan, a manifest or a record of the backup before this sync wrote anything."""

    tables: Tables
    hosts: list[str]
    missing: list[PlannedNode]
    plan: Plan
    held: list[str] = []


async def sync_scope(around: Surroundings, cluster: str, order: SyncOrder) -> SyncScope:
    """Raises `NoSuchDestination`, `NoSuchBackup`, `BackupDeleted`, `MissingNodes`."""
    places = Places(around, cluster)
    destinations = [await places.destination(copy.destination) for copy in order.copies]
    source = await places.backup(None, order.tag)
    if source is None:
        raise NoSuchBackup(f"There is no backup {order.tag} on the nodes", tag=order.tag)
    if source.deleted:
        raise BackupDeleted(f"The backup {order.tag} was deleted from the nodes", tag=order.tag)
    if source.plan is None:
        raise NoSuchBackup(f"The backup {order.tag} on the nodes has no plan", tag=order.tag)
    held = []
    for destination in destinations:
        there = await places.backup(destination, order.tag)
        if there is not None and there.deleted:
            raise BackupDeleted(
                f"The backup {order.tag} was deleted from {destination.id}, and its data is still to be swept",
                tag=order.tag,
                destination=destination.id,
            )
        if there is not None:
            held.append(destination.id)
    present = await muster(around, cluster)
    absent = {member.host_id: member for member in present.missing}
    gone = [node for node in source.plan.nodes if node.host_id in absent]
    if gone and not order.partial:
        raise missing_nodes([absent[node.host_id] for node in gone], present.reasons)
    able = {*present.present}
    hosts = [node.host_id for node in source.plan.nodes if node.host_id in able]
    missing = [node for node in source.plan.nodes if node.host_id not in able]
    if not hosts:
        raise NoSuchBackup(f"No node of the ring holds a part of {order.tag}", tag=order.tag)
    tables = source.record.keyspaces if source.record is not None else source.plan.keyspaces
    return SyncScope(tables, sorted(hosts), missing, source.plan, held)


class SyncFlow:
    """Carries out a sync order."""

    def __init__(self, run: Run, order: SyncOrder) -> None:
        self._run = run
        self._order = order
        self._places = Places(run.around, run.cluster)
        self._announcer = Announcer(run, self._places)
        self._fan_out = FanOut(run, repair=self._places.repair)

    async def __call__(self) -> Outcome:
        """To the end. Raises what the whole request fails with."""
        run, order = self._run, self._order
        scope = await run.once("scope", self._scope, SyncScope)
        if run.request.keyspaces != scope.tables:
            await run.update(keyspaces=scope.tables)
        destinations = [await self._places.destination(copy.destination) for copy in order.copies]
        nodes = [node for node in scope.plan.nodes if node.host_id in scope.hosts]
        states = CopyStates(nodes, scope.missing)
        record = Record(order.tag, scope.plan.backup_id, scope.plan.time, "", scope.tables, [])
        try:
            await self._announcer.announce_all(destinations, scope.plan, nodes, scope.missing, states)
            if not any(states.open(place.id) for place in destinations):
                raise nodes_failed("Putting the plan", states.errors())
            arguments = {
                host_id: SyncArguments(order.tag, where, order.throttle_bytes_per_second)
                for host_id, where in targets(order.copies, destinations, scope.hosts, states).items()
            }
            answers = await self._fan_out.ask("sync", Kind.SYNC, arguments)
            upload_states(answers.values(), [place.id for place in destinations], states)
        except RequestCancelled:
            await self._undo(scope, destinations)
            raise
        except Exception as error:  # also what nobody foresaw: listings tell of it, and no secret stays behind
            states.fail_rest([place.id for place in destinations], foreseen(error).as_dict())
            # What a sync only added to keeps the record that says how it ended before.
            fresh = [place for place in destinations if place.id not in scope.held]
            await close_copies(run, self._places, fresh, scope.hosts, states, record)
            await forget_one_shots(run, self._places, [place for place in destinations if place.id in scope.held])
            raise
        return await close_copies(run, self._places, destinations, scope.hosts, states, record)

    async def _scope(self) -> SyncScope:
        return await sync_scope(self._run.around, self._run.cluster, self._order)

    async def _undo(self, scope: SyncScope, destinations: list[Destination]) -> None:
        """A cancelled sync leaves a delete mark, unless the destination held any of the backup before."""
        await self._fan_out.cancel_posted()
        for place in destinations:
            begun = self._announcer.begun.get(place.id, set())
            if place.id in scope.held or not begun:
                continue
            hosts = [host for host in scope.hosts if host in begun]
            delete = DeleteArguments(self._order.tag, made_by=scope.plan.made_by)
            await mark_undone(self._run, self._fan_out, place, hosts, delete)
        await forget_one_shots(self._run, self._places, destinations)
