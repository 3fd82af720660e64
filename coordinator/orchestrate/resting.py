"""Backups that restores rest on which stopped half-way. In: the requests of this coordinator, and the jobs that the
agents tell of. Out: who keeps a backup, and the error that refuses to delete it.

What such a restore was to bring is nowhere else: its tables are emptied, or its nodes stopped, and it goes on with this
backup alone. So it is kept until nothing is lost with it, each of these by what the state has, or the nodes tell:

- the restore was gone on with to its end, or (to a point in time) undone; or every node has imported and checked its
  part, so that only views are owed, which it makes without the backup;
- every table of it was brought back since by other restores that ended well. One that brought back some of them, or
  that failed, ends nothing, though the first can't be gone on with any more: the rest is as empty as before;
- its tables are dropped, as every node of the ring tells. That is a person's way to give it up; retention doesn't go by
  it, for nobody asked for that delete;
- of one to a point in time: a later one to another point has succeeded, for it had all nodes. A plain restore ends
  nothing: it starts no node that is held stopped;
- the state has forgotten the steps of the job (30 days after its last request ended, a year of one to a point): nobody
  can go on with it then.

Killed anywhere: nothing is kept of this but the requests. Call `refuse` in the cluster's turn, in which the delete is
made: a restore ends, and is gone on with, before it or after it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from agent.wire.destinations import ON_SERVER
from agent.wire.node import Tables
from coordinator.model.orders import DeleteOrder
from coordinator.model.requests import RESUMABLE, Request, RequestKind, RequestState
from coordinator.orchestrate.errors import NobodyAnswers, RestoreUnfinished
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.found_jobs import Found, every_job
from coordinator.orchestrate.point_in_time.half_way import all_half_way
from coordinator.orchestrate.restore.again import dropped_since
from coordinator.orchestrate.restore.job_steps import JobSteps, job_of
from coordinator.orchestrate.run import Surroundings
from coordinator.store.protocol import Store

SHOWN = 5
"""Tables that a message names."""


class Resting(NamedTuple):
    """`request`: the last one of the `job`. `repository`: where its backup is, `OPSC_ON_SERVER` = on the nodes.
    `tables`: those that nobody has brought back since."""

    job: str
    request: Request
    repository: str
    tables: list[str]


class Looked(NamedTuple):
    """What only the nodes tell: jobs that ended, and by job the tables that are dropped."""

    jobs: Mapping[str, Found]
    dropped: Mapping[str, list[str]]


async def all_resting(store: Store, cluster: str, others: Mapping[str, Found] | None = None) -> list[Resting]:
    """Every restore that stopped half-way and whose backup is still needed. `others`: by job, what the agents tell of
    those to a point."""
    restores = await store.requests.find(cluster=cluster, kind=RequestKind.RESTORE)
    points = await store.requests.find(cluster=cluster, kind=RequestKind.POINT_IN_TIME)
    found = []
    for job, (begun, last) in {job_of(one): (number, one) for number, one in enumerate(restores, 1)}.items():
        if last.state is RequestState.RUNNING or RESUMABLE not in last.result:
            continue
        scope = await store.requests.step(job, "scope")
        # Of another kind only the clock tells which one came first.
        later = [*restores[begun:], *(each for each in points if each.started >= last.started)]
        left = _names(last.keyspaces) - {name for each in later if _is_through(each) for name in _names(each.keyspaces)}
        if scope is not None and left and not await _is_all_in(JobSteps(store, job), scope):
            found.append(Resting(job, last, _repository(scope), sorted(left)))
    runs = {job_of(each) for each in points if each.state is RequestState.RUNNING}
    for job, last in all_half_way(points, others or {}):
        known = (others or {}).get(job)
        scope = await store.requests.step(job, S.SCOPE) or (known.carried.steps.get(S.SCOPE) if known else None)
        if scope is not None and job not in runs:
            found.append(Resting(job, last, _repository(scope), sorted(_names(last.keyspaces))))
    return found


class RestingRefusals:
    """Refuses deletes."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    async def look(self, cluster: str, order: DeleteOrder) -> Looked:
        """What the nodes tell of it, asked before the cluster's turn: they may hang. A node that tells nothing ends
        nothing."""
        around = self._around
        seen = await every_job(around, cluster)
        jobs = {found.document.id: found for found in seen.jobs if found.document.ended}
        dropped = {}
        for each in await self._of(cluster, order, jobs):
            if each.request.kind is RequestKind.RESTORE:
                try:
                    dropped[each.job] = await dropped_since(around, cluster, each.job)
                except NobodyAnswers:
                    dropped[each.job] = []
        return Looked(jobs, dropped)

    async def refuse(self, cluster: str, order: DeleteOrder, looked: Looked) -> None:
        """Raise `RestoreUnfinished` when one rests on the backup at the place of the order."""
        for each in await self._of(cluster, order, looked.jobs):
            left = [name for name in each.tables if name not in looked.dropped.get(each.job, [])]
            if left or each.request.kind is RequestKind.POINT_IN_TIME:
                raise _refusal(each.request, left)

    async def _of(self, cluster: str, order: DeleteOrder, jobs: Mapping[str, Found]) -> list[Resting]:
        places = await Places(self._around, cluster).repositories([order.destination or ON_SERVER])
        resting = await all_resting(self._around.store, cluster, jobs)
        return [each for each in resting if each.request.tag == order.tag and each.repository in places]


async def _is_all_in(steps: JobSteps, scope: Mapping[str, Any]) -> bool:
    """Whether every node that is restored has all its rows: a check that finds less makes it fetch again."""
    for host_id in scope["sources"]:
        if not await steps.noted(f"checked/{host_id}"):
            return False
    return True


def _refusal(request: Request, tables: list[str]) -> RestoreUnfinished:
    more = f" and {len(tables) - SHOWN} more" if len(tables) > SHOWN else ""
    what = f"{', '.join(tables[:SHOWN])}{more}"
    if request.kind is RequestKind.POINT_IN_TIME:
        told = f"restore to a point in time {request.id} stopped half-way, and its nodes may be stopped"
    else:
        told = f"restore {request.id} stopped half-way"
    return RestoreUnfinished(
        f"the {told}: it needs {request.tag} to bring back {what}; how it stands: {request.message}",
        request=request.id,
        tag=request.tag,
        tables=tables,
    )


def _is_through(request: Request) -> bool:
    """Whether it has brought back all that it could: what force leaves out of a restore nobody goes on with."""
    forced = request.state is RequestState.ERROR and request.partial and request.kind is RequestKind.RESTORE
    return request.state is RequestState.SUCCESS or (forced and RESUMABLE not in request.result)


def _repository(scope: Mapping[str, Any]) -> str:
    """By the job's own scope: the destination may have been removed since, and added again under another id."""
    source = scope.get("source")
    return ON_SERVER if source is None else str(source["repository_id"])


def _names(tables: Tables) -> set[str]:
    return {f"{keyspace}.{table}" for keyspace, names in tables.items() for table in names}
