"""Finds what happened and puts it into the outbox. In: the coordinator's durable state, and how nodes archive. Out: a
notice of each happening for each hook that wants it, at least once, and never a second time under another id.

Nothing is noted when something happens: a look goes over the requests that run, those that ended since the last look
less an hour, how the last runs of retention went, and what of schedules did not run. What one look missed, because the
coordinator was killed or the store failed, the next one finds; what it finds again is in the outbox already.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
import structlog

from coordinator.model.archiving import NodeArchiving
from coordinator.model.notices import Notice, Waiting, wants
from coordinator.model.requests import Request, RequestState
from coordinator.model.retention import RetentionNote
from coordinator.notices.happenings import of_lag, of_request, of_retention, of_schedule
from coordinator.notices.lag import NodeLag, judged
from coordinator.store.protocol import Store
from kit.errors import HelenusError

log = structlog.get_logger(__name__)

LOOKED = "notices looked for"
"""The named value that holds the time up to which everything was found."""
OVERLAP_SECONDS = 3_600.0
"""How long before the last look a request may have ended and not been found: its end is written later than its time."""
KEEP_LOOKED_SECONDS = 600.0
"""Between two writes of that time. What is read twice for it is put once."""
REMEMBER_SECONDS = 30 * 86_400.0
"""How long what was told is remembered."""
PRUNE_SECONDS = 86_400.0
LOOK_SECONDS = 20.0
"""Between two looks that nothing asked for: nodes come to lag by the mere passing of time."""
MOST_WAITING = 10_000
"""Notices that wait for one hook; the oldest go then."""

RetentionNotes = Callable[[str], Awaitable[Mapping[str, RetentionNote]]]
Seen = Callable[[str], Sequence[NodeArchiving]]


class Sources(msgspec.Struct, frozen=True):
    """What is looked at beside the store. `clusters`: their ids. `retention` and `archiving`: how the last runs at each
    place of a cluster went, and its nodes at the last look. `lag_seconds`: 0 = lagging nodes are not told of."""

    clusters: Sequence[str]
    retention: RetentionNotes
    archiving: Seen
    lag_seconds: float


class Filler:
    """`hooks`: name → patterns of the events that it wants. `filled` is called when something was put, `dropped` with a
    hook and how many of its oldest went for it."""

    def __init__(
        self,
        store: Store,
        sources: Sources,
        hooks: Mapping[str, Sequence[str]],
        clock: Callable[[], float],
        filled: Callable[[], None],
        dropped: Callable[[str, int], None],
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._store = store
        self._sources = sources
        self._hooks = hooks
        self._clock = clock
        self._filled = filled
        self._dropped = dropped
        self._most_waiting = most_waiting
        self._looked: float | None = None
        self._kept = 0.0
        self._pruned = 0.0
        self._known: set[str] = set()
        """ids of the notices of the last look: they are in the outbox"""
        self._running: set[str] = set()
        """requests that ran at the last look: their ends are found whatever the clock says"""

    async def keep_on(self, news: asyncio.Event) -> None:
        """Run until cancelled: a look whenever `news` is set, and now and then."""
        while True:
            news.clear()
            try:
                await self.look()
            except HelenusError as error:
                log.warning("what happened can't be looked for", again_seconds=LOOK_SECONDS, **error.as_dict())
            except Exception:
                log.exception("the look for what happened failed in an unforeseen way", again_seconds=LOOK_SECONDS)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await news.wait()
            except TimeoutError:
                pass

    async def look(self) -> None:
        """Once. Raises what the store raises; then the next look finds the same. The first one of a life comes before
        anything is begun: however long after it the life is cut off, the next one looks from there on."""
        now = self._clock()
        since = min(await self._last_look(now), now) - OVERLAP_SECONDS
        requests = self._store.requests
        running = await requests.find(state=RequestState.RUNNING)
        gone = self._running - {request.id for request in running}
        found = [*running, *await self._known_by_id(gone), *await requests.ended_since(since)]
        notices = [notice for request in found for notice in of_request(request)]
        for cluster in self._sources.clusters:
            for place, note in (await self._sources.retention(cluster)).items():
                notices += [notice for notice in of_retention(cluster, place, note) if notice.at >= since]
            for schedule in await self._store.schedules.of(cluster):
                notices += [notice for notice in of_schedule(schedule) if notice.at >= since]
            notices += [notice for notice in of_lag(cluster, await self._lags(cluster, now)) if notice.at >= since]
        unknown = {notice.id: notice for notice in notices if notice.id not in self._known}
        await self._put(sorted(unknown.values(), key=lambda notice: notice.at), now)
        self._known = {notice.id for notice in notices}
        self._running = {request.id for request in running}
        self._looked = now
        if abs(now - self._kept) >= KEEP_LOOKED_SECONDS:
            await self._store.values.put(LOOKED, now)
            self._kept = now
        if abs(now - self._pruned) >= PRUNE_SECONDS:
            await self._store.outbox.prune(now - REMEMBER_SECONDS, [*self._hooks])
            self._pruned = now

    async def _last_look(self, now: float) -> float:
        if self._looked is not None:
            return self._looked
        kept = await self._store.values.get(LOOKED)
        return float(kept) if isinstance(kept, int | float) else now

    async def _known_by_id(self, ids: set[str]) -> list[Request]:
        found = [await self._store.requests.get(request) for request in sorted(ids)]
        return [request for request in found if request is not None]

    async def _lags(self, cluster: str, now: float) -> dict[str, NodeLag]:
        """Kept before it is told: the next life tells the same."""
        if not self._sources.lag_seconds:
            return {}
        values, name = self._store.values, f"commit log lag of {cluster}"
        former = msgspec.convert(await values.get(name) or {}, dict[str, NodeLag])
        lags = judged(former, self._sources.archiving(cluster), now, self._sources.lag_seconds)
        if lags != former:
            await values.put(name, msgspec.to_builtins(lags))
        return lags

    async def _put(self, notices: Sequence[Notice], now: float) -> None:
        waiting = [
            Waiting(hook, notice, now)
            for notice in notices
            for hook, events in self._hooks.items()
            if wants(events, notice.type)
        ]
        if not waiting:
            return
        await self._store.outbox.put(waiting)
        for hook, count in (await self._store.outbox.waiting()).items():
            if hook in self._hooks and count > self._most_waiting:
                dropped = await self._store.outbox.keep_newest(hook, self._most_waiting)
                self._dropped(hook, dropped)
                log.warning("too many notices wait for a webhook: the oldest are dropped", hook=hook, dropped=dropped)
        self._filled()
