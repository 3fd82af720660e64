"""Jobs that stop nodes and that nobody carries out any more. In: the documents that the agents keep. Out: requests of
this coordinator that go on with them.

Whoever carries a job out writes its document every few seconds. One that nobody has written to for `Timing.take_over`
is taken over, when more than half of its nodes' agents say what they have: its coordinator is dead, or lost its state.
To see that there is none costs a few requests, however large the cluster is.
"""

import asyncio
import secrets
import uuid
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec
import structlog

from coordinator.model.orders import PointInTimeOrder
from coordinator.model.requests import JOB, RESUMABLE, Request, RequestKind, RequestState
from coordinator.orchestrate.beside import Beside
from coordinator.orchestrate.errors import RestoreRunning
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.documents import was_let_go
from coordinator.orchestrate.point_in_time.errors import JobLeft
from coordinator.orchestrate.point_in_time.found_jobs import Found, Seen, Written, every_job, glance, whole, written
from coordinator.orchestrate.point_in_time.half_way import is_of
from coordinator.orchestrate.restore.job_steps import job_of
from coordinator.orchestrate.run import Surroundings
from coordinator.store.protocol import Store
from kit.errors import HelenusError

log = structlog.get_logger(__name__)

CHANCES = 2**32
"""Two coordinators that take a job over at once draw one of so many fences, and so not the same; an agent takes fences
below 2^53."""


class TakeOver(Beside):
    """Use as `async with TakeOver(around, begin)`: inside it looks again and again. `begin`: carries a durable request
    out."""

    def __init__(self, around: Surroundings, begin: Callable[[Request], None]) -> None:
        self._around = around
        self._begin = begin
        self._seen: dict[str, tuple[Written, float]] = {}
        """job → its newest writing, and since when there is none after it"""
        self._at: dict[str, dict[str, Found]] = {}
        """cluster → jobs that others carry out, or nobody does"""
        self._over: dict[str, Written] = {}
        """job → the writing with which it needed nobody"""
        self._told: set[tuple[str, str]] = set()
        """the code and the job of what was told"""
        self._turns: Counter[str] = Counter()
        self._looked_back: set[str] = set()
        """clusters of which is known what went on while the state was away"""

    async def learn(self, cluster: str, order: PointInTimeOrder) -> dict[str, Found]:
        """Know of the same restore what only the agents know: one that runs is taken over at once, for a person asks
        for it here; one that stopped can be gone on with. Every job that ended, by its id; of the same restore none
        that can be gone on with but of which too few agents tell. Raises `RestoreRunning` while another coordinator
        carries out another one."""
        ended: dict[str, Found] = {}
        seen = await every_job(self._around, cluster)
        self._tell_unreadable(seen)
        for found in seen.jobs:
            same = is_of(found.request, order)
            if found.document.ended:
                if same and found.carried.resumable:
                    if not found.certain:
                        continue
                    await self._remember(cluster, found)
                ended[found.document.id] = found
            elif same and found.certain:
                await self._adopt(cluster, found)
            elif not found.left and not await self._is_own(cluster, found):
                raise RestoreRunning(
                    f"the restore to a point {found.request.id} of another coordinator stops the nodes; its own order "
                    "sent here takes it over, once more than half of its nodes' agents answer",
                    request=found.request.id,
                    tables=[],
                )
        return ended

    async def _always(self) -> None:
        while not self._around.is_apart:
            for cluster in self._around.registry.clusters():
                try:
                    await self._look(cluster)
                except HelenusError as error:
                    log.warning("jobs could not be looked for", cluster=cluster, **error.as_dict())
                except Exception:
                    log.exception("the look for jobs failed in an unforeseen way", cluster=cluster)
            # Whoever carries one out writes every quarter: while there is one its end is seen as soon.
            await asyncio.sleep(self._around.timing.take_over / (4 if any(self._at.values()) else 2))

    async def _look(self, cluster: str) -> None:
        """A few requests; where they tell of a job that isn't this coordinator's own, one more to each of its nodes."""
        if self._around.apart is not None and cluster not in self._looked_back:
            await self._look_back(cluster)
        glanced = await glance(self._around, cluster, self._turns[cluster])
        self._turns[cluster] += 1
        self._tell_unreadable(glanced)
        at = self._at.setdefault(cluster, {})
        for found in glanced.jobs:
            new = written(found.document) > self._over.get(found.document.id, (0, 0))
            if new and not await self._is_own(cluster, found):
                at[found.document.id] = found
        for job, found in [*at.items()]:
            if found.left:
                self._tell_left(found)
                del at[job]
            elif await self._is_done_with(cluster, found):
                del at[job]

    async def _look_back(self, cluster: str) -> None:
        """As this coordinator begins: what went on, and perhaps ended, while the state was away. Again, until most
        agents have told."""
        seen = await every_job(self._around, cluster)
        for found in seen.jobs:
            if await self._is_unheard_of(cluster, found):
                await self._follow(cluster, found)
        if seen.most:
            self._looked_back.add(cluster)

    async def _is_done_with(self, cluster: str, glanced: Found) -> bool:
        """Whether the job needs nobody any more: it ended, or it is carried out here. One to which nobody wrote for
        long enough is taken over."""
        seen = await whole(self._around, cluster, glanced)
        self._tell_unreadable(seen)
        if not seen.jobs:
            return True  # a glance finds it again
        [found] = seen.jobs
        document, now = found.document, self._around.monotonic()
        if await self._is_unheard_of(cluster, found):
            await self._follow(cluster, found)
            return True
        if document.ended or await self._is_own(cluster, found):
            self._over[document.id] = written(document)
            self._seen.pop(document.id, None)
            return True
        before, since = self._seen.get(document.id, ((0, 0), now))
        if before != written(document):
            self._seen[document.id] = (written(document), now)
        elif now - since >= self._around.timing.take_over and found.certain:
            await self._adopt(cluster, found)
            return True
        return False

    async def _is_own(self, cluster: str, found: Found) -> bool:
        """Whether this coordinator carries it out, or was the last that did: by that very request, for another one may
        go on with what stopped here. Not one that another one took from it, or that it let go as the nodes were gone.
        """
        here = await self._requests_of(cluster, found)
        if _runs(here):
            return True
        return any(request.id == found.request.id for request in here) and not was_let_go(here[-1])

    async def _is_unheard_of(self, cluster: str, found: Found) -> bool:
        """Whether a job of the shared state's is carried out apart, or was, by a request of which the state doesn't
        know: the restore was sent again while that was away, after it had stopped half-way."""
        if self._around.apart is None or not (found.handed_over and found.certain):
            return False
        here = await self._requests_of(cluster, found)
        return bool(here) and not _runs(here) and all(request.id != found.request.id for request in here)

    async def _requests_of(self, cluster: str, found: Found) -> list[Request]:
        requests = await self._around.store.requests.find(cluster=cluster, kind=RequestKind.POINT_IN_TIME)
        return [request for request in requests if job_of(request) == found.document.id]

    def _tell_unreadable(self, seen: Seen) -> None:
        """Once: a coordinator of another release writes every few seconds."""
        for error in seen.unreadable:
            if self._is_new(error, str(error.fields["job"])):
                log.error("a job's document can't be read: it is passed over", **error.as_dict())

    def _tell_left(self, found: Found) -> None:
        """Once: it is looked at again and again, for its agents may be the cluster's again one day."""
        nodes = [node.address for node in found.carried.nodes]
        error = JobLeft(
            f"most nodes of the job {found.document.id} are not the cluster's any more: {', '.join(nodes)}",
            job=found.document.id,
            nodes=nodes,
        )
        if self._is_new(error, found.document.id):
            log.error("a job is left as it is", phase=found.document.phase, **error.as_dict())

    def _is_new(self, error: HelenusError, job: str) -> bool:
        before = (error.code, job) in self._told
        self._told.add((error.code, job))
        return not before

    async def _adopt(self, cluster: str, found: Found) -> None:
        await self._take(cluster, found, "a job that nobody carries out is taken over")

    async def _follow(self, cluster: str, found: Found) -> None:
        """The state has the request from here on: it keeps others out, and its end is written there."""
        await self._take(cluster, found, "a restore that was gone on with while the state was away")

    async def _take(self, cluster: str, found: Found, told: str) -> None:
        """Durable first: steps, then a fence over the other's, then the request, which is begun: the same one, or a new
        one where that has ended here, for another coordinator had taken its job."""
        store, job = self._around.store, found.document.id
        async with self._around.leaving.turn(cluster):
            if await self._is_own(cluster, found):
                return
            await keep(self._around.store, found, apart=self._around.is_apart)
            request = msgspec.structs.replace(found.request, cluster=cluster, state=RequestState.RUNNING)
            if await store.requests.get(request.id) is not None:
                result = {**request.result, JOB: job}
                started = self._around.clock()
                request = msgspec.structs.replace(request, id=str(uuid.uuid4()), started=started, result=result)
            await store.requests.create(request)
        log.warning(told, request=request.id, job=job)
        self._begin(request)

    async def _remember(self, cluster: str, found: Found) -> None:
        """One that stopped, as if it had done so here. Where its request has ended here before, for the other
        coordinator took it, only how far it came."""
        store, job = self._around.store, found.document.id
        async with self._around.leaving.turn(cluster):
            known = await store.requests.get(found.request.id) is not None
            if known and await self._is_own(cluster, found):
                return
            await keep(self._around.store, found, apart=self._around.is_apart)
            if known:
                return
            request = found.request
            ended = msgspec.structs.replace(
                request,
                cluster=cluster,
                state=RequestState.ERROR,
                finished=self._around.clock(),
                message="it stopped under another coordinator",
                result={**request.result, RESUMABLE: job},
            )
            await store.requests.create(ended)
            self._around.news.set()


def is_remembered(request: Request) -> bool:
    """Whether it stopped under another coordinator and is only known of here: what fails here has an error."""
    return request.state is RequestState.ERROR and request.error is None


def _runs(requests: Iterable[Request]) -> bool:
    return any(request.state is RequestState.RUNNING for request in requests)


async def keep(store: Store, found: Found, *, apart: bool) -> None:
    """Have the job's steps in the store, and a fence above that of whoever carried it out last. `apart`: from here on
    its documents say that it is carried out apart from the shared state, also where who handed it over died before the
    agents had heard of that: others take over, while the state is away, only what says so."""
    job, steps = found.document.id, found.carried.steps
    if apart and not found.handed_over:
        steps = {**steps, S.HANDED_OVER: {"fence": found.document.fence}}
    await store.requests.record_steps(job, steps)
    await store.commands.next_fence(job, above=found.document.fence + secrets.randbelow(CHANCES))
