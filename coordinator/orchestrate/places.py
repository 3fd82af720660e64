"""Destinations as the agents use them: settings, plans, records and listings; «on the nodes» is a place too."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from agent.wire.backups import BackupView, Plan, Record
from agent.wire.commands import Target
from agent.wire.destinations import ON_SERVER, CheckDestination, PutDestination
from coordinator.fleet.client import AgentClient
from coordinator.fleet.each import on_each
from coordinator.fleet.errors import AgentRefused, ListingTooLarge
from coordinator.fleet.registry import Agent
from coordinator.model.destinations import Destination
from coordinator.model.errors import DestinationInUse, NoSuchDestination
from coordinator.model.orders import DestinationOrder, places_of
from coordinator.model.requests import Request, RequestKind, RequestState, order_of
from coordinator.orchestrate.archiving.setting import archives_to
from coordinator.orchestrate.errors import DestinationRefused
from coordinator.orchestrate.listing import Joined, each_joined, join
from coordinator.orchestrate.muster import nobody_answers
from coordinator.orchestrate.outcome import cause_of
from coordinator.orchestrate.run import Surroundings
from kit.errors import HelenusError
from kit.slices import Slices

Answer = TypeVar("Answer")


OUTDATED = frozenset(
    {
        "bucket_missing",
        "destination_read_only",
        "destination_settings",
        "directory_denied",
        "not_a_repository",
        "repository_file_lost",
        "repository_gone",
        "repository_mismatch",
        "storage_denied",
    }
)
"""What a command fails with on an agent that missed an update: it holds keys that were revoked, or another place."""


class Places:
    """The places of one cluster. Destination None = on the nodes. `at_a_glance`: for people who look, of many agents
    those count as there that were a while ago."""

    def __init__(self, around: Surroundings, cluster: str, *, at_a_glance: bool = False) -> None:
        self._around = around
        self._cluster = cluster
        self._asked = around.registry.recent if at_a_glance else around.registry.refresh

    async def destination(self, destination_id: str) -> Destination:
        """The kept destination. Raises `NoSuchDestination`."""
        destination = await self._around.store.destinations.get(self._cluster, destination_id)
        if destination is None:
            raise NoSuchDestination(destination_id)
        return destination

    async def optional(self, destination_id: str | None) -> Destination | None:
        """The kept destination; None = on the nodes. Raises `NoSuchDestination`."""
        return None if destination_id is None else await self.destination(destination_id)

    async def repositories(self, places: Iterable[str]) -> set[str]:
        """What lies behind places, by their ids: two destinations with one repository are the same."""
        found = set()
        for place in places:
            known = None if place == ON_SERVER else await self._around.store.destinations.get(self._cluster, place)
            found.add(known.repository_id if known is not None else place)
        return found

    async def teach(self, agent: Agent, destination: Destination) -> None:
        """Give an agent the destination's settings and attach it to the repository that is there."""
        await agent.client.put_destination(destination.id, PutDestination(destination.revision, destination.settings))
        report = await agent.client.check_destination(
            destination.id,
            CheckDestination(
                initialise=True,
                repository_id=destination.repository_id,
                cluster_id=destination.cluster_id,
                cluster_name=self._around.registry.cluster_name(self._cluster),
                conformance=False,
            ),
        )
        if not report.ok:
            error = report.error or {}
            raise DestinationRefused(
                f"{agent.address} can't use the destination {destination.id}: {cause_of(error)}",
                error=error,
                nodes={agent.address: error},
            )
        agent.learn_held(destination.id, destination.revision)

    async def repair(self, agent: Agent, error: dict[str, Any]) -> bool:
        """Mend what made a command fail, if it is that the agent doesn't know a destination (any more), or missed its
        newest settings. While another command that failed for the same, or is about to, keeps the former place in use,
        that is waited for a little (`Timing.brief`): it fails as soon as it is its turn."""
        code = error.get("code")
        if code != "unknown_destination" and code not in OUTDATED:
            return False
        fields = error.get("fields")
        named = fields.get("destination") if isinstance(fields, dict) else None
        known = await self._around.store.destinations.all(self._cluster)
        wanted = [destination for destination in known if named in (None, destination.id)]
        try:
            if code in OUTDATED:
                held = {view.id: view.revision for view in await agent.client.destinations()}
                if code == "repository_mismatch" and all(agent.holds(one.id, one.revision) for one in wanted):
                    return True  # taught since: by another command's repair, or to put a plan
                wanted = [one for one in wanted if held.get(one.id, one.revision) < one.revision]
            for destination in wanted:
                await self._teach_patiently(agent, destination)
        except HelenusError:
            return False
        return bool(wanted)

    async def _teach_patiently(self, agent: Agent, destination: Destination) -> None:
        timing = self._around.timing
        until = self._around.clock() + timing.brief
        while True:
            try:
                await self.teach(agent, destination)
                return
            except AgentRefused as refused:
                if refused.agent_code != DestinationInUse.code or self._around.clock() >= until:
                    raise
            await asyncio.sleep(timing.retry_pause)

    async def forget(self, destination_id: str) -> dict[str, dict[str, Any]]:
        """Remove a destination's settings (its secrets are among them) from all agents; those that can't be told are
        named: address → error. The coordinator's own copy goes when the request has ended (`Run.forget`)."""

        async def forget(agent: Agent) -> None:
            agent.learn_held(destination_id, None)
            await agent.client.delete_destination(destination_id)

        answers = await on_each(await self._agents(), forget)
        return {agent.address: answer.as_dict() for agent, answer in answers if answer is not None}

    async def users(self, destination_id: str, but: str = "") -> list[str]:
        """Ids of the running requests that read or write there, and of the one since which the commit log is archived
        there: without the request `but`, and without those that only tell the agents of settings."""
        running = [
            request.id
            for request in await self._running(destination_id)
            if request.id != but and request.kind is not RequestKind.DESTINATION
        ]
        archives = await archives_to(self._around.store, self._cluster, destination_id)
        return [*running, *([archives] if archives and archives not in running else [])]

    async def schedules(self, destination_id: str) -> list[str]:
        """Ids of the job schedules that copy there."""
        kept = await self._around.store.schedules.of(self._cluster)
        return [one.id for one in kept if destination_id in one.job.places]

    async def telling(self, destination_id: str) -> list[str]:
        """Ids of the running requests that tell the agents of its settings (not of its end)."""
        orders = [(request.id, order_of(request)) for request in await self._running(destination_id)]
        return [
            request_id
            for request_id, order in orders
            if isinstance(order, DestinationOrder) and order.action != "delete"
        ]

    async def call(
        self, agent: Agent, destination: Destination | None, what: Callable[[AgentClient], Awaitable[Answer]]
    ) -> Answer:
        """A call that uses a destination. It names no repository: an agent that missed an update, and might take it to
        another place, is taught first, and one that doesn't know the destination (any more) is taught and asked again.
        """
        if destination is not None and not agent.holds(destination.id, destination.revision):
            await self._update(agent, destination)
        try:
            return await what(agent.client)
        except AgentRefused as refused:
            if destination is None or refused.agent_code != "unknown_destination":
                raise
        await self.teach(agent, destination)
        return await what(agent.client)

    async def _update(self, agent: Agent, destination: Destination) -> None:
        """Teach the agent unless it holds the newest settings."""
        try:
            view = await agent.client.destination(destination.id)
        except AgentRefused as refused:
            if refused.agent_code != "unknown_destination":
                raise
        else:
            if view.revision >= destination.revision:
                agent.learn_held(destination.id, view.revision)
                return
        await self.teach(agent, destination)

    async def put_plan(
        self, destination: Destination | None, plan: Plan, hosts: Iterable[str]
    ) -> dict[str, dict[str, object]]:
        """Put plan.json: by one agent where the store is shared, else by every node at its own part.
        Host id → error of those that couldn't."""
        where = destination.id if destination is not None else None
        return await self._put(destination, hosts, lambda client: client.put_plan(plan.tag, where, plan))

    async def put_record(
        self, destination: Destination | None, record: Record, hosts: Iterable[str]
    ) -> dict[str, dict[str, object]]:
        """Put the listing record, as `put_plan` does."""
        where = destination.id if destination is not None else None
        return await self._put(destination, hosts, lambda client: client.put_record(record.tag, where, record))

    async def backups(self, destination: Destination | None) -> dict[str, Joined]:
        """Every backup there, deleted ones included, over all agents that answer."""
        return (await self.backups_seen(destination))[0]

    async def backups_seen(
        self, destination: Destination | None
    ) -> tuple[dict[str, Joined], Mapping[str, dict[str, Any]]]:
        """The same; and of a place where each node has its own part, host id → error of those that could not list."""
        where = destination.id if destination is not None else None
        views, unread = await self._views(destination, lambda client: client.backups(where))
        found, slices = {}, Slices()
        for tag, joined in each_joined(views, shared=is_shared(destination), ring=await self.ring()):
            found[tag] = joined
            await slices.pause()
        return found, unread

    async def backup(self, destination: Destination | None, tag: str) -> Joined | None:
        """One backup with plan and manifests, and whose part could not be looked for; None when no agent knows it."""
        where = destination.id if destination is not None else None

        async def ask(client: AgentClient) -> list[BackupView]:
            try:
                return [await client.backup(tag, where)]
            except AgentRefused as refused:
                if refused.agent_status == 404 and refused.agent_code != "unknown_destination":
                    return []
                raise

        views, unread = await self._views(destination, ask)
        found = join(views, shared=is_shared(destination), ring=await self.ring()).get(tag)
        told = None if is_shared(destination) else sorted(views)
        return None if found is None else msgspec.structs.replace(found, unread=unread, told=told)

    async def ring(self) -> set[str]:
        """Host ids of the ring's members, as the agents last saw it."""
        reports = [agent.report for agent in await self._agents() if agent.cassandra_up]
        # Agents that see the same share one object (`coordinator.fleet.sharing`): it is walked once.
        rings = {id(report.ring): report.ring for report in reports if report is not None}
        return {member.host_id for ring in rings.values() for member in ring}

    async def _views(
        self, destination: Destination | None, ask: Callable[[AgentClient], Awaitable[list[BackupView]]]
    ) -> tuple[Mapping[str, list[BackupView]], dict[str, dict[str, Any]]]:
        """Host id → what its agent answers; and of a place where each node has its own part, host id → error of those
        that could not tell. Raises what the last of them says when none could."""
        asked = await self._agents()
        agents = [agent for agent in asked if agent.alive]
        trouble: HelenusError | None = None
        views: dict[str, list[BackupView]] = {}
        unread: dict[str, dict[str, Any]] = {}
        if is_shared(destination):
            for agent in agents:
                try:
                    return {agent.host_id or agent.url: await self.call(agent, destination, ask)}, {}
                except HelenusError as error:
                    if isinstance(error, ListingTooLarge) and isinstance(trouble, ListingTooLarge):
                        raise  # two say so: it is the store, and not the one or the other agent
                    trouble = error
        else:
            # Begun by all at once, for a cold catalogue takes its time; their answers are read by few (`Bulk`).
            for agent, answer in await on_each(
                agents, lambda agent: self.call(agent, destination, ask), at_once=len(agents)
            ):
                if isinstance(answer, HelenusError):
                    trouble = answer
                    unread[agent.host_id or agent.url] = answer.as_dict()
                else:
                    views[agent.host_id or agent.url] = answer
        if not views:
            raise trouble or await nobody_answers(self._around, self._cluster, asked)
        return views, unread

    async def _running(self, destination_id: str) -> list[Request]:
        running = await self._around.store.requests.find(cluster=self._cluster, state=RequestState.RUNNING)
        return [
            request
            for request in running
            if destination_id in request.destinations or destination_id in places_of(order_of(request))
        ]

    async def _put(
        self, destination: Destination | None, hosts: Iterable[str], put: Callable[[AgentClient], Awaitable[None]]
    ) -> dict[str, dict[str, object]]:
        async def one(host_id: str) -> None:
            agent = await self._around.registry.agent_of(self._cluster, host_id)
            await self.call(agent, destination, put)

        errors: dict[str, dict[str, object]] = {}
        if is_shared(destination):
            for host_id in hosts:
                try:
                    await one(host_id)
                except HelenusError as error:
                    errors[host_id] = error.as_dict()
                else:
                    return {}
            return errors
        return {host_id: answer.as_dict() for host_id, answer in await on_each(hosts, one) if answer is not None}

    async def _agents(self) -> list[Agent]:
        return await self._asked(self._cluster, self._around.timing.report_age)


def place_id(destination: Destination | None) -> str:
    """What requests, states and records call the place."""
    return ON_SERVER if destination is None else destination.id


def target_of(destination: Destination, throttle_bytes_per_second: int = 0) -> Target:
    """The destination as a command names it."""
    return Target(destination.id, destination.repository_id, destination.cluster_id, throttle_bytes_per_second)


def is_shared(destination: Destination | None) -> bool:
    """Whether all nodes' parts of the place are in one store."""
    return destination is not None and destination.shared
