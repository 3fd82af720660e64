"""Scrub and heal over a store in memory: what is damaged is found, named, noted, and put anew by the next backup."""

from pathlib import Path

import pytest

from agent.model.job import Outcome
from agent.repository.keys import manifest_key, plan_key, record_key
from agent.wire.commands import DeleteArguments, ScrubArguments, State
from agent.wire.results import ScrubResult
from tests.fast.jobs.agent_in_memory import CLUSTER, Agent, Command, Faults, MemoryReader, target
from tests.fast.jobs.clock import Clock
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup, same
from tests.fast.jobs.test_crashes import until_crash
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle

DAY = 86_400.0


async def scrub(agent: Agent, *, whole: bool = True, command: str = "scrub") -> tuple[Outcome, ScrubResult]:
    """The outcome of a scrub, and its result."""
    outcome = await agent.scrub.run(Command(command, ScrubArguments(target(), whole)))
    assert isinstance(outcome.result, ScrubResult)
    return outcome, outcome.result


def objects(store: MemoryStorage) -> dict[str, bytes]:
    """The data objects."""
    return {key: body for key, (body, _) in store._objects.items() if "/data/" in key}


def large(store: MemoryStorage) -> str:
    """The key of the largest object: a piece of shop.orders' first Data.db."""
    return max(objects(store), key=lambda key: len(objects(store)[key]))


def change(store: MemoryStorage, key: str, body: bytes) -> None:
    store._objects[key] = (body, store._objects[key][1])


def flipped(body: bytes, place: int) -> bytes:
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def noted(store: MemoryStorage) -> list[str]:
    return [key for key in store._objects if "/damaged/" in key]


async def test_a_sound_repository_is_read_whole(agent: Agent, store: MemoryStorage) -> None:
    """Promise: every object is read once, nothing is found or changed."""
    await agent.backup.run(backup("t1"))
    before = dict(store._objects)
    outcome, result = await scrub(agent)
    assert outcome.state is State.SUCCESS
    assert (result.objects, result.bytes) == (len(objects(store)), sum(map(len, objects(store).values())))
    assert (result.manifests, result.slices, result.damaged, result.missing, result.places) == (1, 256, 0, 0, [])
    assert store._objects == before


@pytest.mark.parametrize("place", [0, 4, 5, 6, 7, 8, 19, 20, 1_000_000, -40, -1])
async def test_one_flipped_byte_is_found_named_and_healed(
    agent: Agent, node: Node, store: MemoryStorage, place: int
) -> None:
    """Promise: wherever it is in an object, the scrub names backup, keyspace, table and file; the next backup puts the
    object anew though its size was right, and the note goes."""
    await agent.backup.run(backup("t1"))
    key = large(store)
    right = objects(store)[key]
    change(store, key, flipped(right, place % len(right)))
    outcome, result = await scrub(agent)
    assert outcome.state is State.PARTIAL
    assert outcome.error is not None
    assert outcome.error["code"] == "repository_damaged"
    assert (result.damaged, result.missing) == (1, 0)
    [found] = result.places
    assert (found.tag, found.keyspace, found.table, found.key) == ("t1", "shop", "orders", key)
    assert found.file == "nb-1-big-Data.db"
    assert len(noted(store)) == 1
    healing = await agent.backup.run(backup("t2"))
    assert healing.state is State.SUCCESS
    [warning] = healing.result.targets["d1"].warnings  # type: ignore[attr-defined]
    assert key in warning
    assert objects(store)[key] == right
    assert noted(store) == []
    oracle = Oracle(MemoryReader(store))
    oracle.expect("t1", [HOST])
    oracle.expect("t2", [HOST])
    assert same(oracle.check()["t1", HOST], node)
    assert (await scrub(agent, command="again"))[0].state is State.SUCCESS


async def test_two_swapped_objects_are_found(agent: Agent, store: MemoryStorage) -> None:
    """Promise: an object in another one's place has a right footer and is found all the same."""
    await agent.backup.run(backup("t1"))
    first, second, *_ = objects(store)
    bodies = objects(store)
    change(store, first, bodies[second])
    change(store, second, bodies[first])
    _, result = await scrub(agent)
    assert result.damaged == 2
    assert {place.key for place in result.places} == {first, second}


async def test_a_missing_object_is_named_and_healed(agent: Agent, node: Node, store: MemoryStorage) -> None:
    """Promise: what a manifest names and is not there is told without anything being read but manifests."""
    await agent.backup.run(backup("t1"))
    key = large(store)
    del store._objects[key]
    outcome, result = await scrub(agent, whole=False)
    assert outcome.state is State.PARTIAL
    assert (result.damaged, result.missing) == (0, 1)
    assert [(one.keyspace, one.table, one.key, one.reason) for one in result.places] == [
        ("shop", "orders", key, "missing")
    ]
    await agent.backup.run(backup("t2"))
    assert key in objects(store)
    assert noted(store) == []


async def test_what_was_deleted_is_not_missed(agent: Agent, store: MemoryStorage) -> None:
    """Promise: only undeleted backups need their objects; a note of an object that is gone for good goes."""
    await agent.backup.run(backup("t1"))
    key = large(store)
    change(store, key, b"cut")
    assert (await scrub(agent))[1].damaged == 1
    await agent.delete.run(Command("d", DeleteArguments("t1", target())))
    for name in objects(store):
        del store._objects[name]
    outcome, result = await scrub(agent, command="after")
    assert outcome.state is State.SUCCESS
    assert (result.healed, noted(store)) == (1, [])


async def test_damage_that_no_backup_needs_is_not_reused(agent: Agent, node: Node, store: MemoryStorage) -> None:
    """Promise: an object that only a deleted backup named is noted too, for the next backup would reuse it."""
    await agent.backup.run(backup("t1"))
    key = large(store)
    right = objects(store)[key]
    await agent.delete.run(Command("d", DeleteArguments("t1", target())))
    change(store, key, flipped(right, 500))
    _, result = await scrub(agent)
    assert (result.damaged, result.places) == (1, [])
    await agent.backup.run(backup("t2"))
    assert objects(store)[key] == right


@pytest.mark.parametrize(
    "key", [manifest_key(CLUSTER, "t1", HOST), plan_key(CLUSTER, "t1"), record_key(CLUSTER, "t1", 0)]
)
async def test_what_is_wrong_beside_the_objects_is_told(agent: Agent, store: MemoryStorage, key: str) -> None:
    """Promise: a manifest, a plan or a record that can't be read is named, and the rest is read all the same."""
    await agent.backup.run(backup("t1"))
    await agent.backup.run(backup("t2"))
    body = store._objects[key][0][:-5] if key in store._objects else b"{not a record"
    store._objects[key] = (body, 1.0)
    outcome, result = await scrub(agent)
    assert outcome.state is State.PARTIAL
    assert [(place.tag, place.key, place.reason) for place in result.places] == [("t1", key, "manifest_invalid")]
    assert result.objects == len(objects(store))


async def test_a_passing_fault_is_no_damage(
    agent: Agent, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: what arrives wrong once and right the second time is not stored wrong."""
    await agent.backup.run(backup("t1"))
    key = large(store)
    get = store.get
    spoiled: list[str] = []

    async def spoil(name: str, start: int = 0, length: int | None = None, **more: object) -> bytes:
        body = await get(name, start, length)
        if name == key and not spoiled:
            spoiled.append(name)
            return flipped(body, 100)
        return body

    monkeypatch.setattr(store, "get", spoil)
    outcome, _ = await scrub(agent)
    assert spoiled
    assert outcome.state is State.SUCCESS
    assert noted(store) == []


async def test_daily_scrubs_read_everything_within_the_period(agent: Agent, store: MemoryStorage) -> None:
    """Promise: thirty days of shares and not one object is unread; the age of the oldest unread byte says so."""
    store._clock.now = 2_000_000.0  # type: ignore[attr-defined]
    await agent.backup.run(backup("t1"))
    read = 0
    for day in range(30):
        agent.now = 2_100_000.0 + day * DAY
        _, result = await scrub(agent, whole=False, command=f"day {day}")
        read += result.objects
        assert result.slices < 12
    assert read >= len(objects(store))
    assert result.oldest_unread_seconds is not None
    assert result.oldest_unread_seconds < 30 * DAY
    [note] = agent.scrub_notes.all()
    assert None not in note.read


async def test_a_scrub_lets_others_go_first(agent: Agent, store: MemoryStorage) -> None:
    """Promise: while another command uses the destination not one object is read, and the command says why."""
    await agent.backup.run(backup("t1"))
    agent.busy.add("d1")

    async def ended(seconds: float) -> None:
        agent.busy.clear()

    agent.on_sleep.append(ended)
    command = Command("scrub", ScrubArguments(target(), True))
    await agent.scrub.run(command)
    [why, on] = command.waits
    assert why is not None
    assert why["code"] == "scrub_yields"
    assert on is None


async def test_a_scrub_killed_before_any_operation_is_finished_by_the_resume(tmp_path: Path) -> None:
    """Promise: kill -9 anywhere in a scrub changes nothing but notes; the resume finds the same, and reads no slice
    again that was read."""
    faults = Faults()
    node = Node(tmp_path / "node")
    node.sstable("shop", "orders", 1, 1_300_000)
    node.sstable("many", "t1", 1, 500)
    whole = MemoryStorage(clock=Clock(), hook=faults)
    agent = Agent(node, {"d1": whole}, tmp_path / "state")
    await agent.backup.run(backup("t1"))
    agent.close()
    change(whole, large(whole), flipped(objects(whole)[large(whole)], 1_000))
    before = dict(whole._objects)
    crashes, at = True, 0
    while crashes:
        at += 7  # some 800 operations, most of them lists of empty slices
        store = MemoryStorage(clock=Clock(), hook=faults)
        store._objects.update(before)
        command = Command("s", ScrubArguments(target(), True))
        faults.begin(at)
        state = tmp_path / f"state {at}"
        crashes = await until_crash(Agent(node, {"d1": store}, state), command, "scrub")
        assert {key: store._objects[key] for key in before} == before
        faults.begin(None)
        last = Agent(node, {"d1": store}, state)
        done = [note.read.count(None) for note in last.scrub_notes.all()]
        outcome = await last.scrub.run(command)
        last.close()
        assert isinstance(outcome.result, ScrubResult)
        assert outcome.result.damaged == 1
        assert [place.tag for place in outcome.result.places if place.file] == ["t1"]
        assert len(noted(store)) == 1
        if done:
            assert faults.count < 60 + 2 * done[0] + 40
    assert at > 250


async def test_a_healing_backup_killed_anywhere_heals(tmp_path: Path) -> None:
    """Promise: killed before any operation, the object is either wrong with its note or right; the resume ends with it
    right and no note."""
    faults = Faults()
    node = Node(tmp_path / "node")
    node.sstable("shop", "orders", 1, 1_300_000)
    whole = MemoryStorage(clock=Clock(), hook=faults)
    agent = Agent(node, {"d1": whole}, tmp_path / "state")
    await agent.backup.run(backup("t1"))
    key = large(whole)
    right = objects(whole)[key]
    change(whole, key, flipped(right, 1_000))
    await scrub(agent)
    agent.close()
    before = dict(whole._objects)
    crashes, at = True, 0
    while crashes:
        at += 1
        store = MemoryStorage(clock=Clock(), hook=faults)
        store._objects.update(before)
        command = backup("t2")
        faults.begin(at)
        crashes = await until_crash(Agent(node, {"d1": store}, tmp_path / "state"), command, "backup")
        assert noted(store) or objects(store)[key] == right
        faults.begin(None)
        last = Agent(node, {"d1": store}, tmp_path / "state")
        await last.backup.run(command)
        last.close()
        assert objects(store)[key] == right
        assert noted(store) == []
    assert at > 12


async def test_every_backup_that_lost_something_is_told(
    agent: Agent, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: however few places are told, all tags are, by later scrubs of other slices as well; and when more is
    wrong than one scrub looks at, it says so."""
    monkeypatch.setattr("agent.jobs.scrub.scrub._MOST_PLACES", 1)
    for tag in ("t1", "t2", "t3"):
        await agent.backup.run(backup(tag))
    _, sound = await scrub(agent, command="sound")
    assert (sound.backups, sound.more_objects) == ([], False)
    for key in list(objects(store))[:3]:
        change(store, key, b"cut")
    _, found = await scrub(agent, command="whole")
    assert (found.backups, len(found.places), found.more_objects) == (["t1", "t2", "t3"], 1, False)
    _, later = await scrub(agent, whole=False, command="one slice")
    assert (later.backups, later.slices) == (["t1", "t2", "t3"], 1)
    monkeypatch.setattr("agent.jobs.scrub.scrub._MOST_SUSPECTS", 2)
    assert (await scrub(agent, command="cut"))[1].more_objects
