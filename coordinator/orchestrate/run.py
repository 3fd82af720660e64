"""A running request: durable steps in and out, the person's cancel, and the live view of its nodes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import msgspec

from agent.wire.commands import Kind, Progress, State
from coordinator.fleet.registry import Registry
from coordinator.fleet.reports import Reports
from coordinator.model.activity import ActivityEvent
from coordinator.model.commands import PostedCommand
from coordinator.model.requests import NodePart, Request, RequestState
from coordinator.orchestrate.errors import RequestCancelled
from coordinator.orchestrate.timing import Timing
from coordinator.store.protocol import Store

Data = TypeVar("Data", bound=msgspec.Struct)


class Surroundings(msgspec.Struct, frozen=True):
    """What every request works with."""

    store: Store
    registry: Registry
    reports: Reports
    timing: Timing = Timing()
    own_keyspaces: frozenset[str] = frozenset()
    clock: Callable[[], float] = time.time


class Run:
    """One request while it runs in this process. Replayed from its start after a restart: what `once` has recorded is
    recalled, commands have the same ids, so nothing is decided or done twice."""

    def __init__(self, request: Request, around: Surroundings) -> None:
        self.request = request
        self.around = around
        self.guard = asyncio.Lock()
        """held while the point of no return is passed and while a cancel is judged"""
        self.cancelled = asyncio.Event()
        if request.cancel:
            self.cancelled.set()
        self.warnings: list[str] = []
        self.result: dict[str, Any] = {}
        """what the request's result tells beside the outcome, also when it fails"""

    @property
    def cluster(self) -> str:
        """The configured cluster's id."""
        return self.request.cluster

    async def once(self, step: str, decide: Callable[[], Awaitable[Data]], kind: type[Data]) -> Data:
        """What `decide` gave when this step was first reached, in this or an earlier life of the coordinator."""
        return await once(self.around.store, self.request.id, step, decide, kind)

    async def noted(self, step: str) -> bool:
        """Whether a step was recorded."""
        return await self.around.store.requests.step(self.request.id, step) is not None

    async def note(self, step: str, **data: Any) -> None:
        """Record a step, durable when it returns."""
        await self.around.store.requests.record_step(self.request.id, step, data)

    async def update(self, events: Iterable[ActivityEvent] = (), **changes: Any) -> None:
        """Change fields of the request, durable when it returns."""
        self.request = msgspec.structs.replace(self.request, **changes)
        await self.around.store.requests.update(self.request, list(events))

    def warn(self, text: str) -> None:
        """Add a sentence to the request's warnings, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def stop_if_cancelled(self) -> None:
        """Raise `RequestCancelled` if a person asked for the end."""
        if self.cancelled.is_set():
            raise RequestCancelled("the request was cancelled", request=self.request.id)

    async def parts(self) -> list[NodePart]:
        """Every node's share as it is now, by address."""
        return parts_of(await self.around.store.commands.of(self.request.id), self.around.reports)


async def once(store: Store, owner: str, step: str, decide: Callable[[], Awaitable[Data]], kind: type[Data]) -> Data:
    """Recall a step of the request `owner`, or decide it now and record it durably."""
    recorded = await store.requests.step(owner, step)
    if recorded is None:
        decided = await decide()
        await store.requests.record_step(owner, step, msgspec.to_builtins(decided))
        return decided
    return msgspec.convert(recorded, kind)


MANIFESTS = frozenset({Kind.SNAPSHOT, Kind.UPLOAD, Kind.BACKUP, Kind.SYNC})
"""Kinds whose success means that the node's manifest is written."""

_STATES = {
    State.SUCCESS: RequestState.SUCCESS,
    State.PARTIAL: RequestState.ERROR,
    State.FAILED: RequestState.ERROR,
    State.INTERRUPTED: RequestState.ERROR,
    State.CANCELLED: RequestState.CANCELLED,
}


def parts_of(commands: Iterable[PostedCommand], reports: Reports) -> list[NodePart]:
    """Each node's part of a request: its commands in the order in which they were posted, joined."""
    by_host: dict[str, list[PostedCommand]] = {}
    for command in commands:
        by_host.setdefault(command.host_id, []).append(command)
    return sorted(
        (_part(posted, reports) for posted in by_host.values()), key=lambda part: (part.address, part.host_id)
    )


def _part(commands: list[PostedCommand], reports: Reports) -> NodePart:
    progress: Progress = {}
    for command in commands:
        live = reports.live(command.id)
        for destination, keyspaces in (live.progress if live is not None else {}).items():
            mine = progress.setdefault(destination, {})
            for keyspace, tables in keyspaces.items():
                mine[keyspace] = {**mine.get(keyspace, {}), **tables}
    last = commands[-1]
    live = reports.live(last.id)
    errors = [error for error in (last.error, live.lost if live is not None else None) if error]
    # Attempts that failed and were followed by one that went well are history, not errors of the node.
    failed = {(c.phase, c.kind): c.error for c in commands if c.error}
    for command in commands:
        if command.state in (State.SUCCESS, State.RUNNING):
            failed.pop((command.phase, command.kind), None)
    errors += [error for error in failed.values() if error and error not in errors]
    return NodePart(
        address=last.address,
        host_id=last.host_id,
        id=last.id,
        state=_STATES.get(last.state, RequestState.RUNNING),
        started=commands[0].posted,
        finished=last.finished,
        phase=last.phase,
        created=any(command.kind in MANIFESTS and command.state is State.SUCCESS for command in commands),
        progress=progress,
        errors=errors,
    )
