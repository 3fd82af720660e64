"""Collections that walk only what is new."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from kit.garbage import keep_collections_short, passing_over


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


async def test_what_a_full_collection_leaves_is_passed_over_by_the_next() -> None:
    """Promise: full collections stay as short as what came since the last one is small."""
    kept = [[number] for number in range(10_000)]
    with passing_over():
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(gc.get_objects()) < len(kept)
        Ring.freed = 0
        Ring()
        gc.collect()
        assert Ring.freed == 1
    assert len(gc.get_objects()) > len(kept)


async def test_what_was_passed_over_goes_in_the_end() -> None:
    """Promise: a cycle that died after it was set aside is freed by the collection of everything."""
    ring = Ring()
    Ring.freed = 0
    keeping = asyncio.create_task(keep_collections_short(all_seconds=0.05))
    await asyncio.sleep(0)
    del ring
    async with asyncio.timeout(20):
        while not Ring.freed:  # noqa: ASYNC110 - it is the collector that counts
            await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.wait([keeping])
