"""A backup: plan first, snapshots on all nodes, copies to all destinations, the listing record last; scripts before and
after the snapshots where it names any."""

from typing import Any

import msgspec

from agent.wire.backups import Plan, PlannedNode, Record
from agent.wire.commands import DeleteArguments, Kind, SnapshotArguments, UploadArguments
from agent.wire.destinations import ON_SERVER
from agent.wire.node import Tables
from agent.wire.results import SnapshotResult
from coordinator.model.destinations import Destination
from coordinator.model.orders import BackupOrder
from coordinator.orchestrate.announcing import Announcer
from coordinator.orchestrate.copies import (
    NOT_OURS,
    CopyStates,
    close_copies,
    forget_one_shots,
    mark_undone,
    owe,
    targets,
    upload_states,
)
from coordinator.orchestrate.errors import RequestCancelled, SchemaChanged, foreseen
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.muster import missing_nodes, muster
from coordinator.orchestrate.outcome import Outcome, failures, nodes_failed
from coordinator.orchestrate.places import Places, place_id
from coordinator.orchestrate.run import Run, Surroundings
from coordinator.orchestrate.scope import backup_scope, union_of_tables
from coordinator.orchestrate.scripts import BEFORE, refuse_older_agents, run_scripts, with_failed_scripts
from kit.slices import Slices

SNAPSHOT_ROUNDS = 3
ON_NODES = "on-server"
"""What the plan of an on-server backup has for a cluster id: it is in no repository."""
SNAPSHOT_EXISTS = "snapshot_exists"
"""The agents' code for a tag that another snapshot has on the node."""


class BackupScope(msgspec.Struct, frozen=True):
    """What a backup covers and who takes part; `plan` with the cluster id of the on-server place: each
    destination has its own."""

    tables: Tables
    hosts: list[str]
    missing: list[PlannedNode]
    plan: Plan


async def scope_of(around: Surroundings, cluster: str, order: BackupOrder) -> BackupScope:
    """Raises `UnknownKeyspace`, `UnknownTable`, `NoSuchDestination`, `MissingNodes`, `ScriptsNotSupported`."""
    places = Places(around, cluster)
    for copy in order.copies:
        await places.destination(copy.destination)
    present = await muster(around, cluster)
    if present.missing and not order.partial:
        raise missing_nodes(present.missing, present)
    refuse_older_agents(around, cluster, order, present.present)
    tables = backup_scope(order.keyspaces or {}, present.keyspaces)
    missing = [member.host_id for member in present.missing]
    plan = Plan(
        tag=order.tag,
        backup_id=order.backup_id,
        time=float(order.time),
        cluster_name=present.cluster_name,
        cluster_id=ON_NODES,
        nodes=present.planned(present.present),
        keyspaces=tables,
        replication={keyspace: present.keyspaces[keyspace].replication for keyspace in tables},
        schema_version=present.schema_version,
        missing_nodes=missing,
    )
    return BackupScope(tables, present.present, present.planned(missing), plan)


class BackupFlow:
    """Carries out a backup order."""

    def __init__(self, run: Run, order: BackupOrder) -> None:
        self._run = run
        self._order = order
        self._places = Places(run.around, run.cluster)
        self._announcer = Announcer(run, self._places)
        self._fan_out = FanOut(run, repair=self._places.repair)
        self._made_by = run.request.id
        self._announced = False
        """whether `begun` says where anything is: not when a cancelled request is only taken up again to be undone"""
        self._taken: Tables = {}
        """what the snapshots hold: tables may come and go between the plan and them"""

    async def __call__(self) -> Outcome:
        """To the end. Raises what the whole request fails with."""
        run, order = self._run, self._order
        scope = await run.once("scope", self._scope, BackupScope)
        if run.request.keyspaces != scope.tables:
            await run.update(keyspaces=scope.tables)
        destinations = [await self._places.destination(copy.destination) for copy in order.copies]
        places: list[Destination | None] = [*([None] if order.keep else []), *destinations]
        states = CopyStates([*scope.plan.nodes], scope.missing)
        try:
            run.stop_if_cancelled()
            self._announced = True
            await self._put_plans(scope, places, states)
            if order.pre_script:
                await self._pre_script(scope, places, states)
            snapshots = await self._snapshot(scope, destinations, states)
            if order.keep:
                for host_id, snapshot in snapshots.items():
                    states.succeeded(ON_SERVER, host_id, snapshot.sizes)
            told = await self._post_script(sorted(snapshots)) if order.post_script else {}
            if destinations:
                await self._upload(sorted(snapshots), destinations, states)
            return with_failed_scripts(await self._close(scope, places, states), told)
        except RequestCancelled:
            await self._undo(scope, destinations)
            raise
        except Exception as error:  # also what nobody foresaw: listings tell of it, and no secret stays behind
            states.fail_rest([place_id(place) for place in places], foreseen(error).as_dict())
            await self._close(scope, places, states)
            raise

    async def _scope(self) -> BackupScope:
        scope = await scope_of(self._run.around, self._run.cluster, self._order)
        return msgspec.structs.replace(scope, plan=msgspec.structs.replace(scope.plan, made_by=self._made_by))

    async def _put_plans(
        self, scope: BackupScope, places: list[Destination | None], states: CopyStates, *, anew: bool = False
    ) -> None:
        """Nothing is written to a destination before its plan is there; a place that can't take it gets no backup. A
        node with another on-server backup of the tag has its snapshot too: it falls out altogether."""
        found = await self._announcer.announce_all(
            places, scope.plan, scope.plan.nodes, scope.missing, states, anew=anew
        )
        on_server = found.get(ON_SERVER, {})
        taken = [host_id for host_id, error in on_server.items() if error.get("code") in NOT_OURS]
        for host_id in taken:
            states.failed_everywhere(host_id, on_server[host_id])
        if (taken and not self._order.partial) or not any(states.open(place_id(place)) for place in places):
            raise nodes_failed("Putting the plan", states.errors())

    async def _pre_script(self, scope: BackupScope, places: list[Destination | None], states: CopyStates) -> None:
        """Before the first snapshot, once: a node on which it fails gets none. Raises as a snapshot that fails does;
        there is nothing to clear yet."""
        order = self._order
        hosts = [host for host in scope.hosts if any(states.open(place_id(place), host) for place in places)]
        answers = await run_scripts(self._fan_out, order, "pre", hosts)
        failed = failures(answers.values())
        if failed and not order.partial:
            raise nodes_failed(BEFORE, failed)
        for host_id, answer in answers.items():
            if not answer.ok:
                states.failed_everywhere(host_id, answer.error or {})

    async def _post_script(self, hosts: list[str]) -> dict[str, dict[str, Any]]:
        """Address → error of the nodes on which it failed: their snapshots are copied all the same."""
        return failures((await run_scripts(self._fan_out, self._order, "post", hosts)).values())

    async def _snapshot(
        self, scope: BackupScope, destinations: list[Destination], states: CopyStates
    ) -> dict[str, SnapshotResult]:
        """Snapshots under one schema version on all nodes that have a place for theirs; host id → result of those that
        have it."""
        order = self._order
        arguments = SnapshotArguments(
            tag=order.tag,
            keyspaces=_asked(order, scope),
            keep=order.keep,
            backup_id=order.backup_id,
            throttle_bytes_per_second=_slowest(order, destinations),
            made_by=self._made_by,
        )
        places = [*([ON_SERVER] if order.keep else []), *(place.id for place in destinations)]
        for attempt in range(1, SNAPSHOT_ROUNDS + 1):
            phase = "snapshot" if attempt == 1 else f"snapshot-{attempt}"
            if attempt > 1 and order.keep:
                # Clearing the snapshots took what the nodes kept of the backup with it.
                await self._put_plans(scope, [None], states, anew=True)
            hosts = [host for host in scope.hosts if any(states.open(place, host) for place in places)]
            asked = {host: msgspec.structs.replace(arguments, keep=self._keeps(host, states)) for host in hosts}
            answers = await self._fan_out.ask(phase, Kind.SNAPSHOT, asked)
            failed = failures(answers.values())
            for host_id, answer in answers.items():
                if (answer.error or {}).get("code") == SNAPSHOT_EXISTS:
                    states.taken(ON_SERVER, host_id)
            taken, slices = dict[str, SnapshotResult](), Slices()
            for host_id, answer in answers.items():
                if answer.ok:
                    taken[host_id] = msgspec.convert(answer.result, SnapshotResult)
                await slices.pause()
            if failed and (not order.partial or not taken):
                await self._clear(f"{phase}-clear", hosts)
                raise nodes_failed("The snapshot", failed)
            if len({snapshot.schema_version for snapshot in taken.values()}) <= 1:
                self._taken = union_of_tables(snapshot.tables for snapshot in taken.values())
                for host_id in set(answers) - set(taken):
                    states.failed_everywhere(host_id, answers[host_id].error or {})
                await self._clear(f"{phase}-clear", sorted(set(answers) - set(taken)))
                return taken
            await self._clear(f"{phase}-clear", hosts)
        versions = {answers[host_id].address: snapshot.schema_version for host_id, snapshot in taken.items()}
        raise SchemaChanged("The schema changed while the snapshots were taken, three times", versions=versions)

    async def _upload(self, hosts: list[str], destinations: list[Destination], states: CopyStates) -> None:
        chosen = targets(self._order.copies, destinations, hosts, states)
        arguments = {
            host_id: UploadArguments(self._order.tag, where, self._order.throttle_bytes_per_second)
            for host_id, where in chosen.items()
        }
        answers = await self._fan_out.ask("upload", Kind.UPLOAD, arguments, at_once=self._run.around.uploads_at_once)
        upload_states(answers.values(), [place.id for place in destinations], states)
        # An upload clears its snapshot when it ends well; what failed or was never sent leaves one behind.
        left = [host for host in hosts if host not in answers or not answers[host].ok]
        await self._clear("upload-clear", [host for host in left if not self._keeps(host, states)])

    def _keeps(self, host_id: str, states: CopyStates) -> bool:
        """Whether the node's snapshot stays as its part of an on-server backup."""
        return self._order.keep and states.open(ON_SERVER, host_id)

    async def _close(self, scope: BackupScope, places: list[Destination | None], states: CopyStates) -> Outcome:
        """The records, and how it went. Also reached after a failure, so that listings tell of it."""
        order = self._order
        record = Record(order.tag, order.backup_id, float(order.time), "", self._taken or scope.tables, [])
        return await close_copies(self._run, self._places, places, scope.hosts, states, record)

    async def _undo(self, scope: BackupScope, destinations: list[Destination]) -> None:
        """A cancelled backup leaves no snapshot, and a delete mark where something was written."""
        await self._fan_out.cancel_posted()
        await self._clear("undo-clear", list(scope.hosts))
        for place in destinations:
            begun = self._begun(place.id)
            hosts = [host for host in scope.hosts if begun is None or host in begun]
            delete = DeleteArguments(self._order.tag, made_by=self._made_by)
            await mark_undone(self._run, self._fan_out, place, hosts, delete)
        await forget_one_shots(self._run, self._places, destinations)

    async def _clear(self, phase: str, hosts: list[str]) -> None:
        """Clear what this backup made on these nodes; where that fails it is named as owed. A node that took no plan
        and was never asked for a snapshot has nothing of it, or said that the tag has one: that is another one's, and
        only a plan may be this backup's there (`made_by` tells the node)."""
        posted = await self._run.around.store.commands.of(self._run.request.id)
        snapshots = [command for command in posted if command.kind is Kind.SNAPSHOT]
        begun = self._begun(ON_SERVER) if self._order.keep else set()
        others = {command.host_id for command in snapshots if (command.error or {}).get("code") == SNAPSHOT_EXISTS}
        asked = {command.host_id for command in snapshots} - others
        begun = {*hosts} if begun is None else begun | asked
        arguments = DeleteArguments(self._order.tag, made_by=self._made_by)
        ours = [host for host in hosts if host in begun]
        answers = await self._fan_out.ask(phase, Kind.DELETE, dict.fromkeys(ours, arguments), undoing=True)
        owe(self._run, answers.values(), f"clearing the snapshot {self._order.tag}")

    def _begun(self, place_id: str) -> set[str] | None:
        """The nodes at whose part of the place something of this backup may be; None: any of them."""
        return self._announcer.begun.get(place_id, set()) if self._announced else None


def _slowest(order: BackupOrder, destinations: list[Destination]) -> int:
    """The lowest of the copies' limits, bytes per second, 0 = none; all of them share the order's own."""
    limits = [order.throttle_bytes_per_second // max(len(order.copies), 1)]
    limits += [copy.throttle_bytes_per_second for copy in order.copies]
    limits += [place.settings.throttle_bytes_per_second for place in destinations]
    return min((limit for limit in limits if limit > 0), default=0)


def _asked(order: BackupOrder, scope: BackupScope) -> dict[str, Any] | None:
    """Keyspaces by name, so that nodes don't each decide what «all» is; tables only where they were named, for a list
    of all tables would miss one that is made meanwhile."""
    named = order.keyspaces or {}
    return {keyspace: list(named.get(keyspace, [])) for keyspace in scope.tables}
