"""A request whose job was handed over, for it stops nodes: it looks how the job stands until it has ended. In: what
this process carries out apart from the state, and what the agents tell. Out: the end, for the shared state.

Nobody else carries it out, or nobody does any more: then it is taken here, apart. What decides between two is the
agents' fence (docs/decisions/0016).
"""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
import structlog

from coordinator.model.requests import JOB, RESUMABLE, Request, RequestState
from coordinator.orchestrate.apart import Apart, Own
from coordinator.orchestrate.errors import PastThePointOfReturn
from coordinator.orchestrate.outcome import Outcome
from coordinator.orchestrate.point_in_time import steps as S
from coordinator.orchestrate.point_in_time.cancel import refuse_too_late
from coordinator.orchestrate.point_in_time.errors import JobLeft, JobUnknown, StoppedHalfWay
from coordinator.orchestrate.point_in_time.found_jobs import Found, Written, are_left, of_job, written
from coordinator.orchestrate.point_in_time.scope import PitScope
from coordinator.orchestrate.restore.job_steps import JobSteps
from coordinator.orchestrate.run import WARNINGS, Run
from coordinator.orchestrate.until_kept import until_kept
from kit.errors import HelenusError

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.1
"""Between two looks at what this process itself carries out."""


class Following:
    """Follows the job of one request."""

    def __init__(self, run: Run, job: str, apart: Apart) -> None:
        self._run = run
        self._apart = apart
        self._store = run.around.store
        self._job = job
        self._steps = JobSteps(run.around.store, job)
        self._seen: tuple[Written, float] | None = None
        """the document's newest writing, and since when there is none after it"""
        self._told = False
        self._recorded: dict[str, dict[str, Any]] = {}
        """the steps as this wrote them into the state"""
        self._unsure: tuple[Written, float] | None = None
        """the newest writing that was seen while too few agents told, and since when there is none after it"""

    async def is_handed_over(self) -> bool:
        """Whether the job goes on apart from the state."""
        return await until_kept(self._run, "the restore", partial(self._steps.noted, S.HANDED_OVER))

    async def to_its_end(self) -> Outcome:
        """How it ended. While the state fails it is waited for: this may be repeated at any moment."""
        return await until_kept(self._run, "following the restore", self._follow)

    async def _follow(self) -> Outcome:
        noted = await self._steps.step(S.HANDED_OVER) or {}
        while True:
            own = await self._apart.own(self._job)
            mine = own if own is not None and own.request.id == self._run.request.id else None
            if mine is not None and mine.running:
                await self._pass_on_cancel()
                await asyncio.sleep(LOOK_SECONDS)
                continue
            if mine is not None and RESUMABLE not in mine.request.result:
                return await self._ended(mine)
            found = await of_job(self._run.around, self._run.cluster, self._job)
            if found is None or not found.certain:
                self._tell_uncertain()
                given_up = await self._given_up(found)
                if given_up is not None:
                    return given_up
                await asyncio.sleep(self._run.around.timing.retry_pause)
                continue
            self._unsure = None
            # Whether a person may still cancel is judged by these first.
            if found.carried.steps != self._recorded:
                await self._store.requests.record_steps(self._job, found.carried.steps)
                self._recorded = found.carried.steps
            outcome = await self._left(found, mine)
            if outcome is not None:
                return outcome
            if await self._is_cancelled_too_late(found):
                continue
            if self._is_carried_out(found, int(noted.get("fence", 0))):
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._run.around.timing.take_over / 4):
                        await self._run.cancelled.wait()
                continue
            await self._note_fence(found)
            await self._apart.adopt(found, self._going_on(found))

    async def _given_up(self, found: Found | None) -> Outcome | None:
        """The end of this request where for as long as any node is waited for too few agents tell of the job, and none
        that anybody writes to it: by itself when most of its nodes are the cluster's no more, else only when a person
        cancels it, for another coordinator may carry it out where these agents can't be heard. The nodes are left as
        they are."""
        now, newest = self._run.around.monotonic(), (0, 0) if found is None else written(found.document)
        if self._unsure is None or newest > self._unsure[0]:
            self._unsure = (newest, now)
        if now - self._unsure[1] < self._run.around.timing.agent_return:
            return None
        scope = await self._steps.step(S.SCOPE)
        nodes = [] if scope is None else msgspec.convert(scope, PitScope).nodes
        names = [node.address for node in nodes]
        if nodes and are_left(self._run.around, self._run.cluster, nodes):
            left = JobLeft(
                "most of the nodes of this restore are not the cluster's any more, so that nobody can tell how far it "
                f"came: {', '.join(names)}",
                job=self._job,
                nodes=names,
            )
            return Outcome(RequestState.ERROR, left.message, error=left.as_dict())
        if self._run.cancelled.is_set():
            unknown = JobUnknown(
                "it was cancelled while too few of its nodes' agents tell how it stands: nodes may be stopped half-way "
                "or another coordinator may go on with it; nothing was undone",
                job=self._job,
                nodes=names,
            )
            return Outcome(RequestState.ERROR, unknown.message, error=unknown.as_dict(), result={RESUMABLE: self._job})
        return None

    def _is_carried_out(self, found: Found, handed_over_by: int) -> bool:
        """Whether somebody else does. Whoever handed it over carries nothing out any more."""
        document, now = found.document, self._run.around.monotonic()
        if found.request.id != self._run.request.id or document.ended or self._run.cancelled.is_set():
            return False
        if document.fence <= handed_over_by:
            return False
        if self._seen is None or self._seen[0] != written(document):
            self._seen = (written(document), now)
        return now - self._seen[1] < self._run.around.timing.take_over

    async def _left(self, found: Found, mine: Own | None) -> Outcome | None:
        """The end of this request, where it doesn't carry the job on: a later one does that was ordered while the state
        was away, which the state has from here on; or it stopped half-way (`mine`: here), and goes on when a person
        says so."""
        document, later = found.document, found.request
        if later.id != self._run.request.id:
            known = await self._store.requests.get(later.id)
            if known is None:
                result = {**later.result, JOB: self._job}
                new = msgspec.structs.replace(
                    later, cluster=self._run.cluster, state=RequestState.RUNNING, finished=None, result=result
                )
                await self._store.requests.create(new)  # begun by whoever looks for what nobody carries out
                log.warning("a restore that was gone on with while the state was away", request=later.id, job=self._job)
            if mine is not None and known is not None:
                return await self._ended(mine)
            # One that carried the job before this is the one that this goes on with.
            if known is None or known.state is RequestState.RUNNING or await self._is_followed(found):
                error = StoppedHalfWay(f"it stopped half-way; the restore {later.id} goes on with it", request=later.id)
                return Outcome(RequestState.ERROR, error.message, error=error.as_dict())
            return None
        await self._note_fence(found)
        if mine is not None:
            return await self._ended(mine)
        if document.ended and found.carried.resumable:
            error = StoppedHalfWay(
                "it stopped half-way while the state was away; the same restore sent again goes on",
                request=self._run.request.id,
            )
            return Outcome(RequestState.ERROR, error.message, error=error.as_dict(), result={RESUMABLE: self._job})
        return None

    async def _note_fence(self, found: Found) -> None:
        """Note, once, from where on this request carries the job: before it does, or as the document says so."""
        if await self._store.requests.step(self._run.request.id, S.FROM_FENCE) is None:
            await self._store.requests.record_step(self._run.request.id, S.FROM_FENCE, {"fence": found.document.fence})

    async def _is_followed(self, found: Found) -> bool:
        """Whether the document is of a request that came after this one. The first of a job carried it from its
        beginning; another one that noted nothing hasn't begun to."""
        noted = await self._store.requests.step(self._run.request.id, S.FROM_FENCE)
        if noted is None:
            return self._run.request.id == self._job
        return found.document.fence > int(noted["fence"])

    def _going_on(self, found: Found) -> Request:
        """The request as whoever goes on with it begins: with what was warned of by then, and a cancel."""
        mine = self._run.request
        newest = found.request if found.request.id == mine.id else mine
        return msgspec.structs.replace(newest, cluster=mine.cluster, state=RequestState.RUNNING, cancel=mine.cancel)

    async def _pass_on_cancel(self) -> None:
        if not self._run.cancelled.is_set():
            return
        cancel = self._run.request.cancel
        try:
            await self._apart.cancel(self._job, force=cancel == "force")
        except PastThePointOfReturn as late:
            await self._drop_cancel(cancel, late)
        except HelenusError:
            pass  # it has just ended

    async def _is_cancelled_too_late(self, found: Found) -> bool:
        """Whether a cancel, which is then dropped, came after what can't be taken back: when it was asked for, the
        state didn't have all steps yet that whoever carries the job out had done."""
        if not self._run.cancelled.is_set():
            return False
        cancel = self._run.request.cancel
        try:
            refuse_too_late(found.noted, self._run.request.id, force=cancel == "force")
        except PastThePointOfReturn as late:
            await self._drop_cancel(cancel, late)
            return True
        return False

    async def _drop_cancel(self, cancel: str, late: PastThePointOfReturn) -> None:
        """Let that cancel, unless one with force has come since, count as never asked, now and in later lives. People
        are told first: of a death in between it is judged again."""
        run = self._run
        async with run.guard:
            if run.request.cancel != cancel:
                return
            run.warn(f"a cancel came too late: {late.message}")
            await run.keep_warnings()
            await self._store.requests.drop_cancel(run.request.id, cancel)
            run.request = msgspec.structs.replace(run.request, cancel="")
            run.cancelled.clear()
        log.warning("a cancel came too late", request=run.request.id, job=self._job, reason=late.message)

    async def _ended(self, own: Own) -> Outcome:
        """What it came to, with all that later requests of the same job, and people, look for in the state."""
        ended = own.request
        await self._store.requests.record_steps(self._job, own.steps)
        await self._run.put(own.commands)
        for warning in ended.result.get(WARNINGS, []):
            self._run.warn(warning)
        if (ended.keyspaces, ended.tag) != (self._run.request.keyspaces, self._run.request.tag):
            await self._run.update(keyspaces=ended.keyspaces, tag=ended.tag)
        return Outcome(ended.state, ended.message, partial=ended.partial, error=ended.error, result=ended.result)

    def _tell_uncertain(self) -> None:
        if not self._told:
            self._told = True
            log.warning("too few agents tell how the job stands", request=self._run.request.id, job=self._job)
