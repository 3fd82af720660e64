"""A scrub: every node reads again what it stored in a destination; what is damaged or missing is told by each."""

import msgspec

from agent.wire.commands import Kind, ScrubArguments
from agent.wire.results import ScrubResult
from coordinator.model.orders import ScrubOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.answers import Answered
from coordinator.orchestrate.damage import KnownDamage
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.muster import nobody_answers
from coordinator.orchestrate.outcome import Outcome, failures, nodes_failed
from coordinator.orchestrate.places import Places, target_of
from coordinator.orchestrate.run import Run

_PLACES = 100
"""Places of damage in a request's result; each node's command has its own."""


class ScrubScope(msgspec.Struct, frozen=True):
    """The nodes that take part, and the addresses of those whose agent doesn't answer."""

    hosts: list[str]
    absent: list[str]


class ScrubFlow:
    """Carries out a scrub order."""

    def __init__(self, run: Run, order: ScrubOrder) -> None:
        self._run = run
        self._order = order
        self._places = Places(run.around, run.cluster)
        self._fan_out = FanOut(run, repair=self._places.repair)

    async def __call__(self) -> Outcome:
        """To the end. Raises what the whole request fails with."""
        scope = await self._run.once("scope", self._scope, ScrubScope)
        place = await self._places.destination(self._order.destination)
        for address in scope.absent:
            self._run.warn(f"{address} doesn't answer: what it stored is not read")
        arguments = ScrubArguments(target_of(place), self._order.whole)
        around, cluster = self._run.around, self._run.cluster
        damage = KnownDamage(around.store, place, around.leaving.turn(cluster))

        async def learn(answer: Answered) -> None:
            if answer.result:  # one that told nothing clears nothing
                await damage.put(answer.host_id, msgspec.convert(answer.result, ScrubResult))

        answers = await self._fan_out.ask("scrub", Kind.SCRUB, dict.fromkeys(scope.hosts, arguments), on_end=learn)
        read = [msgspec.convert(answer.result, ScrubResult) for answer in answers.values() if answer.result]
        places = [msgspec.to_builtins(one) for result in read for one in result.places]
        result = {
            "objects_read": sum(one.objects for one in read),
            "bytes_read": sum(one.bytes for one in read),
            "damaged_objects": sum(one.damaged for one in read),
            "missing_objects": sum(one.missing for one in read),
            "damaged": places[:_PLACES],
            "damaged_backups": sorted({tag for one in read for tag in one.backups}),
            "oldest_unread_seconds": max((one.oldest_unread_seconds or 0.0 for one in read), default=None),
        }
        failed = failures(answers.values())
        told = f"{result['objects_read']} objects were read"
        if not failed:
            unread = f"; what {', '.join(scope.absent)} stored was not read" if scope.absent else ""
            return Outcome(RequestState.SUCCESS, f"{told}, nothing is wrong{unread}", result=result)
        error = nodes_failed("The scrub", failed)
        return Outcome(
            RequestState.ERROR, f"{told}; {error.message}", partial=bool(read), error=error.as_dict(), result=result
        )

    async def _scope(self) -> ScrubScope:
        around, cluster = self._run.around, self._run.cluster
        agents = await around.registry.by_host(cluster, around.timing.report_age)
        hosts = sorted(host_id for host_id, agent in agents.items() if agent.alive)
        if not hosts:
            raise nobody_answers(around.registry.agents(cluster))
        silent = [agent.address for agent in around.registry.agents(cluster) if not agent.alive]
        return ScrubScope(hosts, sorted(silent))
