"""The document of a job that stops nodes, on the agents: while Cassandra is down they alone can tell a coordinator that
lost its state what was under way. In: the job's steps, as they are noted in the store. Out: each one durable on most
of the agents.

Whoever carries the job on writes it under a higher fence; who has a lower one is refused, and leaves the job alone.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from agent.wire.point_in_time import JobDocument
from coordinator.fleet.each import on_each
from coordinator.fleet.errors import AgentRefused
from coordinator.model.requests import Request
from coordinator.orchestrate.point_in_time.errors import JobLeft, JobNotKept, JobTakenOver
from coordinator.orchestrate.point_in_time.scope import PitNode
from coordinator.orchestrate.point_in_time.steps import noted_steps
from coordinator.orchestrate.restore.job_steps import JobSteps
from coordinator.orchestrate.run import Run
from kit.errors import HelenusError

TOO_OLD = frozenset({"job_document_old", "fence_too_low"})
"""What an agent says to a coordinator that another one has followed."""


SHOWN_TO = 5
"""Agents that are told, between barriers, that somebody carries the job out: whoever looks asks all of them."""


class Carried(msgspec.Struct, frozen=True):
    """What a document holds: the request as it stood, the nodes, and the steps of its job. `resumable`: the request
    ended, and the same one posted again goes on with the job."""

    request: dict[str, Any]
    nodes: list[PitNode]
    steps: dict[str, dict[str, Any]]
    resumable: bool = False


def is_taken_over(error: object) -> bool:
    """Whether it says that another coordinator has the job, be it an agent's refusal or the error of a whole phase."""
    if isinstance(error, JobTakenOver):
        return True
    if isinstance(error, AgentRefused):
        return error.agent_code in TOO_OLD
    nodes = error.fields.get("nodes") if isinstance(error, HelenusError) else None
    return isinstance(nodes, dict) and any(
        isinstance(each, dict) and (each.get("code") in TOO_OLD or _code_inside(each) in TOO_OLD)
        for each in nodes.values()
    )


def was_taken_over(request: Request) -> bool:
    """Whether it ended because another coordinator took its job."""
    return (request.error or {}).get("code") == JobTakenOver.code


def was_let_go(request: Request) -> bool:
    """Whether it ended though its job did not: another coordinator took it, or its nodes were the cluster's no more."""
    return (request.error or {}).get("code") in (JobTakenOver.code, JobLeft.code)


def _code_inside(error: dict[str, Any]) -> str:
    """The code of the agent's own error in what the coordinator made of it."""
    fields = error.get("fields")
    inner = fields.get("error") if isinstance(fields, dict) else None
    return str(inner.get("code", "")) if isinstance(inner, dict) else ""


class JobDocuments:
    """Writes the documents of one job."""

    def __init__(self, run: Run, steps: JobSteps, fence: int) -> None:
        self._run = run
        self._steps = steps
        self._fence = fence
        self._revision = 0
        self._phase = ""
        self._ended = False
        self._turn = asyncio.Lock()
        self._nodes: Sequence[PitNode] = ()

    def spread_over(self, nodes: Sequence[PitNode]) -> None:
        """Whose agents keep it."""
        self._nodes = nodes

    async def newest(self) -> JobDocument | None:
        """The one with the highest fence that any agent tells of."""
        answers = await on_each(self._nodes, self._ask)
        kept = [answer for _, answer in answers if isinstance(answer, JobDocument)]
        return max(kept, key=lambda each: (each.fence, each.revision), default=None)

    async def put(self, phase: str, *, ended: bool = False, resumable: bool = False) -> None:
        """Return when more than half of the agents keep it. Raises `JobTakenOver`, and `JobNotKept` after waiting for
        as long as for any node."""
        timing, loop = self._run.around.timing, asyncio.get_running_loop()
        until = loop.time() + timing.agent_return
        self._phase = phase
        while True:
            silent = await self._spread(self._nodes, ended=ended, resumable=resumable)
            if 2 * len(silent) < len(self._nodes) or not self._nodes:
                return
            if loop.time() >= until:
                told = "; ".join(f"{address}: {error.message}" for address, error in silent.items())
                raise JobNotKept(
                    f"Too few of {len(self._nodes)} agents keep the job's document: {told}",
                    nodes={address: error.as_dict() for address, error in silent.items()},
                )
            await asyncio.sleep(timing.retry_pause)

    @asynccontextmanager
    async def kept_alive(self) -> AsyncIterator[None]:
        """Inside, the document is written again and again, so that everybody sees that somebody carries the job out."""
        task = asyncio.create_task(self._keep_alive(), name=f"document of {self._steps.job}")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._run.around.timing.take_over / 4)
            if self._phase:
                try:
                    await self._spread(self._some(), ended=False, resumable=False)
                except JobTakenOver:
                    return  # the next barrier, or order, is told the same

    def _some(self) -> list[PitNode]:
        """Others each time: some may be away."""
        first = self._revision * SHOWN_TO % max(len(self._nodes), 1)
        return [*self._nodes[first:], *self._nodes[:first]][:SHOWN_TO]

    async def _spread(self, nodes: Sequence[PitNode], *, ended: bool, resumable: bool) -> dict[str, HelenusError]:
        """Address → error of the agents that did not take it."""
        async with self._turn:
            if self._ended and not ended:
                return {}
            self._ended = self._ended or ended
            self._revision += 1
            content = Carried(
                msgspec.to_builtins(self._run.request),
                list(self._nodes),
                await noted_steps(self._run.around.store, self._steps.job),
                resumable,
            )
            document = JobDocument(
                id=self._steps.job,
                fence=self._fence,
                revision=self._revision,
                phase=self._phase,
                ended=ended,
                document=msgspec.to_builtins(content),
            )

            async def put(node: PitNode) -> None:
                agent = await self._run.around.registry.agent_of(self._run.cluster, node.host_id)
                await agent.client.put_job(document)

            answers = await on_each(nodes, put)
        silent = {node.address: answer for node, answer in answers if isinstance(answer, HelenusError)}
        for address, error in silent.items():
            if is_taken_over(error):
                raise JobTakenOver(
                    f"{address} says that another coordinator carries on with the job", job=self._steps.job
                )
        return silent

    async def _ask(self, node: PitNode) -> JobDocument | None:
        agent = await self._run.around.registry.agent_of(self._run.cluster, node.host_id)
        try:
            return await agent.client.job(self._steps.job)
        except AgentRefused as refused:
            if refused.agent_status == 404:
                return None
            raise
