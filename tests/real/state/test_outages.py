"""A state in a real Cassandra that freezes, restarts, or isn't there: writes are whole, fail by name, and go on."""

import asyncio
from pathlib import Path

import pytest

from coordinator.model.requests import RequestState
from coordinator.model.settings import StateSettings
from coordinator.store.cassandra.connecting import connected
from coordinator.store.cassandra.errors import StateSetDifferently, StateTooNew, StoreUnreachable
from coordinator.store.opening import CassandraAccess, open_state
from coordinator.store.protocol import Store
from coordinator.store.sealing import Seal, StateKeyWrong
from coordinator.store.sqlite import SqliteStore
from kit.secret import Secret
from tests.cluster.scratch import ScratchCluster
from tests.cluster.store_samples import CLUSTER, NOW, event, place, request
from tests.real.state.conftest import KEY, CassandraSite, settings_of

DEADLINE = 300


def impatient(cluster: ScratchCluster) -> StateSettings:
    """Settings with which a store soon gives up."""
    return settings_of(cluster, request_seconds=1.0, connect_seconds=1.0, patience_seconds=3.0)


async def written(store: Store, first: int) -> int:
    """Pairs of steps, one after the other, until the store can't be reached; the first that wasn't acknowledged."""
    for number in range(first, 1_000_000):
        try:
            await store.requests.record_steps("r1", {"a": {"n": number}, "b": {"n": number}})
        except StoreUnreachable:
            return number
    raise AssertionError("never refused")


async def pair(store: Store) -> tuple[int, int]:
    first, second = [await store.requests.step("r1", name) for name in ("a", "b")]
    assert first is not None
    assert second is not None
    return first["n"], second["n"]


async def test_a_node_that_freezes_amid_a_write_leaves_no_half(site: CassandraSite, state_node: ScratchCluster) -> None:
    """Promise: frozen at any moment of a write, the state fails by name within its patience; awake again it holds the
    write whole or not at all, and the same store goes on."""
    node, number = state_node.nodes[0], 0
    site.settings = impatient(state_node)
    store = await site.open()
    for after in (0.0, 0.013, 0.031):
        writing = asyncio.create_task(written(store, number))
        await asyncio.sleep(0.3 + after)
        node.pause()
        try:
            async with asyncio.timeout(DEADLINE):
                failed = await writing
        finally:
            node.resume()
        async with asyncio.timeout(DEADLINE):
            while True:
                try:
                    kept = await pair(store)
                    break
                except StoreUnreachable:
                    continue
        assert kept in ((failed - 1, failed - 1), (failed, failed))
        number = failed


async def test_a_short_freeze_is_waited_out(site: CassandraSite, state_node: ScratchCluster) -> None:
    """Promise: within the patience a write is found out and done once; a fence that was given isn't given again."""
    node = state_node.nodes[0]
    site.settings = settings_of(state_node, request_seconds=1.0, patience_seconds=120.0)
    store = await site.open()
    await store.requests.create(request("r1"), [event("r1")])
    fence = await store.commands.next_fence("r1")
    node.pause()
    done = request("r1", state=RequestState.SUCCESS, finished=NOW)
    works = asyncio.gather(
        store.requests.finish(done, [], [event("r1", None, "success")]), store.commands.next_fence("r1")
    )
    await asyncio.sleep(4)
    node.resume()
    async with asyncio.timeout(DEADLINE):
        _, later = await works
    assert later > fence
    assert await store.requests.find(cluster=CLUSTER) == [done]
    assert [each.status for each in await store.requests.events(CLUSTER)] == ["success"]


async def test_a_start_waits_for_cassandra_and_a_running_store_comes_back(
    site: CassandraSite, state_node: ScratchCluster, tmp_path: Path
) -> None:
    """Promise: stopped and started again, Cassandra finds the store that runs going on by itself; a coordinator that is
    started meanwhile says that it waits, and serves when the state is there."""
    node = state_node.nodes[0]
    site.settings = impatient(state_node)
    store = await site.open()
    await store.requests.create(request("r1"), [event("r1")])
    await node.stop()  # not killed: the only replica would lose what it had not synced, as its settings allow
    with pytest.raises(StoreUnreachable):
        await store.requests.update(request("r1", message="lost"))
    said: list[str] = []
    told_twice = asyncio.Event()

    def waiting(why: str, seconds: float) -> None:
        said.append(why)
        if len(said) == 2:
            told_twice.set()

    access = CassandraAccess(site.settings, Seal(KEY), Secret("k"), None, None)
    starting = asyncio.create_task(open_state(access, tmp_path, SqliteStore, now=NOW, waiting=waiting))
    async with asyncio.timeout(DEADLINE):
        await told_twice.wait()
        await node.start()
        started = await starting
        assert await started.requests.get("r1") in (request("r1"), request("r1", message="lost"))
        await started.close()
        while True:
            try:
                await store.requests.update(request("r1", message="going on"))
                break
            except StoreUnreachable:
                continue
    assert await store.requests.get("r1") == request("r1", message="going on")


async def test_coordinators_that_start_at_once_make_one_schema(state_node: ScratchCluster) -> None:
    """Promise: the keyspace and its tables are made once, whoever comes first, and all begin with one key."""
    settings = settings_of(state_node, "made_at_once")
    stores = await asyncio.gather(*(connected(settings, Seal(KEY), None, None) for _ in range(4)))
    await stores[0].destinations.put(place("d1"))
    assert [await store.destinations.all(CLUSTER) for store in stores] == [[place("d1")]] * 4
    for store in stores:
        await store.close()
    with pytest.raises(StateKeyWrong):
        await connected(settings, Seal(b"x" * 32), None, None)
    other = settings_of(state_node, "made_at_once", quorum="local_dc", local_dc=state_node.nodes[0].spec.dc)
    with pytest.raises(StateSetDifferently):
        await connected(other, Seal(KEY), None, None)
    session = await state_node.session()
    session.execute("UPDATE made_at_once.meta SET version = 99 WHERE name = 'schema'")
    with pytest.raises(StateTooNew):
        await connected(settings, Seal(KEY), None, None)
    session.execute("DROP KEYSPACE made_at_once")
