"""Promise: a broken network before Azure costs time, never bytes; what can't be mended is named; nothing hangs."""

import asyncio
import os
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.storage.azure.storage import AzureStorage
from agent.storage.protocol import BadSettings, DestinationFull, NotFound, Storage, StorageError, Transient, Truncated
from agent.storage.retrying import Policy, Retrying
from agent.storage.timeouts import Timeouts
from tests.cluster.azurite import ACCOUNT, Azurite, azure_settings
from tests.cluster.certificates import Authority
from tests.cluster.stores import Toxiproxy
from tests.real.storage.fault_proxy import Fault, FaultProxy

CONTENT = os.urandom(700_000)
LARGE = os.urandom(16 * 1024 * 1024)
"""More than the buffers of a connection hold."""
QUICK = Timeouts(connect=2.0, read=0.5, least_rate=10_000_000)


@pytest.fixture
async def proxy(azurite: Azurite) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(azurite.endpoint.removesuffix(f"/{ACCOUNT}"), "127.0.20.31") as proxy:
        yield proxy


@pytest.fixture
async def toxic(tmp_path: Path) -> AsyncIterator[Toxiproxy]:
    async with Toxiproxy(tmp_path, address="127.0.20.32") as proxy:
        yield proxy


def direct(server: Azurite, proxy: FaultProxy, fault: Fault | None = None, **fields: object) -> AzureStorage:
    """A store behind the proxy, with little patience only where a stall is to be sat out."""
    settings = azure_settings(server, endpoint=f"{proxy.endpoint}/{ACCOUNT}", **fields)
    return AzureStorage(settings, conditional_create=True, patience=QUICK if fault and fault.stall else None)


def patient(inner: Storage, retried: list[str]) -> Retrying:
    """`retried` is told the verb of each further try."""
    return Retrying(inner, Policy(attempts=9, first_wait=0.01), on_retry=lambda verb, fault: retried.append(verb))


BREAKS = [
    Fault(method="PUT", reset=True),
    Fault(method="PUT", lost=True),
    Fault(method="PUT", stall=True),
    Fault(method="PUT", status=503, code="ServerBusy"),
    Fault(method="PUT", status=500, code="OperationTimedOut"),
    Fault(method="PUT", damage_request=True),
    Fault(method="GET", reset=True),
    Fault(method="GET", stall=True),
    Fault(method="GET", cut=100_000),
    Fault(method="GET", cut=0),
    Fault(method="GET", damage_answer=True),
    Fault(method="HEAD", reset=True),
    Fault(method="HEAD", status=503),
    Fault(method="DELETE", status=500, code="InternalError"),
    Fault(method="DELETE", lost=True),
]


@pytest.mark.parametrize("fault", BREAKS, ids=repr)
async def test_a_fault_that_passes_is_survived(azurite: Azurite, proxy: FaultProxy, fault: Fault) -> None:
    """Promise: three times in a row, then the store answers: the object is whole, read whole and gone."""
    inner = direct(azurite, proxy, fault)
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
        (Fault(status=429, code="TooManyRequests"), Transient),
        (Fault(status=409, code="ContainerBeingDeleted"), Transient),
        (Fault(status=507, code="InsufficientStorage"), DestinationFull),
        (Fault(status=400, code="InvalidInput"), StorageError),
        (Fault(status=409, code="BlobImmutableDueToPolicy"), StorageError),
        (Fault(status=404, code="WhoKnows"), StorageError),
        (Fault(status=307, headers={"Location": "http://127.0.20.99/"}), StorageError),
    ],
    ids=repr,
)
async def test_each_fault_has_its_name_and_is_one_request(
    azurite: Azurite, proxy: FaultProxy, fault: Fault, kind: type[StorageError]
) -> None:
    """Promise: the SDK tries nothing again and follows nobody elsewhere; a 404 of somebody else is no missing blob."""
    store = direct(azurite, proxy)
    proxy.faults = [fault]
    with pytest.raises(StorageError) as raised:
        await store.get("a")
    assert type(raised.value) is kind
    assert proxy.requests == ["GET"]
    await store.close()


async def test_an_error_of_the_network_does_not_tell_the_signature(azurite: Azurite, proxy: FaultProxy) -> None:
    """Promise: I9: the address holds the signature, so no error quotes it, nor keeps an error that does."""
    store = direct(azurite, proxy, account_key="", sas_token=azurite.sas("rl"))
    for fault in (Fault(reset=True), Fault(status=400, code="InvalidInput"), Fault(cut=0)):
        proxy.faults = [fault]
        with pytest.raises(StorageError) as raised:
            await store.get("a")
        assert "sig=" not in str(raised.value.as_dict())
        assert raised.value.__cause__ is None
        assert raised.value.__suppress_context__
    await store.close()


async def test_an_object_that_is_shorter_than_its_range_is_truncated(azurite: Azurite, proxy: FaultProxy) -> None:
    """Promise: a range beyond the end is told with the object's real size, at the end and behind it."""
    store = direct(azurite, proxy)
    key = f"{uuid.uuid4()}/a"
    await store.put(key, [b"ten bytes."])
    for start in (5, 10, 50):
        with pytest.raises(Truncated) as raised:
            await store.get(key, start, 10)
        assert raised.value.fields["size"] == 10
    with pytest.raises(NotFound):
        await store.get(key + "b", 5, 10)
    await store.close()


async def test_a_cut_listing_begins_again_and_misses_nothing(azurite: Azurite, proxy: FaultProxy) -> None:
    """Promise: an answer that ends early is no end of the listing."""
    retried: list[str] = []
    store = patient(direct(azurite, proxy), retried)
    prefix = f"{uuid.uuid4()}/"
    for number in range(20):
        await store.put(f"{prefix}{number:02d}", [b"x"])
    proxy.faults = [Fault(method="GET", cut=500), Fault(method="GET", cut=0), Fault(method="GET", reset=True)]
    assert len([entry async for entry in store.list(prefix)]) == 20
    assert retried == ["list"] * 3
    await store.close()


async def test_the_store_is_waited_for_as_long_as_it_asks(azurite: Azurite, proxy: FaultProxy) -> None:
    """Promise: a real answer's Retry-After is kept."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    store = Retrying(direct(azurite, proxy), sleep=sleep)
    proxy.faults = [Fault(status=503, code="ServerBusy", headers={"Retry-After": "7"})]
    await store.delete(["a"])
    assert slept == [7.0]
    await store.close()


async def test_a_cancelled_put_ends_before_its_buffers_are_free(azurite: Azurite, proxy: FaultProxy) -> None:
    """Promise: the thread that reads the buffers is out of them when the CancelledError arrives; no object appears."""
    store = direct(azurite, proxy)
    key = f"{uuid.uuid4()}/a"
    reached, go = threading.Event(), threading.Event()
    sent = 0

    class Slow:
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


@pytest.mark.parametrize("upstream", [True, False], ids=["put", "get"])
@pytest.mark.parametrize(
    ("kind", "attributes"), [("timeout", {"timeout": 0}), ("limit_data", {"bytes": 3_000_000}), ("reset_peer", {})]
)
async def test_a_body_broken_half_way_ends_and_can_be_sent_again(
    azurite: Azurite, toxic: Toxiproxy, kind: str, attributes: dict[str, int], upstream: bool
) -> None:
    """Promise: a put or get that the network breaks ends, a put leaves no object, and the next one is whole."""
    listen = await toxic.proxy("store", f"{azurite.address}:{azurite.port}")
    settings = azure_settings(azurite, endpoint=f"http://{listen}/{ACCOUNT}")
    store = AzureStorage(settings, conditional_create=True, patience=Timeouts(1.0, 1.0, 4_000_000))
    key = f"{uuid.uuid4()}/a"
    if not upstream:
        await store.put(key, [LARGE])
    await toxic.spoil("store", kind, upstream=upstream, **attributes)
    async with asyncio.timeout(60):
        with pytest.raises(Transient):
            await (store.put(key, [LARGE]) if upstream else store.get(key))
    await toxic.heal()
    if upstream:
        assert await store.head(key) is None
        assert (await store.put(key, [LARGE])).created
    assert await store.get(key) == LARGE
    await store.close()


async def test_over_https_the_certificate_is_checked(tmp_path: Path) -> None:
    """Promise: a known certificate is used, an unknown one refused by name."""
    authority = Authority(tmp_path)
    certificate = authority.certificate("store", "127.0.20.33")
    (tmp_path / "other").mkdir()
    stranger = str(Authority(tmp_path / "other").ca)

    async with Azurite(tmp_path / "store", address="127.0.20.33", certificate=certificate) as server:
        settings = azure_settings(server, ca_file=str(authority.ca))
        trusting = AzureStorage(settings, conditional_create=True, file_roots=[tmp_path])
        with pytest.raises(StorageError, match="ContainerNotFound"):
            await trusting.head("a")
        await trusting.close()
        for ca_file in ("", stranger):
            settings = azure_settings(server, ca_file=ca_file)
            store = AzureStorage(settings, conditional_create=True, file_roots=[tmp_path])
            with pytest.raises(BadSettings, match="TLS"):
                await store.put("a", [b"x"])
            await store.close()
