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


async def test_what_lasts_is_passed_over_and_what_comes_later_is_not() -> None:
    """Promise: full collections stay as short as what came since is small, and free it; at the end all is as before."""
    gc.unfreeze()  # as in a process of its own
    kept = [[number] for number in range(10_000)]
    before = gc.get_threshold()
    keeping = asyncio.create_task(keep_collections_short(settled=0.01))
    await asyncio.sleep(0.1)
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
    """Promise: while many objects come to stay, each collection but the rare full one walks a few thousand of them."""
    keeping = asyncio.create_task(keep_collections_short(settled=600.0))
    await asyncio.sleep(0)
    walked: list[int] = []

    def told(phase: str, about: dict[str, int]) -> None:
        if phase == "start" and about["generation"] == 1:
            walked.append(len(gc.get_objects(0)) + len(gc.get_objects(1)))

    gc.callbacks.append(told)
    kept = [[number] for number in range(100_000)]
    gc.callbacks.remove(told)
    keeping.cancel()
    await asyncio.wait([keeping])
    assert len(kept) > 100 * len(walked) > 0
    assert max(walked) < 25_000


@pytest.mark.parametrize("long", [0.0, 1e9])
async def test_what_made_a_collection_long_is_set_aside(long: float) -> None:
    """Promise: what came to stay is walked by one full collection at most if that took long, and looked at again while
    they are short; garbage is freed before."""
    callbacks, collections = [*gc.callbacks], gc.get_stats()[2]["collections"]
    keeping = asyncio.create_task(keep_collections_short(settled=600.0, long=long))
    await asyncio.sleep(0.01)
    assert gc.get_stats()[2]["collections"] == collections  # none at the start
    kept = [[number] for number in range(10_000)]
    Ring.freed = 0
    Ring()
    gc.collect()
    assert Ring.freed == 1
    assert (len(gc.get_objects()) < len(kept)) is (long == 0.0)
    keeping.cancel()
    await asyncio.wait([keeping])
    assert gc.callbacks == callbacks
    gc.unfreeze()
    gc.collect()
    assert len(gc.get_objects()) > len(kept)


async def test_what_others_had_set_aside_stays_so() -> None:
    """Promise: within a process that had set its own objects aside they are again at the end, and the garbage of what
    ran meanwhile is freed first."""
    kept = [[number] for number in range(10_000)]
    gc.freeze()
    keeping = asyncio.create_task(keep_collections_short(settled=0.01))
    await asyncio.sleep(0.05)
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
    monkeypatch.setattr(garbage, "ROUNDS", 2)
    ring = Ring()
    Ring.freed = 0
    keeping = asyncio.create_task(keep_collections_short(settled=0.01, again=0.01))
    await asyncio.sleep(0)
    del ring
    async with asyncio.timeout(DEADLINE):
        while not Ring.freed:  # noqa: ASYNC110 - it is the collector that counts
            await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.wait([keeping])
