"""One object that a store doesn't give while it gives all others (a bad sector; an answer of 500 for one key)."""

import asyncio

import pytest

from agent.repository import discerning
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.keys import REPOSITORY, manifest_key, plan_key, record_key
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, StorageError, Transient
from agent.wire.commands import State
from tests.fast.jobs.agent_in_memory import CLUSTER, Agent
from tests.fast.jobs.agent_in_memory import REPOSITORY as REPOSITORY_ID
from tests.fast.jobs.node import HOST
from tests.fast.jobs.test_backup import backup
from tests.fast.jobs.test_scrub import change, flipped, large, noted, objects, scrub
from tests.fast.jobs.test_scrub_manifests import ended
from tests.fast.storage.memory import MemoryStorage


class BadSector:
    """Nobody reads `key`; with `all_of_it` nothing at all."""

    def __init__(self, store: MemoryStorage, key: str) -> None:
        self.key = key
        self.all_of_it = False
        self._before = store._hook
        store._hook = self

    async def __call__(self, verb: str, key: str) -> None:
        await self._before(verb, key)
        if verb == "get" and (key == self.key or self.all_of_it):
            raise Transient(f"Input/output error (get of {key!r})", key=key, errno="EIO")


async def test_an_object_that_nobody_can_read_is_damaged(agent: Agent, store: MemoryStorage) -> None:
    """Promise: it stops no scrub: it is named with its backup, what else is wrong is told beside it, and the next
    backup puts it anew."""
    await agent.backup.run(backup("t1"))
    bad = large(store)
    right = objects(store)[bad]
    other = next(key for key in sorted(objects(store), reverse=True) if key != bad)
    change(store, other, flipped(objects(store)[other], 30))
    sector = BadSector(store, bad)
    for number in range(2):
        outcome, result = await scrub(agent, command=f"s{number}")
        assert outcome.state is State.PARTIAL
        assert {place.key: place.reason for place in result.places} == {bad: "unreadable", other: "damaged"}
        assert result.damaged == 2
    assert len(noted(store)) == 2
    del store._objects[bad]  # as the put of the next backup finds other sectors for it
    sector.key = ""
    await agent.backup.run(backup("t2"))
    assert objects(store)[bad] == right
    assert (await scrub(agent, command="healed"))[0].state is State.SUCCESS


async def test_a_store_that_gives_nothing_has_lost_nothing(agent: Agent, store: MemoryStorage) -> None:
    """Promise: while it is away no object of it is called damaged, and no note is put."""
    await agent.backup.run(backup("t1"))
    BadSector(store, large(store)).all_of_it = True
    with pytest.raises(StorageError):
        await scrub(agent)
    assert noted(store) == []


async def test_while_it_waits_for_one_object_others_are_asked_for(
    agent: Agent, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: an answer to something else is what ends a command's patience with one object (LiveStorage)."""
    monkeypatch.setattr(discerning, "ASK_SECONDS", 0.01)
    await agent.backup.run(backup("t1"))
    bad, before, asked, enough = large(store), store._hook, list[str](), asyncio.Event()

    async def hook(verb: str, key: str) -> None:
        await before(verb, key)
        if (verb, key) == ("head", REPOSITORY):
            asked.append(key)
            if len(asked) == 3:
                enough.set()
        if verb == "get" and key == bad:
            async with asyncio.timeout(20):
                await enough.wait()
            raise Transient(f"no answer (get of {key!r})", key=key)

    store._hook = hook
    _, result = await scrub(agent)
    assert [place.reason for place in result.places] == ["unreadable"]
    assert len(asked) >= 3


SMALL = {
    "manifest": manifest_key(CLUSTER, "t1", HOST),
    "plan": plan_key(CLUSTER, "t1"),
    "record": record_key(CLUSTER, "t1", 1),
}


@pytest.mark.parametrize("kind", SMALL)
async def test_a_small_file_that_nobody_can_read_stops_no_scrub(agent: Agent, store: MemoryStorage, kind: str) -> None:
    """Promise: a manifest, plan or record of which the store gives nothing is named with its backup, and an object that
    is damaged beside it is found all the same."""
    await ended(agent, store, "t1", "t2")
    bad = large(store)
    change(store, bad, flipped(objects(store)[bad], 30))
    BadSector(store, SMALL[kind])
    outcome, result = await scrub(agent)
    assert outcome.state is State.PARTIAL
    assert {SMALL[kind]: "object_unreadable", bad: "damaged"}.items() <= {
        place.key: place.reason for place in result.places
    }.items()


async def test_a_record_that_nobody_can_read_hides_no_other_backup(agent: Agent, store: MemoryStorage) -> None:
    """Promise: listings show it without its record, and all others."""
    await ended(agent, store, "t1", "t2")
    BadSector(store, SMALL["record"])
    opened = discerning.discerning(OpenedRepository("d1", store, REPOSITORY_ID, CLUSTER, OPEN, 4))
    views = {view.tag: view.record for view in await Catalogue(opened, RecordCache()).listing()}
    assert (views["t1"], views["t2"] is None) == (None, False)
