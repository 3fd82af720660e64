"""Collections that pass over what is here to stay."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from kit import garbage
from kit.garbage import keep_collections_short

DEADLINE = 20.0


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What a run of tests had set aside is set aside again."""
    yield
    gc.collect()
    gc.freeze()


class Ring:
    """A cycle, which only a collection frees."""

    freed = 0

    def __init__(self) -> None:
        self.own = self

    def __del__(self) -> None:
        Ring.freed += 1


async def freed(keeping: asyncio.Task[None]) -> None:
    """Wait for a ring to go, then end what keeps collections short."""
    async with asyncio.timeout(DEADLINE):
        while not Ring.freed:  # noqa: ASYNC110 - it is the collector that counts
            await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.wait([keeping])


async def test_what_lasts_is_passed_over_and_what_comes_later_is_not() -> None:
    """Promise: collections stay as short as what came since is small, and free it; at the end all is as before."""
    gc.unfreeze()  # as in a process of its own
    kept = [[number] for number in range(10_000)]
    before = gc.get_threshold()
    keeping = asyncio.create_task(keep_collections_short())
    await asyncio.sleep(0)
    assert len(gc.get_objects()) < len(kept)
    Ring.freed = 0
    Ring()
    gc.collect()
    assert Ring.freed == 1
    keeping.cancel()
    await asyncio.wait([keeping])
    assert len(gc.get_objects()) > len(kept)
    assert gc.get_threshold() == before


async def test_few_objects_are_walked_at_a_time() -> None:
    """Promise: while many objects come to stay, each collection walks a few thousand of them, and none walks all."""
    keeping = asyncio.create_task(keep_collections_short())
    await asyncio.sleep(0)
    full = gc.get_stats()[2]["collections"]
    walked: list[int] = []

    def told(phase: str, about: dict[str, int]) -> None:
        if phase == "start" and about["generation"] == 1:
            walked.append(len(gc.get_objects(0)) + len(gc.get_objects(1)))

    gc.callbacks.append(told)
    kept = [[number] for number in range(500_000)]
    gc.callbacks.remove(told)
    assert gc.get_stats()[2]["collections"] == full
    keeping.cancel()
    await asyncio.wait([keeping])
    assert len(kept) > 100 * len(walked) > 0
    assert max(walked) < 10_000


async def test_garbage_that_has_been_set_aside_goes_when_there_may_be_much_of_it() -> None:
    """Promise: a cycle that died after it was set aside is freed as soon as what is set aside has grown by much; while
    it has not it is left alone."""
    ring = Ring()
    Ring.freed = 0
    keeping = asyncio.create_task(keep_collections_short(look=0.01, grown=10_000))
    await asyncio.sleep(0.05)
    del ring
    full = gc.get_stats()[2]["collections"]
    await asyncio.sleep(0.1)
    assert gc.get_stats()[2]["collections"] == full
    kept = [[number] for number in range(20_000)]
    await freed(keeping)
    assert kept


async def test_what_others_had_set_aside_stays_so() -> None:
    """Promise: within a process that had set its own objects aside they are again at the end, and the garbage of what
    ran meanwhile is freed first."""
    kept = [[number] for number in range(10_000)]
    gc.freeze()
    keeping = asyncio.create_task(keep_collections_short())
    await asyncio.sleep(0)
    Ring.freed = 0
    Ring()
    gc.freeze()
    keeping.cancel()
    await asyncio.wait([keeping])
    assert Ring.freed == 1
    assert gc.get_freeze_count() > len(kept)
    assert len(gc.get_objects()) < len(kept)


async def test_what_was_set_aside_goes_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a cycle that died after it was set aside is freed by the daily collection of everything."""
    monkeypatch.setattr(garbage, "LOOKS", 3)
    ring = Ring()
    Ring.freed = 0
    keeping = asyncio.create_task(keep_collections_short(look=0.01))
    await asyncio.sleep(0)
    del ring
    await freed(keeping)
