"""Backups that restores rest on which stopped half-way. In: the requests of this coordinator, and the jobs that the
agents tell of. Out: who keeps a backup, and the error that refuses to delete it.

What such a restore was to bring is nowhere else: its tables are emptied, or its nodes stopped, and it goes on with this
backup alone. So it is kept until nothing is lost with it, each of these by what the state has, or the nodes tell:

- the restore was gone on with to its end, or (to a point in time) undone; or every node has imported and checked its
  part, so that only views are owed, which it makes without the backup;
- every table of it was brought back since by other restores that ended well, on every node that this one was to bring
  them to: who is left out is emptied all the same. One that brought back some of them, or that failed, ends nothing,
  though the first can't be gone on with any more: the rest is as empty as before;
- its tables are dropped, as every node of the ring tells. That is a person's way to give it up; retention doesn't go by
  it, for nobody asked for that delete;
- of one to a point in time: it is being undone, for then it never reads the backup again; or a later one to another
  point has succeeded, for it had all nodes; or, to a person's delete, most of its nodes are in the ring no more, as
  every node of that tells: nobody can go on with it. A plain restore ends nothing: it starts no node that is held
  stopped;
- the state has forgotten the steps of the job (30 days after its last request ended, a year of one to a point): nobody
  can go on with it then.

Killed anywhere: nothing is kept of this but the requests. Call `refuse` in the cluster's turn, in which the delete is
made: a restore ends, and is gone on with, before it or after it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from agent.wire.destinations import ON_SERVER
from agent.wire.node import Tables
from coordinator.model.orders import DeleteOrder
from coordinator.model.requests import RESUMABLE, Request, RequestKind, RequestState
from coordinator.orchestrate.errors import MissingNodes, RestoreUnfinished
from coordinator.orchestrate.muster import muster
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.documents import was_let_go
from coordinator.orchestrate.point_in_time.found_jobs import Found, a_few_tell, of_job
from coordinator.orchestrate.point_in_time.half_way import HalfWay, all_half_way
from coordinator.orchestrate.point_in_time.scope import PitScope
from coordinator.orchestrate.restore.again import dropped_since
from coordinator.orchestrate.restore.job_steps import JobSteps, job_of
from coordinator.orchestrate.restore.report import NOT_RESTORED
from coordinator.orchestrate.run import Surroundings
from coordinator.store.protocol import Store
from kit.some_of import some_of


class Resting(NamedTuple):
    """`request`: the last one of the `job`. `repository`: where its backup is, `OPSC_ON_SERVER` = on the nodes.
    `tables`: those that nobody has brought back since. `hosts`: host ids of its nodes."""

    job: str
    request: Request
    repository: str
    tables: list[str]
    hosts: list[str]


class Looked(NamedTuple):
    """What only the nodes tell: jobs to a point in time, those whose nodes are gone, and by job the tables that are
    dropped."""

    jobs: Mapping[str, Found]
    left: Set[str]
    dropped: Mapping[str, list[str]]


async def all_resting(
    store: Store, cluster: str, others: Mapping[str, Found] | None = None, tag: str | None = None
) -> list[Resting]:
    """Every restore that stopped half-way and whose backup is still needed. `others`: by job, what the agents tell of
    those to a point, also of such that another coordinator carries out. `tag`: of this backup alone."""
    restores = await store.requests.find(cluster=cluster, kind=RequestKind.RESTORE)
    points = await store.requests.find(cluster=cluster, kind=RequestKind.POINT_IN_TIME)
    found = []
    for job, (begun, last) in {job_of(one): (number, one) for number, one in enumerate(restores, 1)}.items():
        stopped = last.state is not RequestState.RUNNING and RESUMABLE in last.result
        scope = await store.requests.step(job, "scope") if stopped and tag in (None, last.tag) else None
        if scope is None:
            continue
        # Of another kind only the clock tells which one came first.
        later = [*restores[begun:], *(each for each in points if each.started >= last.started)]
        through = [each for each in later if _is_through(each, scope["left_out"])]
        left = _names(last.keyspaces) - {name for each in through for name in _names(each.keyspaces)}
        if left and not await _is_all_in(JobSteps(store, job), scope):
            found.append(Resting(job, last, _repository(scope), sorted(left), [*scope["sources"]]))
    return [*found, *await _points_resting(store, points, others or {}, tag)]


async def _points_resting(
    store: Store, points: Sequence[Request], others: Mapping[str, Found], tag: str | None
) -> list[Resting]:
    last = {job_of(each): each for each in points}
    here = {job for job, each in last.items() if each.state is RequestState.RUNNING}
    ended = {job: known for job, known in others.items() if known.document.ended}
    running = [
        HalfWay(job, known.request)
        for job, known in others.items()
        if not (known.document.ended or known.left or _has_ended_here(last.get(job), known))
    ]
    found = []
    for job, request in [*running, *all_half_way(points, ended)]:
        if job in here or tag not in (None, request.tag):
            continue
        own, told = await store.requests.step(job, S.SCOPE), others.get(job)
        scope = own or (told.carried.steps.get(S.SCOPE) if told else None)
        undoing = await store.requests.step(job, S.UNDOING) or (told and told.carried.steps.get(S.UNDOING))
        if scope is not None and undoing is None:
            nodes = msgspec.convert(own, PitScope).nodes if own or told is None else told.carried.nodes
            hosts = [node.host_id for node in nodes]
            found.append(Resting(job, request, _repository(scope), sorted(_names(request.keyspaces)), hosts))
    return found


def _has_ended_here(last: Request | None, known: Found) -> bool:
    """Whether the job's `last` request here is the one that the agents tell of: its end may not have come to them."""
    return last is not None and last.id == known.request.id and not was_let_go(last)


class RestingRefusals:
    """Refuses deletes."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._turns = Counter[str]()

    async def look(self, cluster: str, order: DeleteOrder) -> Looked:
        """What the nodes tell of it, asked before the cluster's turn: they may hang. A node that tells nothing ends
        nothing."""
        jobs = await self._jobs(cluster, order.tag)
        left, dropped = set[str](), dict[str, list[str]]()
        for each in await self._of(cluster, order, jobs):
            with suppress(MissingNodes):
                if each.request.kind is RequestKind.RESTORE:
                    dropped[each.job] = await dropped_since(self._around, cluster, each.job)
                elif await self._is_left(cluster, {*each.hosts}):
                    left.add(each.job)
        return Looked(jobs, left, dropped)

    async def _is_left(self, cluster: str, hosts: Set[str]) -> bool:
        """Whether most of these nodes are in the ring no more, as every node of that tells, nor any agent's: one whose
        Cassandra is stopped knows which node it has. Raises `MissingNodes`."""
        present = await muster(self._around, cluster)
        there = {member.host_id for member in present.ring}
        there |= {agent.host_id for agent in self._around.registry.agents(cluster) if agent.host_id is not None}
        return not present.missing and 2 * len(there & hosts) < len(hosts)

    async def refuse(self, cluster: str, order: DeleteOrder, looked: Looked) -> None:
        """Raise `RestoreUnfinished` when one rests on the backup at the place of the order."""
        for each in await self._of(cluster, order, looked.jobs):
            tables = [name for name in each.tables if name not in looked.dropped.get(each.job, [])]
            is_point = each.request.kind is RequestKind.POINT_IN_TIME
            if (is_point and each.job not in looked.left) or (tables and not is_point):
                raise _refusal(each.request, tables)

    async def _jobs(self, cluster: str, tag: str) -> dict[str, Found]:
        """Those that a few agents know, for each has the documents of all that ever were; of such as need the backup
        what all agents tell."""
        around = self._around
        known = {found.document.id: found for found in (await a_few_tell(around, cluster, self._turns[cluster])).jobs}
        self._turns[cluster] += 1
        points = await around.store.requests.find(cluster=cluster, kind=RequestKind.POINT_IN_TIME, tag=tag)
        open_here = {job_of(each) for each in points if RESUMABLE in each.result or was_let_go(each)}
        for job in open_here | {job for job, found in known.items() if found.request.tag == tag}:
            found = await of_job(around, cluster, job)
            if found is not None:
                known[job] = found
        return known

    async def _of(self, cluster: str, order: DeleteOrder, jobs: Mapping[str, Found]) -> list[Resting]:
        places = await Places(self._around, cluster).repositories([order.destination or ON_SERVER])
        resting = await all_resting(self._around.store, cluster, jobs, order.tag)
        return [each for each in resting if each.repository in places]


async def _is_all_in(steps: JobSteps, scope: Mapping[str, Any]) -> bool:
    """Whether every node that is restored has all its rows: a check that finds less makes it fetch again."""
    for host_id in scope["sources"]:
        if not await steps.noted(f"checked/{host_id}"):
            return False
    return True


def _refusal(request: Request, tables: list[str]) -> RestoreUnfinished:
    if request.kind is RequestKind.POINT_IN_TIME:
        how = "is under way" if request.state is RequestState.RUNNING else "stopped half-way"
        told = f"restore to a point in time {request.id} {how}, and its nodes may be stopped"
    else:
        told = f"restore {request.id} stopped half-way"
    stands = f"; how it stands: {request.message}" if request.message else ""
    return RestoreUnfinished(
        f"the {told}: it needs {request.tag} to bring back {some_of(tables)}{stands}",
        request=request.id,
        tag=request.tag,
        tables=tables,
    )


def _is_through(request: Request, left_out: Sequence[str]) -> bool:
    """Whether it has brought back all on every node but those `left_out` (addresses), of which no more was asked. What
    force leaves out of a restore makes it an error, and nobody goes on with that."""
    missed = request.result.get(NOT_RESTORED, ())
    forced = request.state is RequestState.ERROR and bool(missed) and RESUMABLE not in request.result
    return (request.state is RequestState.SUCCESS or forced) and {*missed} <= {*left_out}


def _repository(scope: Mapping[str, Any]) -> str:
    """By the job's own scope: the destination may have been removed since, and added again under another id."""
    source = scope.get("source")
    return ON_SERVER if source is None else str(source["repository_id"])


def _names(tables: Tables) -> set[str]:
    return {f"{keyspace}.{table}" for keyspace, names in tables.items() for table in names}
