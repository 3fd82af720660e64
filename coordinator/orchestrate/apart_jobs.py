"""Jobs that stop nodes, carried out apart from the shared state. In: what the agents tell of a job. Out: the job goes
on, by a life of a coordinator that knows nothing but that.

Each has a store of its own, which is empty at first and is thrown away later: nothing is in it that the agents don't
have, so that a death of this process costs nothing (docs/decisions/0016). Whoever else carries the job on has a higher
fence at the agents, or a lower one, and is refused.
"""

import asyncio
import shutil
import uuid
from collections.abc import Callable, Collection, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import structlog

from coordinator.fleet.fleet import Fleet
from coordinator.model.requests import Request, RequestKind, RequestState
from coordinator.orchestrate.apart import Own
from coordinator.orchestrate.orchestrator import FleetOrchestrator
from coordinator.orchestrate.point_in_time.documents import was_taken_over
from coordinator.orchestrate.point_in_time.found_jobs import Found, every_job
from coordinator.orchestrate.point_in_time.steps import noted_steps
from coordinator.orchestrate.point_in_time.take_over import TakeOver, is_remembered, keep
from coordinator.orchestrate.restore.job_steps import job_of
from coordinator.orchestrate.run import Surroundings
from coordinator.orchestrate.timing import Timing
from coordinator.store.opening import StoreType
from coordinator.store.protocol import Store
from coordinator.store.sqlite import SqliteStore

DIRECTORY = "apart"
LOOK_SECONDS = 0.5
"""Between two looks whether the state is away."""
KEEP_SECONDS = 3_600.0
"""For how long what ended is known here, once it has ended and the state is back."""
HEARD_SECONDS = 3.0
"""For how long what the agents told of all jobs is told to people."""

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Site:
    """One life: a store, and what carries out what is in it."""

    def __init__(self, around: Surroundings, directory: Path) -> None:
        self.around = around
        self.orchestrator = FleetOrchestrator(around)
        self._stack = AsyncExitStack()
        # Each part is let go of whatever becomes of the one before; the last entered is the first to go.
        self._stack.push_async_callback(asyncio.to_thread, shutil.rmtree, directory, ignore_errors=True)
        self._stack.push_async_callback(around.store.close)

    @property
    def store(self) -> Store:
        """Its own."""
        return self.around.store

    async def begin(self) -> None:
        """Go on with what the store has."""
        await self._stack.enter_async_context(self.orchestrator)

    async def carried(self) -> list[Request]:
        """What it carries out, or did, oldest first; none that only stopped under another coordinator."""
        found = await self.store.requests.find(kind=RequestKind.POINT_IN_TIME)
        return [request for request in found if not is_remembered(request)]

    async def request(self, job: str | None = None) -> Request | None:
        """The newest one, of the job if one is named."""
        found = await self.carried()
        return next((each for each in found[::-1] if job is None or job_of(each) == job), None)

    async def close(self) -> None:
        """Let go of all of it where it stands, as a death would. Nothing is lost: the agents have the job."""
        await self._stack.aclose()


class _Watch(TakeOver):
    """Takes, while the state is away, what was handed over and nobody carries out any more."""

    def __init__(self, around: Surroundings, jobs: "ApartJobs") -> None:
        super().__init__(msgspec.structs.replace(around, is_apart=False), lambda request: None)
        self._jobs = jobs

    async def _is_own(self, cluster: str, found: Found) -> bool:
        """As in `TakeOver`: with what stopped half-way here another one may have gone on, by a later request."""
        own = await self._jobs.own(found.document.id)
        return not found.handed_over or (own is not None and (own.running or own.request.id == found.request.id))

    async def _adopt(self, cluster: str, found: Found) -> None:
        request = msgspec.structs.replace(found.request, cluster=cluster, state=RequestState.RUNNING)
        await self._jobs.adopt(found, request)


class ApartJobs:
    """Use as `async with`, and run `keep_on` inside; implements `coordinator.orchestrate.apart.Apart`. `away`: whether
    the state has answered nobody here for so long that nobody leads. `state_directory`: of this process alone.
    `store_type`: replaced in tests."""

    def __init__(
        self,
        state_directory: Path,
        fleet: Callable[[], Fleet],
        timing: Timing,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        away: Callable[[], bool],
        store_type: StoreType = SqliteStore,
    ) -> None:
        self.away = away
        self._directory = state_directory / DIRECTORY
        self._make_fleet = fleet
        self._timing = timing
        self._clock = clock
        self._monotonic = monotonic
        self._store_type = store_type
        self._fleet: Fleet | None = None
        self._stack = AsyncExitStack()
        self._sites: dict[str, Site] = {}
        """by job; one may have several, for it went on with another one that it was asked for"""
        self._bare: Site | None = None
        self._watch: _Watch | None = None
        self._away_at: float | None = None
        """when the state was seen to be away last"""
        self._turn = asyncio.Lock()
        self._orders = asyncio.Lock()
        """of orders, each of which may wait long for an agent: one at a time stands in line for the turn, so that what
        else wants it has it after that one"""
        self._asking = asyncio.Lock()
        self._askers = 0
        """who asks the agents at this moment: they can be asked until nobody does"""
        self._heard: tuple[float, list[Found]] | None = None
        """all jobs as the agents told of them, and when they were asked"""
        self._whole: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        # Of a life that died: the agents have what it knew.
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*self._whole, return_exceptions=True)
        await self._close()

    async def keep_on(self) -> None:
        """Run until cancelled: look for jobs while the state is away."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._to_its_end(self._look())
            except Exception:
                # A full disk, mostly: what runs goes on, and the next look may open what this one could not.
                log.exception("jobs that go on apart from the state could not be looked for")

    @property
    def sites(self) -> list[Site]:
        """What is carried out here, or was, the newest first."""
        return [*dict.fromkeys(reversed(self._sites.values()))]

    async def own(self, job: str) -> Own | None:
        """See `Apart.own`."""
        site = self._sites.get(job)
        request = None if site is None else await site.request(job)
        if site is None or request is None or was_taken_over(request):
            return None
        if request.state is RequestState.RUNNING:
            return Own(request)
        return Own(request, await site.store.commands.of(request.id), await noted_steps(site.store, job))

    async def adopt(self, found: Found, request: Request) -> None:
        """See `Apart.adopt`. Also whole when who asks is cancelled meanwhile."""
        await self._to_its_end(self._adopt(found, request))

    async def cancel(self, job: str, *, force: bool) -> None:
        """See `Apart.cancel`."""
        own = await self.own(job)
        if own is not None:
            await self._sites[job].orchestrator.cancel(own.request.id, force=force)

    async def in_a_site(self, cluster: str, work: Callable[[Site], Coroutine[Any, Any, T]]) -> T:
        """Have an order judged by what is carried out, or was, on the cluster; else by what the agents alone tell."""

        async def judged() -> T:
            async with self._orders, self._turn:
                site = await self._site_of(cluster)
                known = {request.id for request in await site.carried()}
                try:
                    return await work(site)
                finally:
                    await self._note(site, known)

        return await self._to_its_end(judged())

    async def elsewhere(self, request_id: str) -> Found | None:
        """The job that another coordinator carries out, or did, by that request. However many people look, all agents
        are asked every few seconds at most."""
        self._askers += 1
        try:
            async with self._asking:
                heard = self._heard
                if heard is None or self._monotonic() - heard[0] >= HEARD_SECONDS:
                    told = await self._told()  # it may take longer than it is good for
                    heard = (self._monotonic(), told)
                    self._heard = heard
        finally:
            self._askers -= 1
        return next((found for found in heard[1] if found.request.id == request_id and found.handed_over), None)

    async def _told(self) -> list[Found]:
        async with self._turn:
            bare = await self._begun()
        clusters = bare.around.registry.clusters()
        return [found for cluster in clusters for found in (await every_job(bare.around, cluster)).jobs]

    async def _look(self) -> None:
        async with self._turn:
            if self.away():
                self._away_at = self._monotonic()
                bare = await self._begun()
                if self._watch is None:
                    log.warning("the state is away: restores that stopped nodes are looked for with the agents")
                    self._watch = _Watch(bare.around, self)
                    await self._watch.__aenter__()
            elif self._watch is not None:
                watch, self._watch = self._watch, None
                await watch.__aexit__(None, None, None)
            elif self._fleet is not None and not self._askers and await self._is_idle():
                await self._close()

    async def _is_idle(self) -> bool:
        """Whether nobody will ask for what is here. As the state comes back the next leader does, however long ago it
        ended."""
        if self._away_at is not None and self._monotonic() - self._away_at < KEEP_SECONDS:
            return False
        since = self._clock() - KEEP_SECONDS
        newest = [await site.request() for site in self.sites]
        return all(each is not None and (each.finished or since + 1) < since for each in newest)

    async def _adopt(self, found: Found, request: Request) -> None:
        async with self._turn:
            await self._begun()
            job, site = found.document.id, await self._site()
            try:
                await keep(site.store, found, apart=True)
                await site.store.requests.create(request)
                await self._leave(self._sites.pop(job, None))
                await site.begin()
            except BaseException:
                await site.close()
                raise
            self._sites[job] = site
        log.warning("a job is carried out apart from the state", request=request.id, job=job)

    async def _site_of(self, cluster: str) -> Site:
        for job, site in reversed(self._sites.items()):
            own = await self.own(job)
            if own is not None and own.request.cluster == cluster:
                return site
        return await self._begun()

    async def _note(self, site: Site, known: Collection[str]) -> None:
        """A site in which something began to be carried out is that job's from here on. `known`: requests that were
        there before."""
        for request in await site.carried():
            if request.id not in known:
                former = self._sites.pop(job_of(request), None)
                self._sites[job_of(request)] = site
                if site is self._bare:
                    self._bare = None
                await self._leave(former)

    async def _leave(self, former: Site | None) -> None:
        """Close what a job has no more, unless it has another one too. Should it carry out the first one still, the
        agents refuse its fence."""
        if former is not None and former not in self._sites.values():
            await former.close()

    async def _begun(self) -> Site:
        """One that has nothing to carry out; with it the agents can be asked."""
        if self._fleet is None:
            self._fleet = await self._stack.enter_async_context(self._make_fleet())
        if self._bare is None:
            bare = await self._site()
            try:
                await bare.begin()
            except BaseException:
                await bare.close()
                raise
            self._bare = bare
        return self._bare

    async def _site(self) -> Site:
        if self._fleet is None:
            raise RuntimeError("the agents can't be asked yet")
        directory = self._directory / uuid.uuid4().hex
        around = Surroundings(
            await self._store_type.open(directory, now=self._clock()),
            self._fleet.registry,
            self._fleet.reports,
            self._timing,
            clock=self._clock,
            monotonic=self._monotonic,
            is_apart=True,
        )
        return Site(around, directory)

    async def _close(self) -> None:
        """Everything, also where one of it can't be closed well: the fleet as the last."""
        for site in [*self.sites, *([] if self._bare is None else [self._bare])]:
            self._stack.push_async_callback(site.close)
        if self._watch is not None:
            self._stack.push_async_exit(self._watch)
        self._watch, self._sites, self._bare, self._fleet = None, {}, None, None
        await self._stack.aclose()

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        self._whole.add(task)
        task.add_done_callback(self._whole.discard)
        return await asyncio.shield(task)
