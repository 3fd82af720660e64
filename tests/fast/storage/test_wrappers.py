"""Promise: limiting and measuring change nothing of what a store does, and miss nothing."""

import asyncio

import pytest

from agent.storage.conformance import conform
from agent.storage.limited import Limited
from agent.storage.measured import Measured
from agent.storage.protocol import NotFound
from agent.storage.retrying import Retrying
from tests.fast.storage.memory import MemoryStorage


class Counter:
    """A gate that counts, and an observer that remembers."""

    def __init__(self) -> None:
        self.passed = 0
        self.seen: list[tuple[str, int, int, str | None]] = []

    def pass_bytes(self, count: int) -> None:
        self.passed += count

    def done(self, verb: str, seconds: float, sent: int, received: int, error: str | None) -> None:
        assert seconds >= 0
        self.seen.append((verb, sent, received, error))


async def test_wrapped_stores_keep_the_protocol() -> None:
    """Promise: all wrappers together keep the whole protocol."""
    counter = Counter()
    store = Retrying(Measured(Limited(MemoryStorage(), counter), counter))
    results = await conform(store, "scratch/", big=True)
    assert [(result.name, result.detail) for result in results if result.outcome != "ok"] == []
    assert {verb for verb, *_ in counter.seen} == {"put", "get", "head", "list", "delete"}


async def test_bytes_wait_at_the_stores_gate_and_at_the_callers() -> None:
    """Promise: each byte passes both limits once."""
    own, node = Counter(), Counter()
    store = Limited(MemoryStorage(), node)
    await store.put("a", [b"12345", b"678"], gate=own)
    assert (own.passed, node.passed) == (8, 8)
    await store.get("a", 2, 3)
    await store.put("b", [b"1"])
    assert (own.passed, node.passed) == (8, 12)


async def test_each_verb_is_observed_with_its_bytes_and_its_error() -> None:
    """Promise: metrics count what really flowed, and failures by their codes."""
    counter = Counter()
    store = Measured(MemoryStorage(), counter)
    await store.put("a", [b"12345"])
    await store.put("a", [b"other"])
    await store.get("a", 1, 2)
    with pytest.raises(NotFound):
        await store.get("b")
    await store.head("a")
    assert [entry.key async for entry in store.list("")] == ["a"]
    await store.delete(["a"])
    assert counter.seen == [
        ("put", 5, 0, None),
        ("put", 0, 0, None),
        ("get", 0, 2, None),
        ("get", 0, 0, "object_not_found"),
        ("head", 0, 0, None),
        ("list", 0, 0, None),
        ("delete", 0, 0, None),
    ]


async def test_a_cancelled_verb_is_observed_as_such() -> None:
    """Promise: a cancel is counted as one, not as an error of the store."""
    counter = Counter()

    async def hook(verb: str, key: str) -> None:
        await asyncio.Event().wait()

    task = asyncio.ensure_future(Measured(MemoryStorage(hook=hook), counter).head("a"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counter.seen == [("head", 0, 0, "cancelled")]
