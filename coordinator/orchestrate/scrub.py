"""A scrub: every node reads again what it stored in a destination; what is damaged or missing is told by each. Where
all nodes see the same destination the part of those that left the ring is read by the agents of others."""

from collections.abc import Sequence, Set

import msgspec

from agent.wire.commands import Kind, ScrubArguments
from agent.wire.results import ScrubResult
from coordinator.model.cluster import NamedNode
from coordinator.model.destinations import Destination
from coordinator.model.orders import ScrubOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.damage import KnownDamage
from coordinator.orchestrate.delete.adopting import for_others
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.listing import addresses_in, hosts_without_place, may_hold
from coordinator.orchestrate.muster import nobody_answers
from coordinator.orchestrate.outcome import Outcome, failures, nodes_failed
from coordinator.orchestrate.parts import SCRUB_FOR_OTHERS
from coordinator.orchestrate.places import Places, target_of
from coordinator.orchestrate.run import Run
from kit.errors import HelenusError

_PLACES = 100
"""Places of damage in a request's result; each node's command has its own."""


class ScrubScope(msgspec.Struct, frozen=True):
    """The nodes that take part, and the addresses of those whose agent doesn't answer. `gone`: nodes that left the ring
    and have a part in a backup there."""

    hosts: list[str]
    absent: list[str]
    gone: list[NamedNode] = []


class ScrubFlow:
    """Carries out a scrub order."""

    def __init__(self, run: Run, order: ScrubOrder) -> None:
        self._run = run
        self._order = order
        self._places = Places(run.around, run.cluster)
        self._fan_out = FanOut(run, repair=self._places.repair)

    async def __call__(self) -> Outcome:
        """To the end. Raises what the whole request fails with."""
        place = await self._places.destination(self._order.destination)
        scope = await self._run.once("scope", lambda: self._scope(place), ScrubScope)
        for address in scope.absent:
            self._run.warn(f"{address} doesn't answer: what it stored is not read")
        arguments = ScrubArguments(target_of(place), self._order.whole)
        around, cluster = self._run.around, self._run.cluster
        damage = KnownDamage(around.store, place, around.leaving.turn(cluster))

        async def learn(answer: Answered) -> None:
            if answer.result:  # one that told nothing clears nothing
                await damage.put(answer.host_id, msgspec.convert(answer.result, ScrubResult))

        asked = await self._fan_out.ask("scrub", Kind.SCRUB, dict.fromkeys(scope.hosts, arguments), on_end=learn)
        answers = [*asked.values()]
        for answer in await self._for_others(scope, arguments):
            await learn(answer)
            answers.append(answer)
        lost = {} if place.shared else await self._lost(place, answers)
        for host_id, found in lost.items():
            await damage.put(host_id, found)
        read = [msgspec.convert(answer.result, ScrubResult) for answer in answers if answer.result]
        read += lost.values()
        places = [msgspec.to_builtins(one) for result in read for one in result.places]
        segments = [
            {"host_id": answer.host_id, **msgspec.to_builtins(one)}
            for answer in answers
            if answer.result
            for one in msgspec.convert(answer.result, ScrubResult).damaged_segments
        ]
        result = {
            "objects_read": sum(one.objects for one in read),
            "bytes_read": sum(one.bytes for one in read),
            "damaged_objects": sum(one.damaged for one in read),
            "missing_objects": sum(one.missing for one in read),
            "damaged": places[:_PLACES],
            "damaged_segments": segments[:_PLACES],
            "damaged_backups": sorted({tag for one in read for tag in one.backups}),
            "oldest_unread_seconds": max((one.oldest_unread_seconds or 0.0 for one in read), default=None),
        }
        failed = failures(answers)
        told = f"{result['objects_read']} objects were read"
        if not failed:
            unread = f"; what {', '.join(scope.absent)} stored was not read" if scope.absent else ""
            return Outcome(RequestState.SUCCESS, f"{told}, nothing is wrong{unread}", result=result)
        error = nodes_failed("The scrub", failed)
        return Outcome(
            RequestState.ERROR, f"{told}; {error.message}", partial=bool(read), error=error.as_dict(), result=result
        )

    async def _for_others(self, scope: ScrubScope, arguments: ScrubArguments) -> list[Answered]:
        """Have the parts of nodes that left the ring read by the agents of others; answers as if by themselves."""
        return await for_others(self._fan_out, SCRUB_FOR_OTHERS, Kind.SCRUB, scope.gone, scope.hosts, arguments)

    async def _lost(self, place: Destination, answers: Sequence[Answered]) -> dict[str, ScrubResult]:
        """Host id → what is damaged by its node's own directory being gone: every backup that the others list and that
        it has a part in, each with a manifest that is missing. Its next scrub that can read says how that is then."""
        errors = {answer.host_id: answer.error or {} for answer in answers if not answer.result}
        found: dict[str, list[str]] = {host_id: [] for host_id in sorted(hosts_without_place(errors))}
        if not found:
            return {}
        try:
            listed = await self._places.backups(place)
        except HelenusError as error:
            # Nobody sees any backup there: the nodes' own errors say so.
            self._run.warn(f"which backups had their parts there could not be seen: {error.message}")
            return {}
        for tag, joined in listed.items():
            for host_id in found.keys() & addresses_in(joined).keys():
                if not joined.deleted and may_hold(joined, host_id):
                    found[host_id].append(tag)
        return {
            host_id: ScrubResult(missing=len(tags), backups=sorted(tags)) for host_id, tags in found.items() if tags
        }

    async def _scope(self, place: Destination) -> ScrubScope:
        around, cluster = self._run.around, self._run.cluster
        agents = await around.registry.by_host(cluster, around.timing.report_age)
        hosts = sorted(host_id for host_id, agent in agents.items() if agent.alive)
        if not hosts:
            raise await nobody_answers(around, cluster, around.registry.agents(cluster))
        gone = await self._gone(place, {*hosts}) if place.shared else []
        left = {node.host_id for node in gone}
        silent = [one for one in around.registry.agents(cluster) if not one.alive and one.host_id not in left]
        return ScrubScope(hosts, sorted(agent.address for agent in silent), gone)

    async def _gone(self, place: Destination, hosts: Set[str]) -> list[NamedNode]:
        """Without a ring to look at nobody can be said to have left it."""
        ring = await self._places.ring()
        found: dict[str, str] = {}
        for joined in (await self._places.backups(place)).values() if ring else ():
            if not joined.deleted:
                addresses = addresses_in(joined)
                found |= {host: addresses.get(host, "") for host in addresses if may_hold(joined, host)}
        return [NamedNode(found[host], host) for host in sorted(found.keys() - ring - hosts)]
