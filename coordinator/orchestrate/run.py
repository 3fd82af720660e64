"""A running request: durable steps in and out, the person's cancel, and the live view of its nodes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from agent.wire.destinations import Settings
from coordinator.fleet.registry import Registry
from coordinator.fleet.reports import Reports
from coordinator.model.commands import PostedCommand
from coordinator.model.requests import NodePart, Request
from coordinator.orchestrate.apart import Apart
from coordinator.orchestrate.errors import RequestCancelled
from coordinator.orchestrate.known_parts import KnownParts
from coordinator.orchestrate.timing import Timing
from coordinator.store.protocol import Store

Data = TypeVar("Data", bound=msgspec.Struct)

WARNINGS = "warnings"
"""In a request's result: sentences for people; a running request holds those that were known when it was made."""


class Leaving:
    """Which destinations are being changed and which forgotten, so that neither happens under the other's feet:
    settings that were forgotten would come back with their secrets. Destinations are named (cluster, id)."""

    def __init__(self) -> None:
        self._turns: dict[str, asyncio.Lock] = {}
        self.coming: dict[tuple[str, str], Settings] = {}
        """what is being proven"""
        self.forgotten: set[tuple[str, str]] = set()
        """what a request that hasn't ended yet forgets"""

    def turn(self, cluster: str) -> asyncio.Lock:
        """Held while it is looked up what else runs on the cluster and a request is made, and while it is looked up
        whether a destination may be forgotten, and while what scrubs found is noted: none of it happens meanwhile.
        Whoever holds it asks no agent, for that one may hang, or its store."""
        return self._turns.setdefault(cluster, asyncio.Lock())


class Surroundings(msgspec.Struct, frozen=True):
    """What every request works with. `news`: set when a request was made or has ended, or a run of retention has.
    `uploads_at_once`: so many nodes of one backup or sync copy at a time, 0 = all. `state_on`: host ids of the
    Cassandra that holds the coordinator's own state, in `state_keyspace`. `apart`: carries out what stops nodes, where
    the state is shared. `is_apart`: this is such a one, over a store of its own: it begins no new job, and looks for
    none."""

    store: Store
    registry: Registry
    reports: Reports
    timing: Timing = Timing()
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    leaving: Leaving = msgspec.field(default_factory=Leaving)
    news: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    uploads_at_once: int = 0
    state_on: frozenset[str] = frozenset()
    state_keyspace: str = ""
    apart: Apart | None = None
    is_apart: bool = False


class Run:
    """One request while it runs in this process. Replayed from its start after a restart: what `once` has recorded is
    recalled, commands have the same ids, so nothing is decided or done twice. `seen_in`: the state for people who look
    on, who are told at once when it can't be reached."""

    def __init__(self, request: Request, around: Surroundings, seen_in: Store) -> None:
        self.request = request
        self.around = around
        self._seen_in = seen_in
        self.guard = asyncio.Lock()
        """held while the point of no return is passed and while a cancel is judged"""
        self.cancelled = asyncio.Event()
        if request.cancel:
            self.cancelled.set()
        self.warnings: list[str] = list(request.result.get(WARNINGS, []))
        self._kept = list(self.warnings)
        self.result: dict[str, Any] = {}
        """what the request's result tells beside the outcome, also when it fails"""
        self.aftermath = ""
        """what the request's message says beside the reason when it fails or is cancelled: what that has changed"""
        self.retrying: dict[str, str] = {}
        """commands that wait for their turn, or failed and are tried again once their node is back: id → what for, as
        a sentence"""
        self._posted: dict[str, PostedCommand] = {}
        self._read = False
        self._parts = KnownParts()
        self.forget: set[str] = set()
        """destinations whose settings go when the request has ended: until its outcome is durable a restarted
        coordinator needs them to go on"""

    @property
    def cluster(self) -> str:
        """The configured cluster's id."""
        return self.request.cluster

    async def once(self, step: str, decide: Callable[[], Awaitable[Data]], kind: type[Data]) -> Data:
        """What `decide` gave when this step was first reached, in this or an earlier life of the coordinator."""
        return await once(self.around.store, self.request.id, step, decide, kind)

    async def note(self, step: str, **data: Any) -> None:
        """Record a step, and before it what was warned of until then; durable when it returns."""
        await self.keep_warnings()
        await self.around.store.requests.record_step(self.request.id, step, data)

    async def update(self, **changes: Any) -> None:
        """Change fields of the request, durable when it returns."""
        self.request = msgspec.structs.replace(self.request, **changes)
        await self.around.store.requests.update(self.request)

    def warn(self, text: str) -> None:
        """Add a sentence to the request's warnings, once. It is durable as soon as a step is noted after it: what led
        to it may not be done, and so not be told, a second time."""
        if text not in self.warnings:
            self.warnings.append(text)

    async def keep_warnings(self) -> None:
        """Let later lives of the coordinator know what was warned of until now, durable when it returns."""
        warnings = list(self.warnings)
        if warnings != self._kept:
            await self.update(result={**self.request.result, WARNINGS: warnings})
            self._kept = warnings

    def stop_if_cancelled(self) -> None:
        """Raise `RequestCancelled` if a person asked for the end."""
        if self.cancelled.is_set():
            raise RequestCancelled("the request was cancelled", request=self.request.id)

    async def put(self, commands: Sequence[PostedCommand]) -> None:
        """Keep the request's commands as they are now, durable when it returns."""
        await self.around.store.commands.put(commands)
        for command in commands:
            self._posted[command.id] = _lean(command)

    async def posted(self) -> list[PostedCommand]:
        """The request's commands as they are now, without arguments and results: read once, and then known. With a
        thousand nodes the store has megabytes of them."""
        return await self._posted_in(self.around.store)

    async def _posted_in(self, store: Store) -> list[PostedCommand]:
        if not self._read:
            kept = await store.commands.of(self.request.id)
            # What was put meanwhile is newer than what was read.
            self._posted = {each.id: _lean(each) for each in kept} | self._posted
            self._read = True
        return [*self._posted.values()]

    async def parts(self, ended: Request | None = None) -> list[NodePart]:
        """Every node's share as it is at one moment, by address; or as it was when the request had `ended`."""
        commands = await self._posted_in(self._seen_in)
        moment = self.around.reports.moment(command.id for command in commands)
        return await self._parts.now(ended or self.request, commands, moment, self.retrying)


def _lean(command: PostedCommand) -> PostedCommand:
    return msgspec.structs.replace(command, arguments={}, result=None)


async def once(store: Store, owner: str, step: str, decide: Callable[[], Awaitable[Data]], kind: type[Data]) -> Data:
    """Recall a step of the request `owner`, or decide it now and record it durably."""
    recorded = await store.requests.step(owner, step)
    if recorded is None:
        decided = await decide()
        await store.requests.record_step(owner, step, msgspec.to_builtins(decided))
        return decided
    return msgspec.convert(recorded, kind)
