"""Destinations: orders in; settings tried against the real store by the agents, repositories made or attached, out."""

import uuid
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import msgspec

from agent.wire.destinations import CheckDestination, CheckReport, PutDestination, Settings
from coordinator.fleet.client import AgentClient
from coordinator.fleet.each import on_each
from coordinator.fleet.errors import AgentRefused
from coordinator.fleet.registry import Agent
from coordinator.model.destinations import Destination
from coordinator.model.errors import CoordinatorError, DestinationInUse, InvalidArguments, NoSuchDestination
from coordinator.model.orders import DestinationOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.errors import (
    ClusterAmbiguous,
    DestinationExists,
    DestinationNotShared,
    DestinationRefused,
    RepositoryMismatch,
    RequestCancelled,
)
from coordinator.orchestrate.muster import nobody_answers
from coordinator.orchestrate.outcome import Outcome, nodes_failed
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.rebuilding import rebuild_activity
from coordinator.orchestrate.run import Run, Surroundings
from kit.errors import HelenusError

NOT_MADE = frozenset({"bucket_missing", "not_a_repository"})
"""What an agent says of a directory in which no repository was made yet."""
CALLERS_FAULT = frozenset({400, 403, 404, 409})
"""Statuses with which an agent refuses settings that whoever sent them must correct."""
NO_REASON = "it gave no reason"
NO_SUCH_CLUSTER = frozenset({"repository_mismatch", "repository_unfinished"})
"""What an agent says of a repository that doesn't know a cluster of the name, or that was begun and holds nothing."""

Answer = TypeVar("Answer")

Keep = Callable[[Destination, Destination | None], Awaitable[None]]
"""Keeps a destination in the place of a former one. Raises `NoSuchDestination` when that was forgotten meanwhile."""


async def establish(
    around: Surroundings,
    cluster: str,
    order: DestinationOrder,
    note: Callable[[int | None], Awaitable[None]],
    keep: Keep,
) -> Destination:
    """Add or update: give the settings to all agents that answer, let them try the store, make or attach the
    repository, and keep the destination. When they can't, nothing is kept anywhere and the former settings are put
    back; what was forgotten meanwhile stays so, and the agents give the settings back. `note` is awaited with the
    revision that agents may hold from then on, and with None once all of them have taken it back. Raises
    `NoSuchDestination`, `DestinationRefused` and its like (with the agent's own error), `NobodyAnswers`, or what keeps
    an agent from answering.
    """
    settings = order.settings
    if settings is None:
        raise InvalidArguments("a destination needs settings", field="provider")
    former = await around.store.destinations.get(cluster, order.id)
    if former is None and order.action == "update":
        raise NoSuchDestination(order.id)
    asked = await around.registry.refresh(cluster, around.timing.report_age)
    agents = [agent for agent in asked if agent.alive]
    name = around.registry.cluster_name(cluster)
    if not agents or name is None:
        raise await nobody_answers(around, cluster, asked)
    revision = 1 + max([former.revision if former else 0, *await _revisions(agents, order.id)])
    await note(revision)
    try:
        put = PutDestination(revision, settings)
        await _each(agents, lambda agent: agent.client.put_destination(order.id, put))
        repository_id, cluster_id = await _initialise(agents, order.id, settings, name)
        await _refuse_second_name(around, cluster, agents[0], order.id, repository_id)
        destination = Destination(
            id=order.id,
            cluster=cluster,
            settings=settings,
            revision=revision,
            repository_id=repository_id,
            cluster_id=cluster_id,
            one_shot=order.one_shot,
            made=former.made if former is not None else around.clock(),
        )
        await keep(destination, former)
    except HelenusError:
        if former is not None:
            # The agents have seen a newer revision, so what is put back needs one that is newer still.
            former = await _kept(msgspec.structs.replace(former, revision=revision + 1), keep)
        if await _take_back(around, cluster, agents, order.id, former):
            await note(None)
        raise
    return destination


async def _kept(former: Destination, keep: Keep) -> Destination | None:
    """The former destination, kept with its new revision; None when it was forgotten meanwhile."""
    try:
        await keep(former, former)
    except NoSuchDestination:
        return None
    return former


class DestinationFlow:
    """Tells every agent of a destination's settings, or of its end."""

    def __init__(self, run: Run, order: DestinationOrder) -> None:
        self._run = run
        self._order = order

    async def __call__(self) -> Outcome:
        """To the end. Agents that don't answer are named: they are told when a command of theirs needs it, and a delete
        can be sent again."""
        if self._order.action == "delete":
            failed = await Places(self._run.around, self._run.cluster).forget(self._order.id)
            if not failed:  # else it can be deleted again: its secrets are still on those agents
                self._run.forget.add(self._order.id)
            done = "removed from all agents"
        else:
            failed = await self._tell_all()
            done = f"known to all agents{await self._rebuild()}"
        if not failed:
            return Outcome(RequestState.SUCCESS, done)
        error = nodes_failed("Telling the agents", failed)
        return Outcome(RequestState.ERROR, error.message, partial=True, error=error.as_dict())

    async def _rebuild(self) -> str:
        """What the activity has of backups that are there already and that nobody here knows, as a clause. When it
        can't be seen a warning says so: the destination is there all the same, and PUT again tries it again."""
        run, place = self._run, self._order.id
        destination = await run.around.store.destinations.get(run.cluster, place)
        if destination is None or destination.one_shot:
            return ""
        try:
            added = await rebuild_activity(run, destination)
        except RequestCancelled:
            raise
        except HelenusError as error:
            run.warn(f"which backups are there already could not be seen ({error.message}); change it again for that")
            return ""
        return f"; {added} backups of before are in the activity again" if added else ""

    async def _tell_all(self) -> dict[str, dict[str, Any]]:
        around, cluster = self._run.around, self._run.cluster
        places = Places(around, cluster)
        destination = await places.destination(self._order.id)

        async def tell(agent: Agent) -> None:
            if self._run.cancelled.is_set() or await around.store.destinations.get(cluster, destination.id) is None:
                return  # forgotten meanwhile
            try:
                view = await agent.client.destination(destination.id)
                if view.revision >= destination.revision and view.repository_id == destination.repository_id:
                    return
            except AgentRefused as error:
                if error.agent_status != 404:
                    raise
            await places.teach(agent, destination)

        answers = await on_each(await around.registry.refresh(cluster, around.timing.report_age), tell)
        self._run.stop_if_cancelled()
        return {agent.address: answer.as_dict() for agent, answer in answers if answer is not None}


async def _initialise(agents: list[Agent], destination: str, settings: Settings, name: str) -> tuple[str, str]:
    """Repository and cluster id, the same on all agents (design §3.13)."""
    if not settings.one_for_all:
        return await _initialise_directories(agents, destination, name)
    nonce = uuid.uuid4().hex if settings.on_the_nodes else None
    first, others = agents[0], agents[1:]
    make = CheckDestination(initialise=True, cluster_name=name, nonce_put=nonce)
    [(_, report)] = await _each([first], lambda agent: agent.client.check_destination(destination, make))
    made = _passed(first, report)
    repository_id, cluster_id = _ids(first, made)
    attach = CheckDestination(
        initialise=True,
        repository_id=repository_id,
        cluster_id=cluster_id,
        cluster_name=name,
        nonce_find=nonce,
        conformance=False,
    )
    reports = await _each(others, lambda agent: agent.client.check_destination(destination, attach))
    blind = [agent.address for agent, report in reports if nonce is not None and report.nonce_found is False]
    if blind:
        raise DestinationNotShared(
            f"{', '.join(blind)} can't see what {first.address} wrote: the directory isn't shared",
            field="path",
            nodes={address: {"message": "doesn't see the other nodes' files"} for address in blind},
        )
    for agent, report in reports:
        _passed(agent, report)
    return repository_id, cluster_id


async def _initialise_directories(agents: list[Agent], destination: str, name: str) -> tuple[str, str]:
    """Directories of their own: what any of them holds already is found first, then all get the same ids."""
    look = CheckDestination(conformance=False)
    found = await _each(agents, lambda agent: agent.client.check_destination(destination, look))
    repositories = {
        agent.address: _unless(agent, report, NOT_MADE).repository_id
        for agent, report in found
        if report.repository_id is not None or not report.ok
    }
    holders = [agent for agent, report in found if report.repository_id is not None]
    look = CheckDestination(conformance=False, cluster_name=name)
    known = await _each(holders, lambda agent: agent.client.check_destination(destination, look))
    clusters = {agent.address: _unless(agent, report, NO_SUCH_CLUSTER).cluster_id for agent, report in known}
    repository_id = _one_of("repository", repositories) or uuid.uuid4().hex
    cluster_id = _one_of("cluster", clusters) or uuid.uuid4().hex
    make = CheckDestination(
        initialise=True,
        repository_id=repository_id,
        cluster_id=cluster_id,
        cluster_name=name,
    )
    for agent, report in await _each(agents, lambda agent: agent.client.check_destination(destination, make)):
        _passed(agent, report)
    return repository_id, cluster_id


async def _refuse_second_name(
    around: Surroundings, cluster: str, agent: Agent, destination_id: str, repository_id: str
) -> None:
    """Raise `DestinationExists` when another destination is the same place by another name (a relative path, a link, a
    second name of a host): what is put by way of that one is found by way of this one. A copy of a repository is
    another place; and of one that can't be asked now nobody can tell.
    """
    for other in await around.store.destinations.all(cluster):
        if other.id == destination_id or other.repository_id != repository_id:
            continue
        nonce = uuid.uuid4().hex
        put, find = (
            CheckDestination(
                conformance=False,
                repository_id=repository_id,
                cluster_id=other.cluster_id,
                nonce_put=nonce if putting else None,
                nonce_find=None if putting else nonce,
            )
            for putting in (True, False)
        )
        try:
            await Places(around, cluster).call(agent, other, partial(_checked, destination_id=other.id, check=put))
            report = await agent.client.check_destination(destination_id, find)
        except HelenusError:
            continue
        if report.nonce_found:
            raise DestinationExists(
                f"the destination {other.id} is at this place already, by another name",
                field="path",
                destination=other.id,
            )


async def _checked(client: AgentClient, *, destination_id: str, check: CheckDestination) -> CheckReport:
    return await client.check_destination(destination_id, check)


async def _take_back(
    around: Surroundings, cluster: str, agents: list[Agent], destination_id: str, former: Destination | None
) -> bool:
    """Whether all agents did. One that doesn't holds settings that no command uses, or is taught when one does."""

    async def take_back(agent: Agent) -> None:
        if former is None:
            await agent.client.delete_destination(destination_id)
        else:
            await Places(around, cluster).teach(agent, former)

    return all(answer is None for _, answer in await on_each(agents, take_back))


async def _revisions(agents: list[Agent], destination_id: str) -> list[int]:
    views = await _each(agents, lambda agent: agent.client.destinations())
    return [view.revision for _, known in views for view in known if view.id == destination_id]


async def _each(agents: Iterable[Agent], what: Callable[[Agent], Awaitable[Answer]]) -> list[tuple[Agent, Answer]]:
    """What all agents answer. Raises the first one's error, as a refusal of the settings where it is one."""
    answered: list[tuple[Agent, Answer]] = []
    for agent, answer in await on_each(agents, what):
        if isinstance(answer, AgentRefused) and answer.agent_status in CALLERS_FAULT:
            raise _refused(agent, answer.error, []) from answer
        if isinstance(answer, HelenusError):
            raise answer
        answered.append((agent, answer))
    return answered


def _unless(agent: Agent, report: CheckReport, expected: frozenset[str]) -> CheckReport:
    """The report, when it is good or failed only for a reason that is expected here."""
    return report if (report.error or {}).get("code") in expected else _passed(agent, report)


def _passed(agent: Agent, report: CheckReport) -> CheckReport:
    if report.ok:
        return report
    wrong = [msgspec.to_builtins(result) for result in report.results if result.outcome == "failed"]
    error = dict(report.error or {})
    raise _refused(agent, error, wrong)


def _refused(agent: Agent, error: dict[str, Any], wrong: list[dict[str, Any]]) -> CoordinatorError:
    """The agent's error object goes into the answer as it came."""
    if error.get("code") == DestinationInUse.code:
        # A command that this coordinator doesn't know (any more): of another one, or of a request that was given up.
        return DestinationInUse(f"{agent.address}: {error.get('message')}", error=error)
    details = "; ".join(f"{each['name']}: {each['detail']}" for each in wrong)
    said = str(error.get("message") or error.get("code") or "")
    told = f"{said} ({details})" if said and details else said or details or NO_REASON
    kind = ClusterAmbiguous if error.get("code") == ClusterAmbiguous.code else DestinationRefused
    fields = error.get("fields")
    setting = fields.get("setting") if isinstance(fields, dict) else None
    return kind(
        f"{agent.address}: {told}",
        field=setting or "destination",
        error=error,
        nodes={agent.address: {"error": error, "checks": wrong}},
    )


def _ids(agent: Agent, report: CheckReport) -> tuple[str, str]:
    if report.repository_id is None or report.cluster_id is None:
        raise DestinationRefused(f"{agent.address} made no repository", field="destination", nodes={agent.address: {}})
    return report.repository_id, report.cluster_id


def _one_of(what: str, ids: dict[str, str | None]) -> str | None:
    named = {address: one for address, one in ids.items() if one is not None}
    if len(set(named.values())) > 1:
        raise RepositoryMismatch(f"The nodes' directories belong to different {what} ids", field="path", nodes=named)
    return next(iter(named.values()), None)
