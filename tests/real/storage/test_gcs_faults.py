"""Promise: with Google's API too a broken network costs time, never bytes; what can't be mended is named; nothing waits
for ever."""

import asyncio
import os
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.storage.gcs.storage import GcsStorage
from agent.storage.protocol import OPEN, Denied, DestinationFull, Gate, Storage, StorageError, Transient
from agent.storage.retrying import Policy, Retrying
from agent.storage.timeouts import Timeouts
from tests.cluster.gcs_stores import FakeGcs, gcs_settings_for
from tests.cluster.stores import Toxiproxy
from tests.real.storage.fault_proxy import Fault, FaultProxy

CONTENT = os.urandom(700_000)
LARGE = os.urandom(16 * 1024 * 1024)
"""More than the buffers of a connection hold."""
QUICK = Timeouts(connect=2.0, read=0.5, least_rate=10_000_000)


@pytest.fixture
async def proxy(gcs: FakeGcs) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(gcs.endpoint, "127.0.20.13") as proxy:
        yield proxy


def direct(server: FakeGcs, proxy: FaultProxy, fault: Fault | None = None, **fields: object) -> GcsStorage:
    """A store behind the proxy, with little patience only where a stall is to be sat out."""
    settings = gcs_settings_for(server, endpoint=proxy.endpoint, **fields)
    return GcsStorage(settings, conditional_create=True, patience=QUICK if fault and fault.stall else None)


def patient(inner: Storage, retried: list[str] | None = None) -> Retrying:
    """`retried` is told the verb of each further try."""
    told = [] if retried is None else retried
    return Retrying(inner, Policy(attempts=9, first_wait=0.01), on_retry=lambda verb, fault: told.append(verb))


BREAKS = [
    Fault(method="POST", reset=True),
    Fault(method="POST", lost=True),
    Fault(method="POST", stall=True),
    Fault(method="POST", status=503),
    Fault(method="POST", status=429),
    Fault(method="POST", cut=0),
    Fault(method="POST", damage_request=True),
    Fault(method="GET", reset=True),
    Fault(method="GET", stall=True),
    Fault(method="GET", cut=0),
    Fault(method="GET", cut=40),
    Fault(method="GET", status=500),
]


@pytest.mark.parametrize("fault", BREAKS, ids=repr)
async def test_a_fault_that_passes_is_survived(gcs: FakeGcs, proxy: FaultProxy, fault: Fault) -> None:
    """Three times in a row, then the store answers: the object is whole, read whole, listed and gone."""
    inner = direct(gcs, proxy, fault)
    retried: list[str] = []
    store = patient(inner, retried)
    prefix = f"{uuid.uuid4()}/"
    proxy.faults = [fault] * 3
    await store.put(prefix + "a", [CONTENT])
    assert [entry.size async for entry in store.list(prefix)] == [len(CONTENT)]
    assert await store.get(prefix + "a") == CONTENT
    assert await store.get(prefix + "a", 1000, 500_000) == CONTENT[1000:501_000]
    await store.delete([prefix + "a"])
    assert proxy.faults == []
    assert len(retried) >= 3  # more when the machine is so busy that something else stalls too
    assert await inner.head(prefix + "a") is None
    await store.close()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(reset=True), Transient),
        (Fault(stall=True), Transient),
        (Fault(status=503), Transient),
        (Fault(status=507), DestinationFull),
        (Fault(status=403), Denied),
        (Fault(status=400), StorageError),
        (Fault(status=307, headers={"Location": "http://127.0.20.14:9/elsewhere"}), StorageError),
    ],
    ids=str,
)
async def test_each_fault_has_its_name(gcs: FakeGcs, proxy: FaultProxy, fault: Fault, kind: type[StorageError]) -> None:
    """Without the retry wrapper each call is one request: the SDK retries nothing, and no redirect is followed."""
    store = direct(gcs, proxy, fault)
    for verb in (store.put("a", [b"x"], replace=True), store.get("a"), store.head("a"), store.delete(["a"])):
        proxy.faults, proxy.requests = [fault], []
        with pytest.raises(StorageError) as raised:
            await verb
        assert type(raised.value) is kind
        assert len(proxy.requests) == 1
    await store.close()


class Counting:
    """A gate that never waits, and isn't known to be open: answers come in small pieces."""

    def pass_bytes(self, count: int) -> None:
        return None


async def test_a_cut_or_damaged_answer_is_no_object(gcs: FakeGcs, proxy: FaultProxy) -> None:
    """Promise: no cut object is taken for a whole one; one with another byte is noticed by its CRC-32C."""
    store = direct(gcs, proxy)
    key = f"{uuid.uuid4()}/a"
    await store.put(key, [CONTENT])
    for cut in (0, 1, 65_536, len(CONTENT) - 1):
        for gate in (OPEN, Counting()):
            proxy.faults = [Fault(method="GET", cut=cut)]
            with pytest.raises(Transient):
                await store.get(key, gate=gate)
    proxy.faults = [Fault(method="GET", damage_answer=True)]
    with pytest.raises(Transient, match="damaged"):
        await store.get(key)
    assert await store.get(key) == CONTENT
    await store.close()


async def test_bytes_damaged_on_their_way_to_the_store_never_become_an_object(gcs: FakeGcs, proxy: FaultProxy) -> None:
    """Promise: the store compares what it got with the CRC-32C that came with it."""
    store = direct(gcs, proxy)
    key = f"{uuid.uuid4()}/a"
    proxy.faults = [Fault(method="POST", damage_request=True)]
    with pytest.raises(Transient):
        await store.put(key, [CONTENT])
    assert await store.head(key) is None
    await store.close()


async def test_a_lost_answer_does_not_make_a_second_object(gcs: FakeGcs, proxy: FaultProxy) -> None:
    """The put worked, its answer was lost: the next try finds the key and says so, with its size."""
    store = patient(direct(gcs, proxy))
    key = f"{uuid.uuid4()}/a"
    proxy.faults = [Fault(method="POST", lost=True)]
    put = await store.put(key, [CONTENT])
    assert (put.created, put.size) == (False, len(CONTENT))
    assert await store.get(key) == CONTENT
    await store.close()


async def test_no_more_requests_run_at_once_than_connections_are_allowed(gcs: FakeGcs, proxy: FaultProxy) -> None:
    """Promise: the setting of connections bounds the requests under way; the SDK adds none of its own."""
    store = direct(gcs, proxy, connections=3)
    await store.put("a", [b"x"], replace=True)
    proxy.delay = 0.02
    proxy.requests.clear()
    await asyncio.gather(*(store.head("a") for number in range(20)))
    assert proxy.most_at_once <= 3
    assert proxy.requests == ["GET"] * 20
    await store.close()


async def test_a_cancelled_put_ends_before_its_buffers_are_free(gcs: FakeGcs, proxy: FaultProxy) -> None:
    """The thread that reads the buffers is out of them when the caller's CancelledError arrives; no object appears."""
    store = direct(gcs, proxy)
    key = f"{uuid.uuid4()}/a"
    reached, go = threading.Event(), threading.Event()
    sent = 0

    class Slow(Gate):
        def pass_bytes(self, count: int) -> None:
            nonlocal sent
            sent += count
            if sent > 200_000:
                reached.set()
                assert go.wait(60)

    task = asyncio.ensure_future(store.put(key, [CONTENT], gate=Slow()))
    await asyncio.to_thread(reached.wait, 60)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sent < len(CONTENT)
    assert await store.head(key) is None
    await store.close()


@pytest.mark.parametrize("kind", ["timeout", "limit_data", "reset_peer"])
async def test_a_network_that_breaks_half_way_leaves_no_object(gcs: FakeGcs, tmp_path: Path, kind: str) -> None:
    """Promise: a put or get that the network breaks ends, and the next one gives every byte."""
    attributes = {"timeout": {"timeout": 0}, "limit_data": {"bytes": 3_000_000}}.get(kind, {})
    async with Toxiproxy(tmp_path, address="127.0.20.15") as toxic:
        listen = await toxic.proxy("store", f"{gcs.address}:{gcs.port}")
        settings = gcs_settings_for(gcs, endpoint=f"http://{listen}")
        store = GcsStorage(settings, conditional_create=True, patience=Timeouts(1.0, 1.0, 4_000_000))
        key = f"{uuid.uuid4()}/a"
        await toxic.spoil("store", kind, upstream=True, **attributes)
        async with asyncio.timeout(60):
            with pytest.raises(Transient):
                await store.put(key, [LARGE])
        await toxic.heal()
        assert await store.head(key) is None
        assert (await store.put(key, [LARGE])).created
        await toxic.spoil("store", kind, upstream=False, **attributes)
        async with asyncio.timeout(60):
            with pytest.raises(Transient):
                await store.get(key)
        await toxic.heal()
        assert await store.get(key) == LARGE
        await store.close()
