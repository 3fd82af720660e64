"""What happened is found in the durable state: at once, after a crash, whatever the clock and the store do."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from coordinator.model.archiving import NodeArchiving
from coordinator.model.retention import RetentionNote
from coordinator.notices.filler import LOOK_SECONDS, OVERLAP_SECONDS, REMEMBER_SECONDS, Filler, Sources
from coordinator.store.database import Database, StoreFailed
from coordinator.store.migrations import MIGRATIONS
from coordinator.store.sqlite import FILE, SqliteStore
from tests.fast.notices.given import NOW, ended, request

T = TypeVar("T")

HOOKS = {"all": ["*"], "ends": []}


class Site:
    """A store, a clock, what is looked at beside it, and fillers, one after the other, each a new life."""

    def __init__(self, store: SqliteStore, hooks: Mapping[str, Sequence[str]] = HOOKS, most: int = 10_000) -> None:
        self.store = store
        self.now = NOW
        self.notes: dict[str, RetentionNote] = {}
        self.nodes: list[NodeArchiving] = []
        self.filled = 0
        self.some = asyncio.Event()
        self.dropped: list[tuple[str, int]] = []
        self._hooks = hooks
        self._most = most
        self.live()

    def live(self) -> Filler:
        """A life that knows only what is durable."""

        def fill() -> None:
            self.filled += 1
            self.some.set()

        async def notes(cluster: str) -> Mapping[str, RetentionNote]:
            return self.notes

        sources = Sources(["main"], notes, lambda cluster: self.nodes, 100.0)
        self.filler = Filler(
            self.store,
            sources,
            self._hooks,
            lambda: self.now,
            fill,
            lambda hook, count: self.dropped.append((hook, count)),
            self._most,
        )
        return self.filler

    async def told(self, hook: str = "all") -> list[str]:
        """The types of what waits for the hook, each done at once."""
        found = []
        while (first := await self.store.outbox.first(hook)) is not None:
            found.append(f"{first.notice.type} {first.notice.request}".strip())
            await self.store.outbox.done(hook, first.notice.id)
        return found

    async def begin(self, name: str = "r1") -> None:
        await self.store.requests.create(request(name, started=self.now))

    async def end(self, name: str = "r1", at: float | None = None) -> None:
        await self.store.requests.finish(ended(name, self.now if at is None else at))


async def test_beginnings_and_ends_are_found_once_for_each_hook_that_wants_them(store: SqliteStore) -> None:
    """Promise: one notice each, in order; a look that finds nothing new puts and wakes nothing."""
    site = Site(store)
    await site.begin()
    await site.filler.look()
    assert await site.told() == ["backup.started r1"]
    await site.end()
    await site.begin("r2")
    await site.filler.look()
    assert site.filled == 2
    assert await site.told() == ["backup.started r2", "backup.succeeded r1"]
    assert await site.told("ends") == ["backup.succeeded r1"]
    for _ in range(2):
        await site.filler.look()
        site.live()
    assert (site.filled, await site.told(), await site.told("ends")) == (3, [], [])


async def test_a_request_that_nobody_saw_run_is_told_whole(store: SqliteStore) -> None:
    """Promise: begun and ended between two looks, its beginning is told before its end."""
    site = Site(store)
    await site.filler.look()
    await site.begin()
    site.now += 1
    await site.end()
    await site.filler.look()
    assert await site.told() == ["backup.started r1", "backup.succeeded r1"]


async def test_a_life_that_was_killed_before_its_look_loses_nothing(store: SqliteStore) -> None:
    """Promise: the next one, a month later too, finds what ended since the last look."""
    site = Site(store)
    await site.filler.look()
    await site.begin()
    await site.end()
    site.live()
    site.now += 30 * 86_400
    await site.filler.look()
    assert await site.told() == ["backup.started r1", "backup.succeeded r1"]


async def test_an_end_that_is_written_late_is_found(store: SqliteStore) -> None:
    """Promise: a request's end has the time at which its work was done; while the store failed that was long ago."""
    site = Site(store)
    await site.begin()
    await site.filler.look()
    await site.begin("unseen")
    site.now += OVERLAP_SECONDS * 3
    # The look of this moment fails, as would any write; the requests' ends are written after it.
    done = site.now - OVERLAP_SECONDS * 2
    site.now += 1
    await site.end("r1", done)
    await site.filler.look()
    assert await site.told() == ["backup.started r1", "backup.started unseen", "backup.succeeded r1"]
    site.now += 1
    await site.end("unseen", site.now - OVERLAP_SECONDS / 2)
    site.live()
    await site.filler.look()
    assert await site.told() == ["backup.succeeded unseen"]


async def test_a_clock_that_is_set_loses_no_end(store: SqliteStore) -> None:
    """Promise: set back by a year, what ran is told of when it ends, and so is what comes after."""
    site = Site(store)
    site.now += 365 * 86_400
    await site.begin()
    await site.filler.look()
    assert await site.told() == ["backup.started r1"]
    site.now = NOW
    await site.end()
    await site.begin("r0")
    await site.end("r0")
    await site.filler.look()
    assert sorted(await site.told()) == ["backup.started r0", "backup.succeeded r0", "backup.succeeded r1"]
    site.live()
    await site.begin("r2")
    await site.end("r2")
    await site.filler.look()
    assert await site.told() == ["backup.started r2", "backup.succeeded r2"]


async def test_what_ended_long_before_the_first_look_is_not_told(store: SqliteStore) -> None:
    """Promise: an upgrade, or a first webhook, is no flood of old news; what is told comes as it happened."""
    site = Site(store)
    for name, ago in (("old", OVERLAP_SECONDS + 1), ("new", OVERLAP_SECONDS - 1)):
        await store.requests.create(request(name, started=NOW - ago))
        await store.requests.finish(ended(name, NOW - ago, started=NOW - ago))
    site.notes = {
        "d1": RetentionNote(ended=NOW - OVERLAP_SECONDS - 1),
        "d2": RetentionNote(ended=NOW - OVERLAP_SECONDS),
    }
    await site.filler.look()
    assert await site.told("ends") == ["retention.done", "backup.succeeded new"]


async def test_retention_and_lag_are_told_once_over_a_crash(store: SqliteStore) -> None:
    """Promise: by what is durable; what a node lags by is kept before it is told of."""
    site = Site(store)
    site.notes = {"d1": RetentionNote(ended=NOW - 1)}
    site.nodes = [NodeArchiving("127.0.70.1", "h1", "on", safe={"d1": NOW - 200})]
    await site.filler.look()
    assert await site.told() == ["retention.done", "archiving.lagging"]
    site.live()
    site.now += 10
    await site.filler.look()
    assert await site.told() == []
    site.live()
    site.notes = {"d1": RetentionNote(ended=NOW - 1, failed=site.now, error={"code": "c", "message": "m"})}
    site.nodes = [NodeArchiving("127.0.70.1", "h1", "on", safe={"d1": site.now})]
    await site.filler.look()
    assert sorted(await site.told()) == ["archiving.caught_up", "retention.failed"]


async def test_of_too_many_the_oldest_are_dropped_and_counted(store: SqliteStore) -> None:
    """Promise: a hook that is away for ever can't fill the disk, and takes nothing from another."""
    site = Site(store, most=3)
    for number in range(5):
        await site.begin(f"r{number}")
        site.now += 1
    await site.filler.look()
    assert site.dropped == [("all", 2)]
    assert await site.told() == [f"backup.started r{number}" for number in (2, 3, 4)]


async def test_what_was_told_is_forgotten_after_a_while_only(store: SqliteStore) -> None:
    """Promise: the outbox doesn't grow for ever, and nothing is told twice for that."""
    site = Site(store)
    await site.begin()
    await site.end()
    await site.filler.look()
    assert len(await site.told()) == 2
    site.now += REMEMBER_SECONDS + 1
    site.live()
    await site.filler.look()
    assert await site.told() == []
    rows = await store._database.read(lambda connection: connection.execute("SELECT id FROM outbox").fetchall())
    assert {len(rows)} == {1}, "what waits for «ends» stays, what was told is gone"


class FullDisk(Database):
    """Fails each write until there is room."""

    room: ClassVar[asyncio.Event]
    failed: ClassVar[asyncio.Event]

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if not FullDisk.room.is_set():
            FullDisk.failed.set()
            raise StoreFailed("the coordinator's state can't be used: disk full")
        return await super().write(function)


async def test_it_is_woken_at_once_and_goes_on_after_the_store_failed(tmp_path: Path) -> None:
    """Promise: what happens is found when it is said that something did, not at the next regular look; a store that
    fails for a while costs nothing."""
    FullDisk.room, FullDisk.failed, news = asyncio.Event(), asyncio.Event(), asyncio.Event()
    FullDisk.room.set()
    store = SqliteStore(await FullDisk.open(tmp_path / FILE, MIGRATIONS))
    site = Site(store)
    await site.filler.look()
    task = asyncio.create_task(site.filler.keep_on(news))
    try:
        await site.begin()
        FullDisk.room.clear()
        news.set()
        async with asyncio.timeout(LOOK_SECONDS / 2):
            await FullDisk.failed.wait()
        FullDisk.room.set()
        await site.end()
        site.some.clear()
        news.set()
        async with asyncio.timeout(LOOK_SECONDS / 2):
            told: list[str] = []
            while len(told) < 2:  # the beginning may be told by itself
                await site.some.wait()
                site.some.clear()
                told += await site.told()
        assert told == ["backup.started r1", "backup.succeeded r1"]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()
