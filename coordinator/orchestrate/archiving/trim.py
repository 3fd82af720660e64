"""Retention of segments: what no kept backup needs goes. In: the places where segments lie. Out: their space.

What makes it safe: a restore to a point begins with a backup and needs the log from its snapshot on, so that only
segments go that were closed before the oldest kept backup of any place, less a margin for clocks. Every place is
listed anew for it; while one can't be listed whole, or a restore to a point runs, nothing goes; without any backup
nothing goes either. A backup that is taken meanwhile is newer than all that is listed. Destinations whose settings were
forgotten are not seen: what lies there is not counted.

Where all nodes see the same destination, the log of those that left the ring is freed by the agents of others, each of
which looks at the ring itself: of a member that is merely down nobody else frees anything.
"""

from collections.abc import Iterable, Set
from typing import Any

import msgspec

from agent.wire.archiving import TrimLogsArguments
from agent.wire.commands import Kind
from agent.wire.destinations import ON_SERVER
from agent.wire.results import FreedResult
from coordinator.model.cluster import NamedNode
from coordinator.model.errors import NoSuchDestination
from coordinator.model.orders import TrimLogsOrder
from coordinator.model.requests import RequestKind, RequestState
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.archiving.errors import LogsStay
from coordinator.orchestrate.delete.adopting import for_others
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.listing import Joined, addresses_in, backup_of
from coordinator.orchestrate.outcome import Outcome, failures, nodes_failed
from coordinator.orchestrate.parts import TRIM_FOR_OTHERS
from coordinator.orchestrate.places import Places, is_shared, target_of
from coordinator.orchestrate.point_in_time.found_jobs import every_job
from coordinator.orchestrate.point_in_time.snapshots import may_begin
from coordinator.orchestrate.run import Run
from kit.errors import HelenusError

MARGIN_SECONDS = 3_600.0
"""By which a segment must have been closed before the oldest backup; clocks that are further apart are added."""


class TrimScope(msgspec.Struct, frozen=True):
    """`before`: unix seconds, None = nothing goes. `tag`: the backup that it comes from. `hosts`: who is told. `gone`:
    by place, nodes that left the ring and may have a log there."""

    before: float | None
    tag: str
    hosts: list[str]
    gone: dict[str, list[NamedNode]] = {}


class TrimFlow:
    """Carries out an order to free segments."""

    def __init__(self, run: Run, order: TrimLogsOrder) -> None:
        self._run = run
        self._order = order
        self._around = run.around
        self._places = Places(run.around, run.cluster)
        self._fan_out = FanOut(run, repair=self._places.repair)

    async def __call__(self) -> Outcome:
        """To the end. Raises `LogsStay`, and what the whole request fails with."""
        scope = await self._run.once("scope", self._scope, TrimScope)
        if scope.before is None:
            return Outcome(RequestState.SUCCESS, "there is no backup: every segment stays", result={"bytes_freed": 0})
        failed: dict[str, dict[str, Any]] = {}
        freed = 0
        for number, place in enumerate(self._order.places, 1):
            try:
                target = None if place == ON_SERVER else target_of(await self._places.destination(place))
            except NoSuchDestination:
                continue  # forgotten since
            arguments = TrimLogsArguments(scope.before, target)
            answers = await self._fan_out.ask(
                f"trim_logs-{number}", Kind.TRIM_LOGS, dict.fromkeys(scope.hosts, arguments)
            )
            ended = [*answers.values(), *await self._for_others(scope, number, place, arguments)]
            failed |= failures(ended)
            good = [answer for answer in ended if answer.ok]
            freed += sum(msgspec.convert(answer.result, FreedResult).bytes_freed for answer in good)
        result = {"bytes_freed": freed, "before": scope.before, "oldest_backup": scope.tag}
        told = f"{freed} bytes freed; the log is kept from the backup {scope.tag} on"
        if not failed:
            return Outcome(RequestState.SUCCESS, told, result=result)
        error = nodes_failed("Freeing segments", failed)
        return Outcome(
            RequestState.ERROR, f"{told}; {error.message}", partial=True, error=error.as_dict(), result=result
        )

    async def _for_others(
        self, scope: TrimScope, number: int, place: str, arguments: TrimLogsArguments
    ) -> list[Answered]:
        """Have the logs of nodes that left the ring freed by the agents of others; answers as if by themselves."""
        phase = f"{TRIM_FOR_OTHERS}-{number}"
        gone = scope.gone.get(place, [])
        return await for_others(self._fan_out, phase, Kind.TRIM_LOGS, gone, scope.hosts, arguments)

    async def _scope(self) -> TrimScope:
        around, cluster = self._around, self._run.cluster
        await self._refuse_beside_restores()
        agents = await around.registry.refresh(cluster, around.timing.report_age)
        hosts = sorted(agent.host_id for agent in agents if agent.alive and agent.host_id is not None)
        ring = await self._places.ring()
        left = {agent.host_id for agent in agents if agent.host_id is not None} - ring if ring else set()
        silent = [agent.address for agent in agents if not agent.alive and agent.host_id not in left]
        oldest: tuple[float, str] | None = None
        gone: dict[str, list[NamedNode]] = {}
        for place in [None, *await around.store.destinations.all(cluster)]:
            if silent and not is_shared(place):
                raise LogsStay(f"{', '.join(silent)} doesn't answer: its backups can't be seen", nodes=silent)
            try:
                listed = await self._places.backups(place)
            except HelenusError as error:
                where = ON_SERVER if place is None else place.id
                raise LogsStay(f"the backups in {where} can't be listed: {error.message}", destination=where) from error
            if place is not None and place.shared and ring:  # without a ring nobody can be said to have left it
                gone[place.id] = _gone(listed.values(), ring | {*hosts})
            for joined in listed.values():
                if not may_begin(joined):
                    continue
                whole = joined if joined.record is not None else await self._places.backup(place, joined.tag) or joined
                backup = backup_of(whole, running=False)
                oldest = min(oldest or (backup.time, backup.tag), (backup.time, backup.tag))
        if oldest is None:
            return TrimScope(None, "", hosts)
        apart = max((abs(agent.skew) for agent in agents if agent.alive), default=0.0)
        return TrimScope(oldest[0] - MARGIN_SECONDS - apart, oldest[1], hosts, gone)

    async def _refuse_beside_restores(self) -> None:
        """Those of other coordinators too: their documents are on the agents before anything is fetched."""
        around, cluster = self._around, self._run.cluster
        running = await around.store.requests.find(
            cluster=cluster, kind=RequestKind.POINT_IN_TIME, state=RequestState.RUNNING
        )
        known = (await every_job(around, cluster)).jobs
        others = [found.request for found in known if not (found.document.ended or found.left)]
        for request in [*running, *others]:
            raise LogsStay(f"the restore {request.id} reads segments", request=request.id)


def _gone(listed: Iterable[Joined], members: Set[str]) -> list[NamedNode]:
    """Nodes of any backup there, also a deleted one, that are no members."""
    found: dict[str, str] = {}
    for joined in listed:
        found |= addresses_in(joined)
    return [NamedNode(found[host], host) for host in sorted(found.keys() - members)]
