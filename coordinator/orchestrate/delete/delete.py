"""A delete: the mark, then every node's sweep, which frees what no other backup needs; bytes freed are summed."""

from collections.abc import Set
from typing import Any

import msgspec

from agent.wire.commands import DeleteArguments, Kind, State, SweepArguments
from agent.wire.results import FreedResult
from coordinator.fleet.each import on_each
from coordinator.fleet.errors import AgentRefused
from coordinator.model.cluster import NamedNode
from coordinator.model.commands import PostedCommand
from coordinator.model.destinations import Destination
from coordinator.model.errors import CoordinatorError, DestinationInUse, NoSuchBackup
from coordinator.model.orders import DeleteOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.answers import Answered, ended
from coordinator.orchestrate.delete.adopting import adopt
from coordinator.orchestrate.delete.locked import told_of_locked
from coordinator.orchestrate.delete.marks import called_back, may_have_deleted, told, too_late
from coordinator.orchestrate.delete.noting import note_deleted
from coordinator.orchestrate.errors import DestinationScheduled, RequestCancelled
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.listing import Joined, named
from coordinator.orchestrate.muster import nobody_answers
from coordinator.orchestrate.outcome import NOT_THERE, Outcome, failures, nodes_failed
from coordinator.orchestrate.places import Places, target_of
from coordinator.orchestrate.run import Run, Surroundings
from kit.errors import HelenusError


class DeleteScope(msgspec.Struct, frozen=True):
    """The nodes that take part, and the addresses of those whose agent doesn't answer. `gone`: nodes of the backup that
    have left the ring, whose part in a destination their own agents free no more."""

    hosts: list[str]
    absent: list[str]
    gone: list[NamedNode] = []


async def delete_scope(around: Surroundings, cluster: str, order: DeleteOrder) -> DeleteScope:
    """Raises `NoSuchDestination`, `NoSuchBackup`, `NobodyAnswers`. A backup that bears its mark already may be deleted
    again: that sweeps once more."""
    places = Places(around, cluster)
    backup = await places.backup(await places.optional(order.destination), order.tag)
    if backup is None:
        where = f"in {order.destination}" if order.destination else "on the nodes"
        raise NoSuchBackup(f"There is no backup {order.tag} {where}", tag=order.tag, destination=order.destination)
    agents = await around.registry.by_host(cluster, around.timing.report_age)
    hosts = sorted(host_id for host_id, agent in agents.items() if agent.alive)
    if not hosts:
        raise await nobody_answers(around, cluster, around.registry.agents(cluster))
    reports = [agents[host_id].report for host_id in hosts]
    ring = {member.host_id for report in reports if report is not None for member in report.ring}
    # What stays on a node goes with it. Without a ring to look at nobody can be said to have left it.
    gone = left_behind(backup, ring | {*hosts}) if ring and order.destination is not None else []
    left = {node.host_id for node in gone}
    silent = [agent for agent in around.registry.agents(cluster) if not agent.alive and agent.host_id not in left]
    return DeleteScope(hosts, sorted(agent.address for agent in silent), gone)


def left_behind(backup: Joined, ring: Set[str]) -> list[NamedNode]:
    """The nodes that may have a part of the backup, by its plan or their manifest, and that aren't in the ring."""
    planned = {node.host_id for node in backup.plan.nodes} if backup.plan is not None else set()
    left = (planned | set(backup.manifests)) - ring
    return named(backup, sorted(left))


class DeleteFlow:
    """Carries out a delete order."""

    def __init__(self, run: Run, order: DeleteOrder) -> None:
        self._run = run
        self._order = order
        self._places = Places(run.around, run.cluster)
        self._fan_out = FanOut(run, repair=self._places.repair)

    async def __call__(self) -> Outcome:
        """To the end. Raises what the whole request fails with."""
        try:
            return await self._delete()
        except RequestCancelled:
            marked, unknown = await self._called_back()
            if not marked:
                self._run.aftermath = (
                    f"whether it is deleted on {', '.join(unknown)} is not known" if unknown else "nothing was deleted"
                )
                raise
            # The cancel was taken just before the first node told that it is done.
            await self._note_deleted()
            error = too_late(self._run.request, f"the cancel came when {', '.join(marked)} had done it")
            return Outcome(RequestState.ERROR, error.message, partial=True, error=error.as_dict())

    async def _delete(self) -> Outcome:
        order = self._order
        scope = await self._run.once("scope", self._scope, DeleteScope)
        place = await self._places.optional(order.destination)
        marked: dict[str, Answered] = {}
        arguments = DeleteArguments(order.tag, target_of(place) if place is not None else None)
        # One mark deletes a backup of a shared store; any node can put it.
        groups = [[host_id] for host_id in scope.hosts] if place is not None and place.shared else [scope.hosts]
        for number, hosts in enumerate(groups):
            phase = "delete" if not number else f"delete-{number + 1}"
            marked |= await self._fan_out.ask(phase, Kind.DELETE, dict.fromkeys(hosts, arguments))
            if any(answer.ok for answer in marked.values()):
                break
        good = [answer for answer in marked.values() if answer.ok]
        if not good:
            raise nodes_failed("The delete", failures(marked.values()))
        self._run.stop_if_cancelled()
        result: dict[str, Any] = {"retention": order.because} if order.because else {}
        failed = {
            address: error
            for address, error in failures(marked.values()).items()
            if error.get("code") not in NOT_THERE and (place is None or not place.shared)
        }
        for address in scope.absent:
            if place is not None and place.shared:
                self._run.warn(f"{address} doesn't answer: its data of {order.tag} goes with its next sweep")
            else:
                failed[address] = {"code": "agent_unreachable", "message": "the agent doesn't answer", "retry": "later"}
        await self._note_deleted()
        freed = [msgspec.convert(answer.result, FreedResult) for answer in good]
        if place is not None and order.sweep:
            sweeps = await self._fan_out.ask(
                "sweep", Kind.SWEEP, dict.fromkeys(scope.hosts, SweepArguments(target_of(place)))
            )
            freed += [msgspec.convert(answer.result, FreedResult) for answer in sweeps.values() if answer.ok]
            failed |= failures(sweeps.values())
        if scope.gone and place is not None:
            owed, adopted = await self._adopted(scope, place)
            freed += adopted
            if owed:
                result["owed"] = [{"address": node.address, "host_id": node.host_id} for node in owed]
        stays: CoordinatorError | None = None
        if order.remove_destination and place is not None and not failed:
            stays = await self._stays(place.id)
            if stays is None:
                failed |= await self._places.forget(place.id)
                if not failed:
                    self._run.forget.add(place.id)
        result["bytes_freed"] = sum(each.bytes_freed for each in freed)
        result["objects_removed"] = sum(each.objects for each in freed)
        result |= told_of_locked(freed)
        if not failed and stays is None:
            freed_now = f"{result['bytes_freed']} bytes freed" if order.sweep else "its space goes with the next sweep"
            if "locked_bytes" in result:
                freed_now += f", {result['locked_bytes']} are under object lock and go with later sweeps"
            why = f" (retention: {order.because})" if order.because else ""
            return Outcome(RequestState.SUCCESS, f"deleted, {freed_now}{why}", result=result)
        error: CoordinatorError = stays or nodes_failed("The delete", failed)
        why = f"{error.message[:1].lower()}{error.message[1:]}"
        return Outcome(RequestState.ERROR, f"deleted, but {why}", partial=True, error=error.as_dict(), result=result)

    async def _stays(self, destination: str) -> CoordinatorError | None:
        """Why the settings can't be forgotten: who needs them. No schedule begins to while this request runs."""
        users = await self._places.users(destination, but=self._run.request.id)
        if users:
            told = f"the settings of {destination} stay: {', '.join(users)} needs them"
            return DestinationInUse(told, request=users[0], requests=users)
        schedules = await self._places.schedules(destination)
        return DestinationScheduled(destination, schedules) if schedules else None

    async def _adopted(self, scope: DeleteScope, place: Destination) -> tuple[list[NamedNode], list[FreedResult]]:
        """Nodes that left the ring and whose part isn't freed, and what was freed of the others."""
        # Of a directory on each node that of a node which left is out of everybody's reach.
        hosts = scope.hosts if place.shared else []
        ends = await adopt(self._fan_out, scope.gone, hosts, SweepArguments(target_of(place)))
        done = {node.host_id for node, answer in ends if answer.ok}
        owed = [node for node in scope.gone if node.host_id not in done]
        why = [f"{answer.address} says: {(answer.error or {}).get('message')}" for _, answer in ends if not answer.ok]
        if owed:
            self._run.warn(
                f"owed: the data of {', '.join(node.host_id for node in owed)} in {place.id} isn't freed: these nodes "
                f"have left the ring, and {'; '.join(why) or 'no agent reaches their part'} (docs/opscenter.md says "
                "how to free it)"
            )
        return owed, [msgspec.convert(answer.result, FreedResult) for _, answer in ends if answer.ok]

    async def _called_back(self) -> tuple[list[str], list[str]]:
        """Call back what was posted, by an earlier life of the coordinator too. Addresses of the nodes that have
        deleted their part all the same, and of those of which that isn't known."""
        await self._fan_out.cancel_posted()
        posted = await self._run.around.store.commands.of(self._run.request.id)
        looked = await on_each(posted, self._has_deleted)
        marked = {command.address for command, answer in looked if answer is True}
        unknown = {command.address for command, answer in looked if answer is None or isinstance(answer, HelenusError)}
        return sorted(marked), sorted(unknown - marked)

    async def _has_deleted(self, command: PostedCommand) -> bool | None:
        """Whether a command has deleted its node's part of the backup; None while it still may."""
        around, tag, destination = self._run.around, self._order.tag, self._order.destination
        if not told(command):
            agent = await around.registry.agent_of(self._run.cluster, command.host_id)
            try:
                view = await agent.client.command(command.id)
            except AgentRefused as refused:
                if refused.agent_status == 404 and called_back(command):
                    return False  # it never arrived
                raise
            if not view.state.terminal:
                return None
            command = ended(command, view)
            await self._run.put([command])
        if not may_have_deleted(command):
            return command.kind is Kind.DELETE and command.state is State.SUCCESS
        agent = await around.registry.agent_of(self._run.cluster, command.host_id)
        place = await self._places.optional(destination)
        try:
            backup = await self._places.call(agent, place, lambda client: client.backup(tag, destination))
        except AgentRefused as refused:
            if refused.agent_code in NOT_THERE:
                return place is None  # what was on the node is gone; in a destination a mark would be found
            raise
        return backup.deleted

    async def _note_deleted(self) -> None:
        order, around = self._order, self._run.around
        place = await self._places.optional(order.destination)
        await note_deleted(around.store.requests, self._run.cluster, order.tag, place, int(around.clock()))

    async def _scope(self) -> DeleteScope:
        return await delete_scope(self._run.around, self._run.cluster, self._order)
