"""pit_check as a request: an order in, what all nodes say of the point out. Changes nothing on any node."""

from collections.abc import Iterable, Mapping
from typing import Any

from coordinator.model.orders import PointInTimeOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.fan_out import FanOut
from coordinator.orchestrate.outcome import Outcome
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.point_in_time.by_nodes import by_nodes
from coordinator.orchestrate.point_in_time.check import PitChecks, refuse_keyspaces
from coordinator.orchestrate.point_in_time.elsewhere import told_place
from coordinator.orchestrate.point_in_time.errors import PointRefused
from coordinator.orchestrate.point_in_time.times import told_point, told_time
from coordinator.orchestrate.point_in_time.unarchived import told_off
from coordinator.orchestrate.point_in_time.verdict import PitVerdict
from coordinator.orchestrate.run import Run


class PitCheckFlow:
    """Carries out a check."""

    def __init__(self, run: Run, order: PointInTimeOrder) -> None:
        self._run = run
        repair = Places(run.around, run.cluster).repair
        self._checks = PitChecks(run, order, FanOut(run, job=run.request.id, repair=repair))

    async def __call__(self) -> Outcome:
        """Raises `PointRefused` with every reason, and what `PitChecks` raises."""
        refuse_keyspaces(self._checks.order)
        verdict = await self._checks.verdict(await self._checks.scope([]))
        for warning in [*verdict.warnings, *told_off(verdict.without)]:
            self._run.warn(warning)
        if verdict.refusals:
            raise refused(verdict)
        return Outcome(RequestState.SUCCESS, possible(verdict), result=verdict.shown())


def refused(verdict: PitVerdict) -> PointRefused:
    """The error that tells all that stands against the point."""
    told = "; ".join(_told(verdict.refusals))
    point = told_point(verdict.pit_micros)
    return PointRefused(
        f"The tables can't be brought to {point}: {told}{_elsewhere(verdict)}",
        refusals=verdict.refusals,
        warnings=[*verdict.warnings, *told_off(verdict.without)],
        **verdict.shown(),
    )


def _told(refusals: Iterable[Mapping[str, Any]]) -> list[str]:
    """Each once, behind the nodes that tell it, unless it names its node itself."""
    named: list[str] = []
    by_node: dict[str, list[str]] = {}
    for refusal in refusals:
        message, node = str(refusal["message"]), str(refusal.get("node", ""))
        told = by_node.setdefault(node, []) if node and node not in message else named
        told.append(message)
    return [*dict.fromkeys(named), *by_nodes(by_node)]


def _elsewhere(verdict: PitVerdict) -> str:
    """Which points every node's log reaches from the same backup; "" where this one lies among them."""
    if any(since * 1_000_000 <= verdict.pit_micros <= until * 1_000_000 for since, until in verdict.windows):
        return ""
    told = [f"from {told_time(since)} to {told_time(until)}" for since, until in verdict.windows]
    return f"; from the backup {verdict.tag} every node's log reaches points {' and '.join(told)}" if told else ""


def possible(verdict: PitVerdict) -> str:
    """One sentence of a point that can be had."""
    since, until = (told_time(seconds) for seconds in verdict.taken)
    segments = sum(int(node["segments"]) for node in verdict.nodes.values())
    return (
        f"The tables can be brought to {told_point(verdict.pit_micros)}: by the backup {verdict.tag} "
        f"{told_place(verdict.destination)}, taken between {since} and {until}, and {segments} commit-log segments"
    )
