"""Restores to a point that stopped half-way. In: the requests of this coordinator, and jobs that ended, as the agents
tell of them. Out: nothing, or the error that names one that was neither finished nor undone.
"""

from collections.abc import Iterable, Mapping

from coordinator.model.orders import PointInTimeOrder
from coordinator.model.requests import RESUMABLE, Request, order_of
from coordinator.orchestrate.point_in_time.errors import JobTakenOver, JobUnfinished
from coordinator.orchestrate.point_in_time.found_jobs import Found
from coordinator.orchestrate.point_in_time.times import told_point
from coordinator.orchestrate.restore.job_steps import job_of


def refuse_half_way(requests: Iterable[Request], others: Mapping[str, Found]) -> None:
    """Raise `JobUnfinished`. `requests`: oldest first; `others`: by job. The agents are believed of what another
    coordinator finished, or left, after this one."""
    last = {job_of(request): request for request in requests}
    for job in dict.fromkeys([*last, *others]):
        request, found = last.get(job), others.get(job)
        if request is None or (request.error or {}).get("code") == JobTakenOver.code:
            if found is not None and found.carried.resumable and not found.left:
                raise _unfinished(job, found.request)
        elif RESUMABLE in request.result and not (found and found.certain and not found.carried.resumable):
            raise _unfinished(job, request)


def _unfinished(job: str, request: Request) -> JobUnfinished:
    order = order_of(request)
    point = f" to {told_point(order.pit_micros)}" if isinstance(order, PointInTimeOrder) else ""
    return JobUnfinished(
        f"the restore {request.id}{point} stopped half-way: it was neither finished nor undone",
        request=request.id,
        job=job,
    )
