"""Promise: passing faults are tried again with growing, random pauses; nothing else is, and never for ever."""

import asyncio

import pytest

from agent.storage.protocol import Denied, NotFound, StorageError, Transient, Truncated
from agent.storage.retrying import Policy, Retrying
from tests.fast.storage.memory import MemoryStorage


class Clockwork:
    """A clock that only sleeping moves, and a list of faults that the store will raise, one for each call."""

    def __init__(self, *faults: StorageError) -> None:
        self.faults = list(faults)
        self.slept: list[float] = []
        self.now = 0.0
        self.calls = 0
        self.retried: list[str] = []

    async def hook(self, verb: str, key: str) -> None:
        self.calls += 1
        if self.faults:
            raise self.faults.pop(0)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def store(self, policy: Policy | None = None) -> Retrying:
        return Retrying(
            MemoryStorage(hook=self.hook),
            policy,
            clock=lambda: self.now,
            sleep=self.sleep,
            part=lambda: 1.0,
            on_retry=lambda verb, fault: self.retried.append(verb),
        )


async def test_a_passing_fault_is_forgiven() -> None:
    """Promise: a fault that passes is seen by nobody but the counters."""
    works = Clockwork(Transient("one"), Transient("two"))
    store = works.store()
    assert (await store.put("a", [b"x"])).created
    assert works.slept == [0.2, 0.4]
    assert works.retried == ["put", "put"]


async def test_tries_are_counted_and_the_last_fault_is_told() -> None:
    """Promise: the tries end, and the last fault is what is said."""
    works = Clockwork(*[Transient(str(number)) for number in range(20)])
    with pytest.raises(Transient, match=r"^5$"):
        await works.store().head("a")
    assert works.calls == 6


async def test_a_pause_never_leads_past_the_deadline() -> None:
    """Promise: nobody sleeps past the time that was given."""
    works = Clockwork(*[Transient(str(number)) for number in range(99)])
    with pytest.raises(Transient):
        await works.store(Policy(attempts=99, deadline=30.0)).get("a")
    assert 20 <= works.now <= 30


async def test_a_slow_try_does_not_use_up_the_patience() -> None:
    """Under a limit a piece may take minutes: a reset at its end is forgiven all the same."""
    works = Clockwork()
    faults = [Transient("reset")]

    async def hook(verb: str, key: str) -> None:
        works.now += 600
        if faults:
            raise faults.pop()

    store = Retrying(MemoryStorage(hook=hook), clock=lambda: works.now, sleep=works.sleep)
    assert (await store.put("a", [b"x"])).created


@pytest.mark.parametrize("fault", [Denied("no"), NotFound("no"), StorageError("no")])
async def test_what_will_not_pass_is_not_tried_again(fault: StorageError) -> None:
    """Promise: a refusal is told at once."""
    works = Clockwork(fault)
    with pytest.raises(type(fault)):
        await works.store().get("a")
    assert works.calls == 1
    assert works.slept == []


async def test_the_store_may_ask_for_a_longer_pause() -> None:
    """Promise: a store's Retry-After is kept."""
    works = Clockwork(Transient("slow down", retry_after=7.0))
    await works.store().delete(["a"])
    assert works.slept == [7.0]


async def test_the_pause_is_a_random_part_of_the_doubling_time() -> None:
    """Full jitter: a hundred nodes that fail together do not come back together."""
    works = Clockwork(Transient("1"), Transient("2"))
    store = Retrying(MemoryStorage(hook=works.hook), clock=lambda: 0.0, sleep=works.sleep, part=lambda: 0.25)
    await store.head("a")
    assert works.slept == [0.05, 0.1]


async def test_an_object_that_is_shorter_for_good_is_asked_for_once() -> None:
    """A cut answer is tried again; a store that tells the whole size and has no more is believed."""
    works = Clockwork(Truncated("cut"))
    store = works.store()
    await store.put("a", [b"12345"], replace=True)
    calls = works.calls
    with pytest.raises(Truncated):
        await store.get("a", 3, 3)
    assert works.calls == calls + 1


async def test_a_cancelled_task_does_not_try_again() -> None:
    """Promise: a cancel ends the tries."""
    calls = 0
    waiting = asyncio.Event()

    async def hook(verb: str, key: str) -> None:
        nonlocal calls
        calls += 1
        raise Transient("again and again")

    async def sleep(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    store = Retrying(MemoryStorage(hook=hook), sleep=sleep)
    task = asyncio.ensure_future(store.head("a"))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls == 1


async def test_a_listing_goes_on_behind_the_last_key() -> None:
    """A fault in the midst of it repeats no key, loses none, and each page renews the patience."""
    works = Clockwork()
    inner = MemoryStorage()
    for number in range(3500):
        await inner.put(f"k{number:04d}", [])
    pages = 0

    async def hook(verb: str, key: str) -> None:
        nonlocal pages
        pages += 1
        if pages in (2, 5, 9):
            raise Transient("cut")

    inner._hook = hook
    retried: list[str] = []
    store = Retrying(inner, Policy(attempts=2), sleep=works.sleep, on_retry=lambda verb, fault: retried.append(verb))
    assert [entry.key async for entry in store.list("k")] == [f"k{number:04d}" for number in range(3500)]
    assert retried == ["list"] * 3
