"""Two coordinators on one state in Cassandra, over tables in memory: their steps in any order, some answers lost."""

import asyncio
import random

import pytest

from coordinator.model.destinations import Destination
from coordinator.model.requests import RequestState
from coordinator.store.cassandra import patience
from coordinator.store.cassandra.store import CassandraStore
from coordinator.store.protocol import Store
from coordinator.store.sealing import Seal, StateKeyWrong
from tests.cluster.store_contract_people import session, user
from tests.cluster.store_samples import AT, CLUSTER, NOW, command, event, place, request
from tests.cluster.tables_in_memory import Outcome, TablesInMemory, World

KEY = Seal(b"k" * 32)
SEEDS = range(30)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a store in memory need not be long."""
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.0005)
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.002)


async def both(seed: int) -> tuple[Store, Store]:
    """Two stores on a new world, whose steps take turns as the dice say; one answer in ten is lost."""
    dice = random.Random(seed)
    world = World()

    async def turn() -> None:
        for _ in range(dice.randrange(4)):
            await asyncio.sleep(0)

    def fate(number: int, call: str) -> Outcome:
        return dice.choice((Outcome.LOST_BEFORE, Outcome.LOST_AFTER)) if dice.random() < 0.1 else Outcome.DONE

    first, second = [await CassandraStore.open(TablesInMemory(world, fate, turn), KEY, patience=30.0) for _ in range(2)]
    return first, second


@pytest.mark.parametrize("seed", SEEDS)
async def test_one_of_two_ends_wins_and_takes_its_own_along(seed: int) -> None:
    """Promise: of two coordinators that end a request differently one does, with its parts, events and forgotten
    destinations, and a cancel that was kept stands in it."""
    first, second = await both(seed)
    for each in ("d1", "d2"):
        await first.destinations.put(place(each))
    await first.requests.create(request("r1"), [event("r1")])
    good = request("r1", state=RequestState.SUCCESS, finished=NOW + 1)
    bad = request("r1", state=RequestState.ERROR, finished=NOW + 2)
    _, _, asked, _ = await asyncio.gather(
        first.requests.finish(good, [], [event("r1", None, "success")], ["d1"]),
        second.requests.finish(bad, [], [event("r1", None, "error")], ["d2"]),
        second.requests.ask_cancel("r1", force=True),
        first.requests.update(request("r1", message="going on")),
    )
    ended = await second.requests.get("r1")
    assert ended is not None
    assert asked is not None
    won = ended.state is RequestState.SUCCESS
    for store in (first, second):
        assert [each.id for each in await store.destinations.all(CLUSTER)] == (["d2"] if won else ["d1"])
        assert [each.status for each in await store.requests.events(CLUSTER)] == ["success" if won else "error"]
        assert await store.requests.find(state=RequestState.RUNNING) == []
        assert await store.requests.find(cluster=CLUSTER) == [ended]
    if asked.state is RequestState.RUNNING:
        assert ended.cancel == "force"


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_is_given_twice(seed: int) -> None:
    """Promise: tags and fences are each coordinator's own, and a later fence is higher."""
    first, second = await both(seed)
    stores = [first, second] * 4
    tags = await asyncio.gather(*(store.requests.claim_tag(CLUSTER, "adhoc", AT) for store in stores))
    assert len(set(tags)) == len(tags)

    async def fences(store: Store) -> list[int]:
        return [await store.commands.next_fence("r1") for _ in range(4)]

    given = await asyncio.gather(fences(first), fences(second))
    assert len({*given[0], *given[1]}) == 8
    assert all(each == sorted(each) for each in given)


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_both_write_is_whole(seed: int) -> None:
    """Promise: steps recorded together stand together, commands put by both are all there and owe what they owe, the
    newest revision of a destination stays."""
    first, second = await both(seed)

    async def write(store: Store, number: int) -> None:
        await store.requests.create(request("r1"), [event("r1")])
        await store.requests.record_steps("r1", {"a": {"by": number}, "b": {"by": number}})
        await store.commands.put([command(f"c{number}", cancel_owed=True), command(f"e{number}")])
        await store.destinations.put(place("d1", 1 + number))

    await asyncio.gather(write(first, 1), write(second, 2))
    assert await first.requests.step("r1", "a") == await second.requests.step("r1", "b")
    assert {each.id for each in await first.commands.of("r1")} == {"c1", "e1", "c2", "e2"}
    assert {each.id for each in await second.commands.cancels_owed()} == {"c1", "c2"}
    kept: Destination | None = await first.destinations.get(CLUSTER, "d1")
    assert kept is not None
    assert kept.revision == 3
    assert await second.requests.events(CLUSTER) == [event("r1")]
    assert len(await second.requests.find(cluster=CLUSTER)) == 1


async def test_another_key_is_refused_and_no_secret_stands_open() -> None:
    """Promise: who has another key file doesn't start, and a sealed destination opens in no other's place."""
    world = World()
    store = await CassandraStore.open(TablesInMemory(world), KEY, patience=30.0)
    for each in ("d1", "d2"):
        await store.destinations.put(place(each))
    kept = str(world.records) + str(world.entries) + str(world.pieces)
    assert "s3cret" not in kept
    assert "bucket" not in kept
    with pytest.raises(StateKeyWrong):
        await CassandraStore.open(TablesInMemory(world), Seal(b"x" * 32), patience=30.0)
    rows = next(record.rows for key, record in world.records.items() if key.kind == "places")
    rows["destination", "d1"], rows["destination", "d2"] = rows["destination", "d2"], rows["destination", "d1"]
    for where, row in list(rows.items()):
        rows[where] = type(row)(where[0], where[1], row.data, row.position, row.mark)
    with pytest.raises(StateKeyWrong):
        await store.destinations.get(CLUSTER, "d1")


async def test_who_asks_is_found_out_by_plain_reads() -> None:
    """Promise: the two looks of each call of the API that has a session are no rounds of Paxos, and a user who was
    disabled and a session that was ended by another coordinator are seen as such at the next."""
    calls: list[str] = []

    def fate(number: int, call: str) -> Outcome:
        calls.append(call)
        return Outcome.DONE

    world = World()
    first = await CassandraStore.open(TablesInMemory(world, fate), KEY, patience=30.0)
    second = await CassandraStore.open(TablesInMemory(world), KEY, patience=30.0)
    await second.users.add(user("ada"))
    await second.sessions.put(session("k1", NOW + 60))
    calls.clear()
    assert await first.users.any()
    assert (await first.sessions.get("k1"), await first.users.get("ada")) == (session("k1", NOW + 60), user("ada"))
    assert calls == ["glance"] * 3
    await second.sessions.remove("k1")
    await second.users.replace(user("ada"), None, admin_stays=False)
    assert (await first.sessions.get("k1"), await first.users.get("ada")) == (None, None)
