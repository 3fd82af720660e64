"""Jobs that stop nodes and that nobody carries out any more. In: the documents that the agents keep. Out: requests of
this coordinator that go on with them.

Whoever carries a job out writes its document every few seconds. One that nobody has written to for `Timing.take_over`
is taken over, when more than half of its nodes' agents say what they have: its coordinator is dead, or lost its state.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec
import structlog

from agent.wire.point_in_time import JobDocument
from coordinator.fleet.each import on_each
from coordinator.fleet.registry import Agent
from coordinator.model.orders import PointInTimeOrder, is_same_point
from coordinator.model.requests import RESUMABLE, Request, RequestState, order_of
from coordinator.orchestrate.errors import RestoreRunning
from coordinator.orchestrate.point_in_time.documents import Carried
from coordinator.orchestrate.run import Surroundings
from kit.errors import HelenusError

log = structlog.get_logger(__name__)


class Found(msgspec.Struct, frozen=True):
    """A job as the agents tell of it. `told`: URLs of the agents that answered at all."""

    document: JobDocument
    carried: Carried
    told: frozenset[str]

    @property
    def request(self) -> Request:
        """The request that carried it out last, as it stood."""
        return msgspec.convert(self.carried.request, Request)

    @property
    def certain(self) -> bool:
        """Whether more than half of the agents that keep it have answered: one of them has the newest."""
        return 2 * len(self.told & {node.agent for node in self.carried.nodes}) > len(self.carried.nodes)


class TakeOver:
    """Use as `async with TakeOver(around, begin)`: inside it looks again and again. `begin`: carries a durable request
    out."""

    def __init__(self, around: Surroundings, begin: Callable[[Request], None]) -> None:
        self._around = around
        self._begin = begin
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_looking(), name="jobs that nobody carries out")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def learn(self, cluster: str, order: PointInTimeOrder) -> str | None:
        """Know of the same restore what only the agents know: one that runs is taken over at once, for a person asks
        for it here; one that stopped can be gone on with. The job, where this coordinator had it and lost it to another
        one: a new request goes on with it. Raises `RestoreRunning` while another coordinator carries out another one.
        """
        taken: str | None = None
        for found in await self._found(cluster):
            known = order_of(found.request)
            same = isinstance(known, PointInTimeOrder) and is_same_point(known, order)
            if same and found.certain:
                if not found.document.ended:
                    taken = await self._adopt(cluster, found)
                elif found.carried.resumable:
                    await self._remember(cluster, found)
            elif not found.document.ended and await self._around.store.requests.get(found.request.id) is None:
                raise RestoreRunning(
                    f"the restore to a point {found.request.id} of another coordinator stops the nodes",
                    request=found.request.id,
                    tables=[],
                )
        return taken

    async def _keep_looking(self) -> None:
        while True:
            for cluster in self._around.registry.clusters():
                try:
                    await self._look(cluster)
                except HelenusError as error:
                    log.warning("jobs could not be looked for", cluster=cluster, **error.as_dict())
                except Exception:
                    log.exception("the look for jobs failed in an unforeseen way", cluster=cluster)
            await asyncio.sleep(self._around.timing.take_over / 2)

    async def _look(self, cluster: str) -> None:
        for found in await self._found(cluster):
            document, now = found.document, self._around.monotonic()
            if document.ended or await self._around.store.requests.get(found.request.id) is not None:
                continue
            written = (document.fence, document.revision)
            before, since = self._seen.get(document.id, ((0, 0), now))
            if before != written:
                self._seen[document.id] = (written, now)
            elif now - since >= self._around.timing.take_over and found.certain:
                await self._adopt(cluster, found)

    async def _found(self, cluster: str) -> list[Found]:
        """The newest document of each job."""

        async def ask(agent: Agent) -> list[JobDocument]:
            return await agent.client.jobs()

        answers = await on_each(await self._around.registry.refresh(cluster, self._around.timing.report_age), ask)
        told = {agent.url: documents for agent, documents in answers if not isinstance(documents, HelenusError)}
        newest: dict[str, JobDocument] = {}
        for documents in told.values():
            for each in documents:
                known = newest.get(each.id)
                if known is None or (each.fence, each.revision) > (known.fence, known.revision):
                    newest[each.id] = each
        return [found for each in newest.values() if (found := _read(each, frozenset(told))) is not None]

    async def _adopt(self, cluster: str, found: Found) -> str | None:
        """Durable first: steps, then a fence over the other's, then the request, which is begun. The job, when its
        request has ended here already, for another coordinator had taken it."""
        request = await self._around.store.requests.get(found.request.id)
        if request is not None and request.state is RequestState.RUNNING:
            return None
        async with self._around.leaving.turn(cluster):
            await self._keep(found)
            if request is not None:
                return found.document.id
            request = msgspec.structs.replace(found.request, cluster=cluster, state=RequestState.RUNNING)
            await self._around.store.requests.create(request)
        log.warning("a job that nobody carries out is taken over", request=request.id, job=found.document.id)
        self._begin(request)
        return None

    async def _remember(self, cluster: str, found: Found) -> None:
        if await self._around.store.requests.get(found.request.id) is not None:
            return
        async with self._around.leaving.turn(cluster):
            await self._keep(found)
            request = found.request
            ended = msgspec.structs.replace(
                request,
                cluster=cluster,
                state=RequestState.ERROR,
                finished=self._around.clock(),
                message="it stopped under another coordinator",
                result={**request.result, RESUMABLE: found.document.id},
            )
            await self._around.store.requests.create(ended)

    async def _keep(self, found: Found) -> None:
        store, job = self._around.store, found.document.id
        await store.requests.record_steps(job, found.carried.steps)
        await store.commands.next_fence(job, above=found.document.fence)


def _read(document: JobDocument, told: frozenset[str]) -> Found | None:
    """None for a document that can't be read as a restore's: somebody else put it there. It must not keep
    this coordinator from the jobs whose nodes are stopped."""
    try:
        found = Found(document, msgspec.convert(document.document, Carried), told)
        order_of(found.request)
    except msgspec.ValidationError as error:
        log.warning("a job's document can't be read: it is passed over", job=document.id, error=str(error))
        return None
    return found
