"""What a backup puts under object lock is held by the put itself: nothing is held a second time for it."""

import asyncio
from pathlib import Path

from agent.repository.keys import data_prefix
from agent.storage.protocol import Storage
from agent.wire.commands import State
from agent.wire.object_lock import DAY
from tests.fast.jobs.agent_in_memory import CLUSTER, Agent, Faults, Repositories
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup, same
from tests.fast.jobs.test_object_lock import LOCK, Site
from tests.fast.jobs.test_slow_destinations import Quick

DATA = data_prefix(CLUSTER, HOST)


class Watched(Faults):
    """Notes what is held; after some puts of data it takes none until it is let go."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.held: list[str] = []
        self.let_go = asyncio.Event()
        self.cancelled = 0
        self._left = most

    async def __call__(self, verb: str, key: str) -> None:
        await super().__call__(verb, key)
        if verb == "hold":
            self.held.append(key)
        if verb == "put" and key.startswith(DATA):
            self._left -= 1
            if self._left < 0 and not self.let_go.is_set():
                try:
                    await self.let_go.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
                    raise


async def test_what_was_just_put_costs_no_request_more(tmp_path: Path) -> None:
    """Promise: a first backup holds none of its objects; a later one those alone that an older one had put."""
    watched = Watched(1_000)
    site = Site(tmp_path, watched)
    await site.run("backup", backup("t0"))
    first = {key for key in site.place.objects if key.startswith(DATA)}
    assert [key for key in watched.held if key.startswith(DATA)] == []
    site.now += 3 * DAY
    site.node.sstable("shop", "orders", 2, 40_000)
    await site.run("backup", backup("t1"))
    held = {key for key in watched.held if key.startswith(DATA)}
    assert len(held) > 0
    assert held <= first
    assert await site.held_for("t1") >= LOCK.due(site.now)


async def test_nor_does_what_a_slow_destination_got_before_it_went_on_alone(node: Node, tmp_path: Path) -> None:
    """Promise: what the common pass had put there is not held again by the pass of its own."""
    for number in range(1, 31):
        node.sstable("bulk", "rows", number, 2_500_000)
    watched, quick = Watched(6), Quick()
    site = Site(tmp_path / "site", watched)
    stores: dict[str, Storage] = {"d1": quick, "d2": site.place}
    agent = Agent(node, {}, tmp_path / "state", repositories=Repositories(stores, {}, {"d2": site.lock}))
    running = asyncio.create_task(agent.backup.run(backup("t1", "d1", "d2")))
    async with asyncio.timeout(60):
        await quick.published.wait()
        assert watched.cancelled > 0
        watched.let_go.set()
        assert (await running).state is State.SUCCESS
    agent.close()
    assert [key for key in watched.held if key.startswith(DATA)] == []
    assert await site.held_for("t1") >= LOCK.due(site.now)
    assert same(site.oracle.check(idle=True)["t1", HOST], node)
