"""Restores to a point that stopped half-way. In: the requests of this coordinator, and jobs that ended, as the agents
tell of them. Out: nothing, or the error that names one that was neither finished nor undone.
"""

from collections.abc import Iterable, Mapping

from coordinator.model.orders import PointInTimeOrder
from coordinator.model.requests import RESUMABLE, Request, RequestState, order_of
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.errors import JobTakenOver, JobUnfinished
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
    if request is None or (request.error or {}).get("code") == JobTakenOver.code:
        return found.request if found is not None and found.carried.resumable and not found.left else None
    finished = found is not None and found.certain and not found.carried.resumable
    return request if RESUMABLE in request.result and not finished else None


def _unfinished(job: str, request: Request) -> JobUnfinished:
    order = order_of(request)
    point = f" to {told_point(order.pit_micros)}" if isinstance(order, PointInTimeOrder) else ""
    return JobUnfinished(
        f"the restore {request.id}{point} stopped half-way: it was neither finished nor undone",
        request=request.id,
        job=job,
    )
