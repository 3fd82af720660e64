"""Restores to a point that stopped half-way. In: the requests of this coordinator, and jobs that ended, as the agents
tell of them. Out: nothing, or the error that names one that was neither finished nor undone.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from coordinator.model.orders import PointInTimeOrder
from coordinator.model.requests import RESUMABLE, Request, RequestState, order_of
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.documents import was_taken_over
from coordinator.orchestrate.point_in_time.errors import JobUnfinished
from coordinator.orchestrate.point_in_time.found_jobs import Found
from coordinator.orchestrate.point_in_time.times import told_point
from coordinator.orchestrate.restore.job_steps import job_of


def refuse_half_way(requests: Iterable[Request], others: Mapping[str, Found]) -> None:
    """Raise `JobUnfinished`. `requests`: oldest first; `others`: by job. The agents are believed of what another
    coordinator finished, or left, after this one. What a later restore went over is passed by."""
    requests = [*requests]
    last = {job_of(request): request for request in requests}
    over = gone_over(requests, others)
    for job in dict.fromkeys([*last, *others]):
        stopped = _stopped(last.get(job), others.get(job))
        if stopped is not None and stopped.started >= over:
            raise _unfinished(job, stopped)


def gone_over(requests: Iterable[Request], others: Mapping[str, Found]) -> float:
    """When the newest restore began that let clients in on every node (unix seconds; 0 = none did). Only force lets one
    past a job that stopped half-way; it had all nodes, so that none is stopped by what is older. Coordinators' clocks
    may differ: a restore of a whole ring takes longer than that."""
    here = [request.started for request in requests if request.state is RequestState.SUCCESS]
    there = [found.request.started for found in others.values() if S.OPENED in found.carried.steps]
    return max([*here, *there], default=0.0)


def _stopped(request: Request | None, found: Found | None) -> Request | None:
    """The last request of a job that stopped half-way."""
    if request is None or was_taken_over(request):
        return found.request if found is not None and found.carried.resumable and not found.left else None
    finished = found is not None and found.certain and not found.carried.resumable
    return request if RESUMABLE in request.result and not finished else None


def _unfinished(job: str, request: Request) -> JobUnfinished:
    """Names the order as well: whoever made the request may be gone, and the same one is to be sent again."""
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


def _body(order: PointInTimeOrder) -> dict[str, Any]:
    """As the API takes it, what makes it the same restore."""
    body: dict[str, Any] = {"pit": f"{order.pit_micros // 1_000_000}.{order.pit_micros % 1_000_000:06}"}
    if order.keyspaces:
        body["keyspaces"] = {
            name: {"column-families": tables} if tables else {} for name, tables in order.keyspaces.items()
        }
    places = {"destination": order.destination, "pit_destination": order.pit_destination}
    return body | {name: place for name, place in places.items() if place is not None}
