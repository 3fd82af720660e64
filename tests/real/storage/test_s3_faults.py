"""Promise: a broken network costs time, never bytes; what can't be mended is named; nothing waits for ever."""

import asyncio
import os
import threading
import uuid
from collections.abc import AsyncIterator

import pytest

from agent.storage.protocol import OPEN, BadSettings, DestinationFull, Gate, Storage, StorageError, Transient, Truncated
from agent.storage.retrying import Policy, Retrying
from agent.storage.s3.storage import S3Storage
from agent.storage.timeouts import Timeouts
from agent.wire.destinations import S3Settings
from tests.cluster.stores import S3Server, settings_for
from tests.real.storage.fault_proxy import Fault, FaultProxy

CONTENT = os.urandom(700_000)
QUICK = Timeouts(connect=2.0, read=0.5, least_rate=10_000_000)


@pytest.fixture
async def proxy(versity: S3Server) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(versity.endpoint, "127.0.20.3") as proxy:
        yield proxy


def direct(server: S3Server, proxy: FaultProxy, fault: Fault | None = None, **fields: object) -> S3Storage:
    """A store behind the proxy, with little patience only where a stall is to be sat out."""
    settings = settings_for(server, endpoint=proxy.endpoint, **fields)
    return S3Storage(settings, conditional_create=True, patience=QUICK if fault and fault.stall else None)


def patient(inner: Storage, retried: list[str] | None = None) -> Retrying:
    """`retried` is told the verb of each further try."""
    told = [] if retried is None else retried
    return Retrying(inner, Policy(attempts=9, first_wait=0.01), on_retry=lambda verb, fault: told.append(verb))


BREAKS = [
    Fault(method="PUT", reset=True),
    Fault(method="PUT", lost=True),
    Fault(method="PUT", stall=True),
    Fault(method="PUT", status=503, code="SlowDown"),
    Fault(method="PUT", status=500, code="InternalError"),
    Fault(method="PUT", status=429, code="TooManyRequests"),
    Fault(method="PUT", status=409, code="ConditionalRequestConflict"),
    Fault(method="PUT", damage_request=True),
    Fault(method="GET", reset=True),
    Fault(method="GET", stall=True),
    Fault(method="GET", cut=100_000),
    Fault(method="GET", cut=0),
    Fault(method="GET", status=503, code="SlowDown"),
    Fault(method="HEAD", reset=True),
    Fault(method="HEAD", status=503),
    Fault(method="POST", status=500, code="InternalError"),
    Fault(method="POST", lost=True),
]


@pytest.mark.parametrize("fault", BREAKS, ids=repr)
async def test_a_fault_that_passes_is_survived(versity: S3Server, proxy: FaultProxy, fault: Fault) -> None:
    """Three times in a row, then the store answers: the object is whole, read whole and gone."""
    inner = direct(versity, proxy, fault)
    retried: list[str] = []
    store = patient(inner, retried)
    key = f"{uuid.uuid4()}/a"
    proxy.faults = [fault] * 3
    await store.put(key, [CONTENT])
    assert await store.get(key) == CONTENT
    assert await store.get(key, 1000, 500_000) == CONTENT[1000:501_000]
    found = await store.head(key)
    assert found is not None
    assert found.size == len(CONTENT)
    await store.delete([key])
    assert proxy.faults == []
    assert len(retried) >= 3  # more when the machine is so busy that something else stalls too
    assert await inner.head(key) is None
    await store.close()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(reset=True), Transient),
        (Fault(stall=True), Transient),
        (Fault(status=503, code="SlowDown"), Transient),
        (Fault(status=507, code="InsufficientStorage"), DestinationFull),
        (Fault(status=400, code="XMinioStorageFull"), DestinationFull),
        (Fault(status=400, code="InvalidArgument"), StorageError),
    ],
    ids=str,
)
async def test_each_fault_has_its_name(
    versity: S3Server, proxy: FaultProxy, fault: Fault, kind: type[StorageError]
) -> None:
    """Without the retry wrapper each call is exactly one request: the SDK retries nothing."""
    store = direct(versity, proxy, fault)
    for verb in (store.put("a", [b"x"], replace=True), store.get("a"), store.delete(["a"])):
        proxy.faults, proxy.requests = [fault], []
        with pytest.raises(StorageError) as raised:
            await verb
        assert type(raised.value) is kind
        assert len(proxy.requests) == 1
    await store.close()


async def test_a_cut_answer_is_noticed_by_its_length(versity: S3Server, proxy: FaultProxy) -> None:
    """Promise: no cut object is taken for a whole one, wherever it was cut."""
    store = direct(versity, proxy)
    key = f"{uuid.uuid4()}/a"
    await store.put(key, [CONTENT])
    for cut in (0, 1, 65_536, len(CONTENT) - 1):
        for gate in (OPEN, Counting()):
            proxy.faults = [Fault(method="GET", cut=cut)]
            with pytest.raises(Transient):
                await store.get(key, gate=gate)
    proxy.faults = [Fault(method="GET", cut=100_000)]
    with pytest.raises(Truncated):
        await store.get(key)
    await store.close()


class Counting:
    def __init__(self) -> None:
        self.passed = 0

    def pass_bytes(self, count: int) -> None:
        self.passed += count


@pytest.mark.parametrize(
    "mode",
    [
        {"payload_signing": "always"},
        {"payload_signing": "never", "checksum": "CRC32"},
        {"payload_signing": "never", "checksum": "SHA256"},
    ],
    ids=str,
)
async def test_bytes_damaged_on_their_way_to_the_store_never_become_an_object(
    versity: S3Server, proxy: FaultProxy, mode: dict[str, str]
) -> None:
    """Signed payloads and checksums are compared by the store; unsigned ones without a checksum can't be."""
    store = direct(versity, proxy, None, **mode)
    key = f"{uuid.uuid4()}/a"
    proxy.faults = [Fault(method="PUT", damage_request=True)]
    with pytest.raises(Transient):
        await store.put(key, [CONTENT])
    assert await store.head(key) is None
    await store.close()


async def test_bytes_damaged_on_their_way_back_are_left_to_the_reader(versity: S3Server, proxy: FaultProxy) -> None:
    """The length is right, so only the object's own digest tells: readers of the repository check it."""
    store = direct(versity, proxy)
    key = f"{uuid.uuid4()}/a"
    await store.put(key, [CONTENT])
    proxy.faults = [Fault(method="GET", damage_answer=True)]
    found = await store.get(key)
    assert len(found) == len(CONTENT)
    assert found != CONTENT
    assert await store.get(key) == CONTENT
    await store.close()


async def test_a_damaged_or_cut_listing_is_no_listing(versity: S3Server, proxy: FaultProxy) -> None:
    """Promise: half a listing is tried again, never taken for a whole one."""
    retried: list[str] = []
    store = patient(direct(versity, proxy), retried)
    prefix = f"{uuid.uuid4()}/"
    for number in range(20):
        await store.put(f"{prefix}{number:02d}", [b"x"])
    proxy.faults = [Fault(method="GET", cut=500), Fault(method="GET", cut=0), Fault(method="GET", reset=True)]
    assert len([entry async for entry in store.list(prefix)]) == 20
    assert retried == ["list"] * 3
    await store.close()


async def test_a_cut_answer_to_a_delete_is_no_success(versity: S3Server, proxy: FaultProxy) -> None:
    """The answer lists what could not be deleted; cut down to nothing it must not read as «all gone»."""
    store = direct(versity, proxy)
    proxy.faults = [Fault(method="POST", cut=0)]
    with pytest.raises(Transient):
        await store.delete(["a"])
    await store.close()


async def test_a_lost_answer_does_not_make_a_second_object(versity: S3Server, proxy: FaultProxy) -> None:
    """The put worked, its answer was lost: the next try finds the key and says so, with its size."""
    store = patient(direct(versity, proxy))
    key = f"{uuid.uuid4()}/a"
    proxy.faults = [Fault(method="PUT", lost=True)]
    put = await store.put(key, [CONTENT])
    assert not put.created
    assert put.size == len(CONTENT)
    assert await store.get(key) == CONTENT
    await store.close()


async def test_the_store_is_waited_for_as_long_as_it_asks(versity: S3Server, proxy: FaultProxy) -> None:
    """Promise: a real answer's Retry-After is kept."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    store = Retrying(direct(versity, proxy), sleep=sleep)
    proxy.faults = [Fault(status=503, code="SlowDown", headers={"Retry-After": "7"})]
    await store.delete(["a"])
    assert slept == [7.0]
    await store.close()


async def test_no_more_requests_run_at_once_than_connections_are_allowed(versity: S3Server, proxy: FaultProxy) -> None:
    """Promise: the setting of connections bounds the requests under way."""
    store = direct(versity, proxy, connections=3)
    proxy.delay = 0.02
    await asyncio.gather(*(store.head(f"a{number}") for number in range(20)))
    assert proxy.most_at_once <= 3
    await store.close()


async def test_a_store_without_conditional_puts_is_asked_first(versity: S3Server, proxy: FaultProxy) -> None:
    """501 to If-None-Match: the put goes through without it, after a HEAD."""
    store = direct(versity, proxy)
    key = f"{uuid.uuid4()}/a"
    proxy.faults = [Fault(method="PUT", status=501, code="NotImplemented")]
    assert (await store.put(key, [CONTENT])).created
    assert proxy.requests[-2:] == ["GET", "PUT"] or proxy.requests[-2:] == ["HEAD", "PUT"]
    proxy.requests.clear()
    assert not (await store.put(key, [b"x"])).created
    assert proxy.requests == ["HEAD"]
    await store.close()


async def test_a_store_without_batch_deletes_is_asked_one_by_one(versity: S3Server, proxy: FaultProxy) -> None:
    """Promise: a store that knows no batch delete loses its objects all the same."""
    store = direct(versity, proxy)
    keys = [f"{uuid.uuid4()}/{number}" for number in range(3)]
    for key in keys:
        await store.put(key, [b"x"])
    proxy.faults = [Fault(method="POST", status=501, code="NotImplemented")]
    proxy.requests.clear()
    await store.delete(keys)
    assert proxy.requests == ["POST", "DELETE", "DELETE", "DELETE"]
    assert [await store.head(key) for key in keys] == [None, None, None]
    await store.close()


async def test_a_cancelled_put_ends_before_its_buffers_are_free(versity: S3Server, proxy: FaultProxy) -> None:
    """The thread that reads the buffers is out of them when the caller's CancelledError arrives; no object appears."""
    store = direct(versity, proxy)
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


async def test_a_store_that_is_not_there_is_a_passing_fault() -> None:
    """Promise: a store that is down is waited for."""
    settings = S3Settings(path="bucket", endpoint="http://127.0.20.9:9", access_key="a", access_secret="b")
    store = S3Storage(settings, conditional_create=True, patience=QUICK)
    with pytest.raises(Transient):
        await store.head("a")
    await store.close()


async def test_an_unreadable_ca_file_is_a_wrong_setting(versity: S3Server) -> None:
    """Promise: an authority's file outside the allowed directories is refused."""
    with pytest.raises(BadSettings, match="outside"):
        S3Storage(settings_for(versity, ca_file="/etc/hostname"), conditional_create=True)
