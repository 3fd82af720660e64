"""Destinations that went with a request's end, killed half-way, and what is left when that request is forgotten."""

from itertools import count

from coordinator.model.requests import RequestState
from coordinator.store.cassandra.store import CassandraStore
from coordinator.store.keeping import KEEP_ACTIVITY_SECONDS
from coordinator.store.sealing import Seal
from tests.cluster.store_samples import CLUSTER, NOW, place, request
from tests.cluster.tables_in_memory import Killed, Outcome, TablesInMemory, World

KEY = Seal(b"k" * 32)


async def test_what_is_gone_stays_gone_when_its_request_is_forgotten() -> None:
    """Promise: killed at any step of a request's end, its destination is there or not; and no secret comes back a year
    later because nothing tells any more how the request ended."""
    for last in count():
        world = World()
        store = await CassandraStore.open(TablesInMemory(world), KEY, patience=30.0)
        await store.destinations.put(place("d1"))
        await store.requests.create(request("r1"))
        dead = TablesInMemory(world, lambda number, call, last=last: Outcome.DEAD if number >= last else Outcome.DONE)  # type: ignore[misc]
        done = request("r1", state=RequestState.SUCCESS, finished=NOW)
        ended = True
        try:
            dying = await CassandraStore.open(dead, KEY, patience=30.0)
            await dying.requests.finish(done, forget=["d1"])
        except (Killed, BaseExceptionGroup):
            ended = False
        there = await store.destinations.all(CLUSTER)
        assert not (ended and there)
        await store.prune(NOW + KEEP_ACTIVITY_SECONDS + 60)
        assert await store.destinations.all(CLUSTER) == there, f"killed at step {last}"
        if ended:
            return
