"""What retention judges a place by. In: a cluster and a place of it. Out: a verdict for each backup that is there now,
or why nobody can tell; and the delete whose space is still to be freed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from agent.wire.destinations import ON_SERVER
from coordinator.fleet.registry import Agent
from coordinator.model.cluster import Backup
from coordinator.model.destinations import Destination
from coordinator.model.orders import DeleteOrder, places_of
from coordinator.model.requests import Request, RequestKind, RequestState, order_of
from coordinator.model.retention import Rule, Verdict
from coordinator.orchestrate.damage import KnownDamage
from coordinator.orchestrate.errors import DamageUncounted, PlaceUnscrubbed, RetentionWaits
from coordinator.orchestrate.listing import addresses_in, may_hold
from coordinator.orchestrate.places import Places, is_shared
from coordinator.orchestrate.resting import all_resting
from coordinator.orchestrate.retention.rules import judge
from coordinator.orchestrate.run import Surroundings

BY_HAND = "adhoc"
"""The backup id of what no schedule took."""
ListBackups = Callable[[str, str | None], Awaitable[list[Backup]]]


class RetentionScene:
    """`list_backups`: every undeleted backup of a cluster at a place (None = on the nodes), in any state."""

    def __init__(self, around: Surroundings, list_backups: ListBackups) -> None:
        self._around = around
        self._list_backups = list_backups

    async def verdicts(self, cluster: str, place: str) -> list[Verdict]:
        """Oldest first. Raises `NoSuchDestination`, `RetentionWaits`, `PlaceUnscrubbed`,
        `DamageUncounted`, and what a listing raises."""
        around = self._around
        where = None if place == ON_SERVER else place
        destination = await Places(around, cluster).optional(where)
        agents = await around.registry.refresh(cluster, around.timing.report_age)
        silent = [agent.address for agent in agents if not agent.alive]
        if silent and not is_shared(destination):
            raise RetentionWaits(
                f"{', '.join(silent)} doesn't answer: what goes from {place} has to go from every node", nodes=silent
            )
        backups = await self._list_backups(cluster, where)
        doubtful = set()
        if destination is not None:
            await self._refuse_unscrubbed(destination, agents, backups)
            doubtful = await self._damaged(cluster, destination, agents)
        for request in await around.store.requests.find(cluster=cluster, state=RequestState.RUNNING):
            # Whole there maybe, but its request may still be cancelled, and take it along.
            if request.kind in (RequestKind.BACKUP, RequestKind.SYNC) and place in request.destinations and request.tag:
                doubtful.add(request.tag)
        rules = {kept.backup_id: kept.rule for kept in await around.store.retention.of(cluster, place)}
        slowest = around.clock() + min((agent.skew for agent in agents if agent.alive), default=0.0)
        pinned = await self._of_unknown_schedules(cluster, backups, rules) | await self._pinned(cluster, place)
        return judge(backups, rules, min(around.clock(), slowest), pinned, doubtful)

    async def _of_unknown_schedules(
        self, cluster: str, backups: Sequence[Backup], rules: Mapping[str, Rule]
    ) -> dict[str, str]:
        """Backups of a schedule that this state doesn't know, nor a rule of it, and that no request of it made:
        the schedule may have had a rule that kept them, which was lost with it."""
        schedules = {schedule.id for schedule in await self._around.store.schedules.of(cluster)}
        known = {BY_HAND, *schedules, *rules}
        unknown = [backup for backup in backups if backup.backup_id not in known]
        ours = await self._ours(cluster) if unknown else set()
        why = "its schedule isn't known here, nor for how long it was to be kept"
        return {backup.tag: why for backup in unknown if backup.tag not in ours}

    async def _ours(self, cluster: str, place: str = "") -> set[str | None]:
        """Tags of the backups that requests of this state made (there)."""
        requests = await self._around.store.requests.find(cluster=cluster, kind=RequestKind.BACKUP)
        return {request.tag for request in requests if not place or place in request.destinations}

    async def _refuse_unscrubbed(
        self, destination: Destination, agents: Sequence[Agent], backups: Sequence[Backup]
    ) -> None:
        """Raise `PlaceUnscrubbed` where backups are that no backup request of this coordinator made, and a node hasn't
        looked at its part, or none at that of a node that left: whoever made them may have known of damage, and that
        memory is lost."""
        around, cluster = self._around, destination.cluster
        looked = await KnownDamage(around.store, destination, around.leaving.turn(cluster)).looked()
        ours = await self._ours(cluster, destination.id)
        strange = [backup.tag for backup in backups if backup.tag not in ours]
        if not strange:
            return
        places = Places(around, cluster)
        listed = await places.backups(destination)
        parts = [listed[tag] for tag in strange if tag in listed]
        hosts = {agent.host_id for agent in agents if agent.alive and agent.host_id is not None} | await places.ring()
        if destination.shared:  # the part of a node that left is read by others
            hosts |= {host for joined in parts for host in addresses_in(joined)}
        unknown = sorted(host for host in hosts - looked - {""} if any(may_hold(joined, host) for joined in parts))
        if unknown:
            raise PlaceUnscrubbed(
                f"{destination.id} holds {len(strange)} backups of before ({strange[0]}, ...), and since then "
                f"{', '.join(unknown)} has scrubbed nothing there: whether they are whole isn't known, so nothing goes",
                nodes=unknown,
            )

    async def _damaged(self, cluster: str, destination: Destination, agents: Sequence[Agent]) -> set[str]:
        """The tags of what scrubs found damaged. Raises `DamageUncounted` while a node may still tell of more; one that
        left the ring scrubs no more, so that all counts as damaged in which it may have a part."""
        around, places = self._around, Places(self._around, cluster)
        known = await KnownDamage(around.store, destination, around.leaving.turn(cluster)).by_node()
        tags = {tag for damage in known.values() for tag in damage.backups}
        uncounted = {host for host, damage in known.items() if damage.more}
        ring = await places.ring()
        gone = uncounted - ring - {agent.host_id for agent in agents if agent.alive} if ring else set()
        if uncounted - gone:
            raise DamageUncounted(
                f"more is damaged in {destination.id} than the scrub of {', '.join(sorted(uncounted - gone))} looked "
                "at: what is good there is not known, so nothing goes",
                nodes=sorted(uncounted - gone),
            )
        if gone:
            listed = await places.backups(destination)
            tags |= {tag for tag, joined in listed.items() if any(may_hold(joined, host) for host in gone)}
        return tags

    async def unswept(self, cluster: str, place: str) -> DeleteOrder | None:
        """The newest delete of retention that marked a backup there and whose space no later sweep has freed."""
        owed: DeleteOrder | None = None
        for request in await self._around.store.requests.find(cluster=cluster, kind=RequestKind.DELETE):
            order = order_of(request)
            if not isinstance(order, DeleteOrder) or request.destinations != [place]:
                continue
            done = request.state is RequestState.SUCCESS
            if done and order.sweep:
                owed = None
            elif order.because and (done or (request.state is RequestState.ERROR and request.partial)):
                owed = msgspec.structs.replace(order, sweep=True)
        return owed

    async def under_way(self, cluster: str, place: str) -> list[Request]:
        """The running deletes of retention there, which a former life of the coordinator made."""
        found = await self._around.store.requests.find(
            cluster=cluster, kind=RequestKind.DELETE, state=RequestState.RUNNING
        )
        return [one for one in found if one.destinations == [place] and one.spec.get("because")]

    async def _pinned(self, cluster: str, place: str) -> dict[str, str]:
        """Backups that a request reads or writes, or that a restore which stopped half-way needs to go on."""
        store, pinned = self._around.store, dict[str, str]()
        places = await Places(self._around, cluster).repositories([place])
        for resting in await all_resting(store, cluster):
            if resting.request.tag is not None and resting.repository in places:
                pinned[resting.request.tag] = f"the restore {resting.request.id} stopped half-way and needs it to go on"
        for request in await store.requests.find(cluster=cluster, state=RequestState.RUNNING):
            needs = request.kind is not RequestKind.DELETE and place in places_of(order_of(request))
            if request.tag is not None and needs:
                pinned[request.tag] = f"the running {request.kind} {request.id} needs it"
        return pinned
