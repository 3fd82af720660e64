"""Leases over tables in memory, in virtual time: holders with clocks of their own, pauses, deaths and lost answers."""

import asyncio
import contextlib
import random
from pathlib import Path

import pytest

from coordinator.store import leases as lengths
from coordinator.store.cassandra import leases as kept_leases
from coordinator.store.cassandra.leases import CassandraLeases
from coordinator.store.cassandra.partitions import Partitions
from coordinator.store.database import StoreFailed
from coordinator.store.leases import KeptLease, Lease, may_take
from coordinator.store.sqlite import SqliteStore
from tests.cluster.tables_in_memory import Outcome, TablesInMemory, World
from tests.simulation.loop import VirtualLoop

LENGTH = 10.0
HOURS = 3600.0


class Holder:
    """A coordinator that drives the cluster whenever it may. Its clock is `rate` as quick as time, from any time on."""

    def __init__(self, name: str, dice: random.Random, world: World, everybody: list["Holder"]) -> None:
        self.name = name
        self._dice = dice
        self._everybody = everybody
        self._rate = dice.uniform(0.93, 1.07)
        self._offset = dice.uniform(-1e6, 1e6)
        self._lost = dice.choice((0.0, 0.1, 0.4))
        tables = TablesInMemory(world, self._fate, self._turn)
        self._leases = CassandraLeases(Partitions(tables, LENGTH / 3, self.clock), self.clock)
        self.lease: Lease | None = None
        self.deeds: list[tuple[float, int]] = []

    def clock(self) -> float:
        """Its own."""
        return self._offset + asyncio.get_running_loop().time() * self._rate

    def may_act(self) -> bool:
        """By its own clock."""
        return self.lease is not None and self.lease.is_held(self.clock())

    async def live(self, until: float) -> None:
        """Take, act, renew; be stopped for a while now and then, give it back now and then."""
        while asyncio.get_running_loop().time() < until:
            with contextlib.suppress(StoreFailed):  # nothing was renewed: what is held goes on until its time
                await self._turn_at_it()
            await asyncio.sleep(self._dice.uniform(0, LENGTH / 6))
            self._act()

    async def _turn_at_it(self) -> None:
        if self.lease is None or not self.may_act():
            self.lease = None
            self.lease = await self._leases.take("c", self.name, LENGTH)
        elif self._dice.random() < 0.05:
            lease, self.lease = self.lease, None
            await self._leases.release(lease)
        else:
            self.lease = await self._leases.renew(self.lease, LENGTH)
        self._act()

    def _act(self) -> None:
        if self.lease is None or not self.may_act():
            return
        assert [other.name for other in self._everybody if other is not self and other.may_act()] == []
        self.deeds.append((asyncio.get_running_loop().time(), self.lease.fence))

    def _fate(self, number: int, call: str) -> Outcome:
        lost = self._dice.random() < self._lost
        return self._dice.choice((Outcome.LOST_BEFORE, Outcome.LOST_AFTER)) if lost else Outcome.DONE

    async def _turn(self) -> None:
        stopped = self._dice.uniform(0, 4 * LENGTH) if self._dice.random() < 0.02 else 0.0
        await asyncio.sleep(self._dice.expovariate(20) + stopped)


def lived(seed: int) -> list[Holder]:
    """Two or three holders after some hours, of whom some died."""
    dice = random.Random(seed)
    world, everybody = World(), list[Holder]()
    everybody += [Holder(f"h{number}", dice, world, everybody) for number in range(dice.choice((2, 3)))]

    async def live() -> None:
        until = [HOURS, *(dice.choice((HOURS, HOURS / 2, HOURS / 5)) for _ in everybody[1:])]
        await asyncio.gather(*(holder.live(end) for holder, end in zip(everybody, until, strict=True)))

    async def end() -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    loop = VirtualLoop(lambda: 0.0, 0.0)
    try:
        loop.run_until_complete(live())
    finally:
        loop.run_until_complete(end())
        loop.close()
    return everybody


@pytest.mark.parametrize("seed", range(8))
def test_never_two_at_once_and_the_fence_never_goes_back(seed: int) -> None:
    """Promise: whoever may act by its own clock is alone, whatever the clocks say, whoever is stopped or dies, whatever
    answers are lost; what is done later bears no lower fence, and nobody's turn is for ever."""
    everybody = lived(seed)
    deeds = sorted((at, fence, holder.name) for holder in everybody for at, fence in holder.deeds)
    fences = [fence for _, fence, _ in deeds]
    assert fences == sorted(fences)
    assert len({(fence, name) for _, fence, name in deeds}) == len(set(fences))
    assert len(set(fences)) > 3
    assert max(at for at, _, _ in deeds) > HOURS - 20 * LENGTH


def test_a_holder_that_counted_too_long_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: the simulation looks where it would hurt: a lease that is acted by for longer than it is kept makes two
    holders."""
    monkeypatch.setattr(kept_leases, "HELD_SHARE", 1.3)
    broken = 0
    for seed in range(8):
        try:
            lived(seed)
        except AssertionError:
            broken += 1
    assert broken > 0


def test_when_a_lease_can_be_taken() -> None:
    """Promise: at once if nobody ever had it, if it was given back or is one's own; else after its whole length."""
    held = KeptLease("h1", 4, LENGTH)
    assert may_take(None, "h2", 0.0)
    assert may_take(KeptLease("", 4, 0.0), "h2", 0.0)
    assert may_take(held, "h1", 0.0)
    assert not may_take(held, "h2", LENGTH - 0.001)
    assert may_take(held, "h2", LENGTH)
    assert lengths.HELD_SHARE < 1


async def test_what_is_given_back_is_taken_at_once_and_a_lost_one_is_not_renewed() -> None:
    """Promise: a coordinator that ends in order keeps nobody waiting; one whose lease went to another hears of it."""
    world, now = World(), [0.0]

    def leases() -> CassandraLeases:
        return CassandraLeases(Partitions(TablesInMemory(world), 5.0), lambda: now[0])

    first, second = leases(), leases()
    lease = await first.take("c", "h1", LENGTH)
    assert lease is not None
    assert lease.fence == 1
    assert await second.take("c", "h2", LENGTH) is None
    assert await second.take("other", "h2", LENGTH) is not None
    await first.release(lease)
    later = await second.take("c", "h2", LENGTH)
    assert later is not None
    assert later.fence == 2
    assert await first.renew(lease, LENGTH) is None
    await first.release(lease)
    assert await first.take("c", "h1", LENGTH) is None
    now[0] += LENGTH
    assert not later.is_held(now[0])
    taken = await first.take("c", "h1", LENGTH)
    assert taken is not None
    assert taken.fence == 3
    assert await second.renew(later, LENGTH) is None


async def test_alone_in_a_directory_it_is_always_ones_turn(tmp_path: Path) -> None:
    """Promise: with SQLite nothing waits, and the fence grows over restarts all the same."""
    fences = []
    for _ in range(2):
        store = await SqliteStore.open(tmp_path / "state", now=0.0)
        lease = await store.leases.take("c", "h1", LENGTH)
        assert lease is not None
        assert lease.is_held(1e12)
        assert await store.leases.renew(lease, LENGTH) == lease
        await store.leases.release(lease)
        fences.append(lease.fence)
        await store.close()
    assert fences == [1, 2]
