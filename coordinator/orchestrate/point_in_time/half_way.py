"""Restores to a point that stopped half-way. In: the requests of this coordinator, and jobs that ended, as the agents
tell of them. Out: the one that was neither finished nor undone, which alone can be gone on with, and the error that
refuses another point for it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from coordinator.model.orders import PointInTimeOrder, is_same_point
from coordinator.model.requests import RESUMABLE, Request, RequestState, order_of
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.documents import was_let_go
from coordinator.orchestrate.point_in_time.errors import JobUnfinished
from coordinator.orchestrate.point_in_time.found_jobs import Found
from coordinator.orchestrate.point_in_time.times import told_point
from coordinator.orchestrate.restore.job_steps import job_of


class HalfWay(NamedTuple):
    """A job, and the last request that carried it out, which stopped."""

    job: str
    request: Request


def is_of(request: Request, order: PointInTimeOrder) -> bool:
    """Whether the request carries out the same restore."""
    known = order_of(request)
    return isinstance(known, PointInTimeOrder) and is_same_point(known, order)


def last_half_way(requests: Iterable[Request], others: Mapping[str, Found]) -> HalfWay | None:
    """The one that began last, for whatever is older was gone over by it. None where a later restore succeeded."""
    return max(all_half_way(requests, others), key=lambda each: each.request.started, default=None)


def all_half_way(requests: Iterable[Request], others: Mapping[str, Found]) -> list[HalfWay]:
    """Those that could be gone on with, once what stopped after them is undone. `requests`: oldest first; `others`: by
    job. The agents are believed of what another coordinator finished, or left, after this one. Where a later restore
    succeeded nobody goes on with what lies below it."""
    requests = [*requests]
    last = {job_of(request): request for request in requests}
    over = gone_over(requests, others)
    found = [(job, _stopped(last.get(job), others.get(job))) for job in dict.fromkeys([*last, *others])]
    return [HalfWay(job, stopped) for job, stopped in found if stopped is not None and stopped.started >= over]


def gone_over(requests: Iterable[Request], others: Mapping[str, Found]) -> float:
    """When the newest restore began that let clients in on every node (unix seconds; 0 = none did). Only force lets one
    past a job that stopped half-way; it had all nodes, so that none is stopped by what is older. Coordinators' clocks
    may differ: a restore of a whole ring takes longer than that."""
    here = [request.started for request in requests if request.state is RequestState.SUCCESS]
    known = [found for found in others.values() if not found.left]
    there = [found.request.started for found in known if S.OPENED in found.carried.steps]
    return max([*here, *there], default=0.0)


def _stopped(request: Request | None, found: Found | None) -> Request | None:
    """The last request of a job that stopped half-way."""
    if request is None or was_let_go(request):
        return found.request if found is not None and found.carried.resumable and not found.left else None
    finished = found is not None and found.certain and not found.carried.resumable
    return request if RESUMABLE in request.result and not finished else None


def unfinished(half: HalfWay) -> JobUnfinished:
    """Names the order as well: whoever made the request may be gone, and the same one is to be sent again."""
    job, request = half
    order = order_of(request)
    asked: dict[str, Any] = {}
    point = told = ""
    if isinstance(order, PointInTimeOrder):
        asked = _body(order)
        point = f" to {told_point(order.pit_micros)}"
        told = f"; it was ordered by {msgspec.json.encode(asked).decode()}"
    return JobUnfinished(
        f"the restore {request.id}{point} stopped half-way: it was neither finished nor undone{told}",
        request=request.id,
        job=job,
        order=asked,
    )


def gone_past(half: HalfWay) -> str:
    """The warning of a restore that force lets past it."""
    return (
        f"forced past the restore {half.request.id} that stopped half-way: it can't be gone on with once this one "
        f"stops nodes, and what it had set aside stays on its nodes, in the staging directories of the job {half.job}"
    )


def _body(order: PointInTimeOrder) -> dict[str, Any]:
    """As the API takes it, what makes it the same restore."""
    body: dict[str, Any] = {"pit": f"{order.pit_micros // 1_000_000}.{order.pit_micros % 1_000_000:06}"}
    if order.keyspaces:
        body["keyspaces"] = {
            name: {"column-families": tables} if tables else {} for name, tables in order.keyspaces.items()
        }
    places = {"destination": order.destination, "pit_destination": order.pit_destination}
    return body | {name: place for name, place in places.items() if place is not None}
