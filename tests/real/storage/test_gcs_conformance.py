"""Promise: Google Cloud Storage, as a real server of its API speaks it, keeps the whole storage protocol.

The server is an emulator: that it refuses the losers of a race for one name is its own lock's work, and says nothing of
Google's; on a real bucket the destination's check probes the same.
"""

import asyncio
import os
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from agent.storage.conformance import NAMES, conform
from agent.storage.opened import check_store, open_storage
from agent.storage.protocol import BucketMissing, NotFound, Storage, Truncated
from agent.wire.destinations import GcsSettings
from tests.cluster.gcs_stores import FakeGcs, gcs_settings_for
from tests.cluster.stores import BUCKET
from tests.real.storage.fault_proxy import FaultProxy


def opened(settings: GcsSettings, *, conditional_create: bool = True) -> Storage:
    return open_storage(settings, roots=[], conditional_create=conditional_create)


async def test_a_real_store_keeps_the_protocol(gcs: FakeGcs) -> None:
    """All checks, conditional create included; nothing is left."""
    settings = gcs_settings_for(gcs, path=f"{BUCKET}/some/prefix")

    async def open_with(conditional_create: bool) -> Storage:
        return opened(settings, conditional_create=conditional_create)

    results, capable = await check_store(open_with, "scratch/", big=True)
    assert {result.name for result in results} == NAMES
    assert [result for result in results if result.outcome != "ok"] == []
    assert capable
    store = opened(gcs_settings_for(gcs))
    assert [entry.key async for entry in store.list("some/")] == []
    await store.close()


async def test_a_store_that_is_asked_first_keeps_the_protocol_too(gcs: FakeGcs) -> None:
    """For stores that can't create conditionally: a look, then the upload."""
    store = opened(gcs_settings_for(gcs), conditional_create=False)
    names = NAMES - {"conditional_create", "past_1000_keys"}
    results = await conform(store, f"{uuid.uuid4()}/", big=False, names=names)
    assert [result for result in results if result.outcome == "failed"] == []
    await store.close()


def _verbs(store: Storage) -> list[Callable[[], Awaitable[object]]]:
    async def listed() -> list[str]:
        return [entry.key async for entry in store.list("")]

    return [lambda: store.head("a"), lambda: store.get("a"), listed, lambda: store.delete(["a"])]


@pytest.mark.parametrize("verb", range(4))
async def test_a_missing_bucket_is_named(gcs: FakeGcs, verb: int) -> None:
    """Promise: a missing bucket is no missing object."""
    store = opened(gcs_settings_for(gcs, path="no-such-bucket"))
    with pytest.raises(BucketMissing):
        await _verbs(store)[verb]()
    await store.close()


async def test_every_byte_passes_its_own_calls_gate_once(gcs: FakeGcs) -> None:
    """Promise: what is uploaded, with the few words around it, passes its call's gate once, and so does an answer."""
    counts = Counter[int]()

    class Gate:
        def __init__(self, number: int) -> None:
            self.number = number

        def pass_bytes(self, count: int) -> None:
            counts[self.number] += count

    store = opened(gcs_settings_for(gcs))
    prefix = f"{uuid.uuid4()}/"
    await asyncio.gather(*(store.put(f"{prefix}{n}", [bytes(100_000 + n)], gate=Gate(n)) for n in range(20)))
    assert set(counts) == set(range(20))
    assert all(0 < counts[n] - 100_000 - n < 1000 for n in counts)
    counts.clear()
    assert await store.get(f"{prefix}7", 10, 50_000, gate=Gate(7)) == bytes(50_000)
    assert counts == {7: 50_000}
    await store.close()


async def test_a_put_is_one_request_and_a_hundred_deletes_are_one(gcs: FakeGcs) -> None:
    """Promise: an upload that creates conditionally and says its sum costs no second request, and deletes share one."""
    async with FaultProxy(gcs.endpoint, "127.0.20.12") as proxy:
        store = opened(gcs_settings_for(gcs, endpoint=proxy.endpoint))
        prefix = f"{uuid.uuid4()}/"
        keys = [f"{prefix}{number:03d}" for number in range(120)]
        for key in keys[:3]:
            await store.put(key, [os.urandom(900_000)])
        assert proxy.requests == ["POST"] * 3
        proxy.requests.clear()
        await store.delete(keys)
        assert proxy.requests == ["POST"] * 2
        assert [entry.key async for entry in store.list(prefix)] == []
        await store.close()


async def test_an_object_that_is_too_short_tells_its_size(gcs: FakeGcs) -> None:
    """Promise: it isn't asked for again and again, wherever the range begins."""
    store = opened(gcs_settings_for(gcs))
    key = f"{uuid.uuid4()}/a"
    await store.put(key, [bytes(1000)])
    for start in (990, 1000, 2000):
        with pytest.raises(Truncated) as short:
            await store.get(key, start, 100)
        assert short.value.fields["size"] == 1000
    with pytest.raises(NotFound):
        await store.get(key + "b", 5)
    await store.close()
