"""A state in Cassandra through deaths and lost answers, over tables in memory: killed at each step, it is as before the
write or as after it, for every reader, and goes on. What it must be then SQLite's store tells."""

import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordinator.store.cassandra import patience
from coordinator.store.cassandra.index import PERIODS, entries_of
from coordinator.store.cassandra.packing import unpacked
from coordinator.store.cassandra.store import CassandraStore
from coordinator.store.cassandra.tables import Kept
from coordinator.store.database import StoreFailed
from coordinator.store.protocol import Store
from coordinator.store.sealing import Seal
from coordinator.store.sqlite import SqliteStore
from tests.cluster.store_samples import AT, CLUSTER, NOW, TAG, place
from tests.cluster.store_story import PRUNED, STORY, told
from tests.cluster.tables_in_memory import Fate, Killed, Outcome, TablesInMemory, World

KEY = Seal(b"k" * 32)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a store in memory need not be long."""
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.0005)
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.002)


@pytest.fixture
async def chapters(tmp_path: Path) -> list[dict[str, Any]]:
    """What is seen before the first chapter, and after each."""
    store = await SqliteStore.open(tmp_path / "state", now=NOW)
    seen = [await told(store)]
    for chapter in STORY:
        await chapter(store)
        seen.append(await told(store))
    await store.close()
    return seen


def from_then_on(first: int, outcome: Outcome) -> Fate:
    """All goes well before the step `first`, and like that from it on."""
    return lambda number, call: outcome if number >= first else Outcome.DONE


def at(step: int, outcome: Outcome) -> Fate:
    """All goes well but that step."""
    return lambda number, call: outcome if number == step else Outcome.DONE


async def opened(world: World, fate: Fate = lambda number, call: Outcome.DONE, seconds: float = 30.0) -> Store:
    return await CassandraStore.open(TablesInMemory(world, fate, seconds=seconds), KEY, patience=seconds)


async def told_until(store: Store, error: type[BaseException]) -> int:
    """How many chapters were told when it came; all of them if it didn't."""
    for number, chapter in enumerate(STORY):
        try:
            await chapter(store)
        except error:
            return number
        except BaseExceptionGroup as group:
            if group.subgroup(error) is None:
                raise
            return number
    return len(STORY)


async def goes_on(world: World, chapter: int, chapters: list[dict[str, Any]]) -> None:
    """Another coordinator finds a whole chapter, told or not, and ends the story, with that chapter once more."""
    fresh = await opened(world)
    seen = await told(fresh)
    if chapter < PRUNED:
        assert seen in (chapters[chapter], chapters[chapter + 1]), f"half of chapter {chapter}"
    for number in range(chapter, len(STORY)):
        await STORY[number](fresh)
        assert await told(fresh) == chapters[number + 1], f"chapter {number} after a death in {chapter}"
    assert strays(world) == [], f"after a death in {chapter}"
    assert world.pieces == {}, f"after a death in {chapter}"


def strays(world: World) -> list[Kept]:
    """Entries that no record is behind, or another copy than the record's."""
    right = [
        kept
        for key, record in world.records.items()
        for row in record.rows.values()
        for kept in entries_of(key, msgspec.structs.replace(row, data=unpacked(row.data)))
    ]
    return [kept for kept in world.kept() if kept.entry.log != PERIODS and kept not in right]


async def test_the_story_is_the_same_in_every_store(chapters: list[dict[str, Any]]) -> None:
    """Promise: what a reader sees after each write doesn't depend on what keeps it."""
    store = await opened(World())
    for number, chapter in enumerate(STORY):
        await chapter(store)
        assert await told(store) == chapters[number + 1], f"chapter {number}"


async def test_killed_at_any_step_a_write_is_whole_or_not_there(chapters: list[dict[str, Any]]) -> None:
    """Promise: kill -9 between any two questions to Cassandra leaves no half, and nothing that can't be gone on with;
    pointers that were left open are put right."""
    for last in count(1):
        world = World()
        first = TablesInMemory(world, from_then_on(last, Outcome.DEAD))
        try:
            store = await CassandraStore.open(first, KEY, patience=30.0)
        except (Killed, BaseExceptionGroup):
            continue
        chapter = await told_until(store, Killed)
        await goes_on(world, chapter, chapters)
        if chapter == len(STORY):
            return


@pytest.mark.parametrize("lost", [Outcome.LOST_BEFORE, Outcome.LOST_AFTER])
async def test_an_answer_that_is_lost_changes_nothing(chapters: list[dict[str, Any]], lost: Outcome) -> None:
    """Promise: whether the question arrived or not, it is found out, and the write is done once."""
    for step in count():
        tables = TablesInMemory(World(), at(step, lost))
        store = await CassandraStore.open(tables, KEY, patience=30.0)
        assert await told_until(store, Killed) == len(STORY)
        steps = tables.steps
        assert await told(store) == chapters[-1]
        if step >= steps:
            return


@pytest.mark.parametrize("lost", [Outcome.LOST_BEFORE, Outcome.LOST_AFTER])
async def test_a_write_whose_answer_was_lost_is_known_as_ones_own(lost: Outcome) -> None:
    """Promise: what was given or removed is told to who asked for it, though the first answer never came."""
    for step in count():
        tables = TablesInMemory(World(), at(step, lost))
        store = await CassandraStore.open(tables, KEY, patience=30.0)
        await store.destinations.put(place("d1"))
        assert await store.requests.claim_tag(CLUSTER, "adhoc", AT) == (TAG, AT), step
        assert await store.commands.next_fence("r1") == 1, step
        assert await store.destinations.remove(CLUSTER, "d1"), step
        if step >= tables.steps:
            return


@pytest.mark.parametrize("seed", range(20))
async def test_half_of_all_answers_may_be_lost(chapters: list[dict[str, Any]], seed: int) -> None:
    """Promise: a bad network costs time, nothing else."""
    dice = random.Random(seed)
    fates = (Outcome.DONE, Outcome.DONE, Outcome.LOST_BEFORE, Outcome.LOST_AFTER)
    world = World()
    store = await opened(world, lambda number, call: dice.choice(fates))
    for number, chapter in enumerate(STORY):
        await chapter(store)
        assert await told(await opened(world)) == chapters[number + 1], f"chapter {number}"


@pytest.mark.parametrize("lost", [Outcome.LOST_BEFORE, Outcome.LOST_AFTER])
async def test_a_cassandra_that_stays_away_fails_the_write_by_name(
    chapters: list[dict[str, Any]], lost: Outcome
) -> None:
    """Promise: within its patience a write fails as StoreFailed, and is whole or not there when Cassandra is back."""
    for last in away():
        world = World()
        try:
            store = await opened(world, from_then_on(last, lost), seconds=0.01)
        except StoreFailed:
            continue
        chapter = await told_until(store, StoreFailed)
        await goes_on(world, chapter, chapters)
        if chapter == len(STORY):
            return


def away() -> Iterator[int]:
    """Every third step, which meets each sort of them."""
    return count(1, 3)
