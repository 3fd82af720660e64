"""Promise: listings are in lexical order whatever the store's own order, or fail; never silently wrong."""

from collections.abc import AsyncIterator, Sequence

import pytest

from agent.storage.listing_order import HOLD, in_order
from agent.storage.protocol import Entry, StorageError


async def pages(keys: Sequence[str], size: int = 1000) -> AsyncIterator[Sequence[Entry]]:
    for at in range(0, len(keys), size):
        yield [Entry(key, 1, 0.0) for key in keys[at : at + size]]


async def listed(keys: Sequence[str]) -> list[str]:
    return [entry.key async for entry in in_order(pages(keys))]


async def test_a_listing_by_directories_is_sorted() -> None:
    """Promise: the order of a store that lists by directories is mended."""
    assert await listed(["a/1", "a/2", "a-1", "b"]) == ["a-1", "a/1", "a/2", "b"]


async def test_a_large_listing_in_order_is_passed_on() -> None:
    """Promise: a listing in order may be of any length."""
    keys = [f"{number:06d}" for number in range(HOLD * 2)]
    assert await listed(keys) == keys


async def test_a_listing_out_of_order_is_sorted_up_to_what_may_be_held() -> None:
    """Promise: disorder that fits into memory is mended."""
    keys = ["b", "a", *[f"c{number:06d}" for number in range(HOLD - 2)]]
    assert await listed(keys) == sorted(keys)


async def test_a_large_listing_whose_beginning_is_out_of_order_fails_before_it_fills_the_memory() -> None:
    """Promise: disorder never costs more memory than allowed."""
    with pytest.raises(StorageError, match="too many"):
        await listed(["b", "a", *[f"c{number:06d}" for number in range(HOLD * 2)]])


async def test_a_key_listed_twice_is_given_once() -> None:
    """Promise: a store that repeats itself is not believed twice."""
    assert await listed(["a", "b", "b", "c"]) == ["a", "b", "c"]
    assert await listed(["b", "a", "b", "c"]) == ["a", "b", "c"]


async def test_disorder_after_the_first_keys_were_given_is_an_error() -> None:
    """Promise: what can't be mended any more is an error, not a wrong listing."""
    keys = [f"b{number:06d}" for number in range(HOLD + 1000)] + ["a"]
    with pytest.raises(StorageError, match="order"):
        await listed(keys)
