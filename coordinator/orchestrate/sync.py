"""A sync: a backup that is kept on the nodes, or lies in a destination, is copied to others; it stays where it was."""

from collections.abc import Mapping, Sequence

import msgspec

from agent.wire.backups import Record
from agent.wire.commands import DeleteArguments, Kind, SyncArguments
from coordinator.model.cluster import NamedNode
from coordinator.model.destinations import Destination
from coordinator.model.orders import SyncOrder
from coordinator.orchestrate.announcing import Announcer, Errors
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.copies import (
    CopyStates,
    close_copies,
    forget_one_shots,
    mark_undone,
    targets,
    upload_states,
)
from coordinator.orchestrate.delete.adoption import adopters
from coordinator.orchestrate.errors import RequestCancelled, foreseen
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.outcome import Outcome, nodes_failed
from coordinator.orchestrate.parts import FOR_OTHERS
from coordinator.orchestrate.places import Places, target_of
from coordinator.orchestrate.run import Run
from coordinator.orchestrate.sync_scope import SyncScope, sync_scope


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
        states = CopyStates(scope.nodes, scope.missing)
        for place_id, lines in scope.held.items():
            for line in lines:
                states.kept(place_id, line)
        record = Record(order.tag, scope.plan.backup_id, scope.plan.time, "", scope.tables, [])
        try:
            refused = await self._announcer.announce_all(
                destinations, scope.plan, scope.nodes, scope.missing, states, by=scope.speakers
            )
            _fail_unannounced(scope, refused, states)
            if not any(states.open(place.id) for place in destinations):
                raise nodes_failed("Putting the plan", states.errors())
            orders = await self._orders(scope, destinations, states)
            own = {host_id: orders[host_id] for host_id in scope.hosts if host_id in orders}
            at_once = run.around.uploads_at_once
            answers = [*(await self._fan_out.ask("sync", Kind.SYNC, own, at_once=at_once)).values()]
            answers += await self._for_others(scope, orders)
            upload_states(answers, [place.id for place in destinations], states)
        except RequestCancelled:
            await self._undo(scope, destinations)
            raise
        except Exception as error:  # also what nobody foresaw: listings tell of it, and no secret stays behind
            states.fail_rest([place.id for place in destinations], foreseen(error).as_dict())
            # What a sync only added to keeps the record that says how it ended before.
            fresh = [place for place in destinations if place.id not in scope.held]
            await close_copies(run, self._places, fresh, scope.speakers, states, record)
            await forget_one_shots(run, self._places, [place for place in destinations if place.id in scope.held])
            raise
        return await close_copies(run, self._places, destinations, scope.speakers, states, record)

    async def _orders(
        self, scope: SyncScope, destinations: Sequence[Destination], states: CopyStates
    ) -> dict[str, SyncArguments]:
        """Host id of each part that can still come somewhere → what is to be done for it."""
        order = self._order
        source = await self._places.optional(order.source)
        hosts = [node.host_id for node in scope.nodes]
        return {
            host_id: SyncArguments(
                order.tag,
                where,
                order.throttle_bytes_per_second,
                target_of(source) if source is not None else None,
                host_id if source is not None else "",
            )
            for host_id, where in targets(order.copies, destinations, hosts, states).items()
        }

    async def _for_others(self, scope: SyncScope, orders: Mapping[str, SyncArguments]) -> list[Answered]:
        """Have the parts of nodes that left the ring copied by the agents of others; answers as if by themselves."""
        gone = [NamedNode(node.address, node.host_id) for node in scope.gone if node.host_id in orders]
        answers = []
        for number, taken in enumerate(adopters(gone, scope.takers), 1):
            asked = {host: orders[node.host_id] for host, node in taken.items()}
            at_once = self._run.around.uploads_at_once
            found = await self._fan_out.ask(f"{FOR_OTHERS}-{number}", Kind.SYNC, asked, at_once=at_once)
            answers += [
                msgspec.structs.replace(found[host], host_id=node.host_id, address=node.address)
                for host, node in taken.items()
            ]
        return answers

    async def _scope(self) -> SyncScope:
        return await sync_scope(self._run.around, self._run.cluster, self._order)

    async def _undo(self, scope: SyncScope, destinations: list[Destination]) -> None:
        """A cancelled sync leaves a delete mark, unless the destination held any of the backup before."""
        await self._fan_out.cancel_posted()
        for place in destinations:
            begun = self._announcer.begun.get(place.id, set())
            if place.id in scope.held or not begun:
                continue
            hosts = [host for host in scope.speakers if host in begun]
            delete = DeleteArguments(self._order.tag, made_by=scope.plan.made_by)
            await mark_undone(self._run, self._fan_out, place, hosts, delete)
        await forget_one_shots(self._run, self._places, destinations)


def _fail_unannounced(scope: SyncScope, refused: Mapping[str, Errors], states: CopyStates) -> None:
    """Where nobody could put the plan, nobody copies for another one either."""
    for place, errors in refused.items():
        if errors and {*scope.speakers} <= errors.keys():
            for node in scope.gone:
                states.failed(place, node.host_id, next(iter(errors.values())))
