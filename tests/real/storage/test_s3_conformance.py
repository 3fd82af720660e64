"""Promise: S3 as two real servers speak it keeps the whole storage protocol, in each mode of signing and checksums."""

import asyncio
import os
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from agent.daemon.measures import StorageMeasures
from agent.daemon.provider import Provider
from agent.daemon.settings import DestinationSettings
from agent.repository.check import DestinationChecks
from agent.repository.destination_files import DestinationFiles
from agent.repository.destinations import Destinations
from agent.repository.keyrings import Keyrings
from agent.repository.limits import Limits
from agent.storage.conformance import NAMES, conform
from agent.storage.opened import check_store, open_storage
from agent.storage.protocol import BucketMissing, Denied, Storage, Truncated
from agent.storage.s3.storage import S3Storage
from agent.wire.destinations import CheckDestination, PutDestination, S3Settings
from tests.cluster.stores import BUCKET, S3Server, settings_for
from tests.real.storage.fault_proxy import FaultProxy


def opened(settings: S3Settings, *, conditional_create: bool = True) -> Storage:
    return open_storage(settings, roots=[], conditional_create=conditional_create)


async def test_a_real_store_keeps_the_protocol(server: S3Server) -> None:
    """All checks with what the probe found; a missing conditional create is a capability, everything else must hold."""
    settings = settings_for(server, path=f"{BUCKET}/some/prefix")

    async def open_with(conditional_create: bool) -> Storage:
        return opened(settings, conditional_create=conditional_create)

    results, capable = await check_store(open_with, "scratch/", big=True)
    assert {result.name for result in results} == NAMES
    wrong = [result for result in results if result.outcome != "ok" and result.name != "conditional_create"]
    assert wrong == []
    assert capable == (results[0].outcome == "ok")
    store = opened(settings_for(server))
    assert [entry.key async for entry in store.list("some/")] == []
    await store.close()


async def test_a_store_that_is_asked_first_keeps_the_protocol_too(server: S3Server) -> None:
    """For stores that can't create conditionally: HEAD, then put."""
    store = opened(settings_for(server), conditional_create=False)
    results = await conform(
        store, f"{uuid.uuid4()}/", big=False, names=NAMES - {"conditional_create", "past_1000_keys"}
    )
    assert [result for result in results if result.outcome == "failed"] == []
    await store.close()


@pytest.mark.parametrize("checksum", ["when_required", "CRC32", "SHA256"])
@pytest.mark.parametrize("signing", ["always", "never"])
async def test_each_mode_of_checksum_and_signing_works(server: S3Server, checksum: str, signing: str) -> None:
    """Promise: every checksum and signing mode stores the same bytes and overwrites nothing."""
    store = opened(settings_for(server, checksum=checksum, payload_signing=signing))
    prefix = f"{uuid.uuid4()}/"
    content = os.urandom(300_000)
    assert (await store.put(prefix + "a", [content[:100], content[100:]])).created
    assert not (await store.put(prefix + "a", [b"other"])).created
    assert await store.get(prefix + "a") == content
    await store.delete([prefix + "a"])
    assert await store.head(prefix + "a") is None
    await store.close()


def _verbs(store: Storage) -> list[Callable[[], Awaitable[object]]]:
    async def listed() -> list[str]:
        return [entry.key async for entry in store.list("")]

    return [
        lambda: store.head("a"),
        lambda: store.get("a"),
        listed,
        lambda: store.delete(["a"]),
        lambda: store.put("a", [b"x"]),
    ]


@pytest.mark.parametrize("verb", range(5))
@pytest.mark.parametrize("wrong", [{"access_secret": "wrong"}, {"access_key": "nobody"}])
async def test_wrong_keys_are_denied_by_every_verb(server: S3Server, verb: int, wrong: dict[str, str]) -> None:
    """Promise: a wrong key or secret has one name, whatever was asked."""
    store = opened(settings_for(server, **wrong))
    with pytest.raises(Denied):
        await _verbs(store)[verb]()
    await store.close()


async def test_a_check_with_wrong_keys_says_so_at_once(server: S3Server) -> None:
    """Promise: the conformance suite stops at its first check when the keys are refused."""

    async def open_with(conditional_create: bool) -> Storage:
        return opened(settings_for(server, access_secret="wrong"))

    results, capable = await check_store(open_with, "scratch/")
    assert not capable
    assert results[0].detail.startswith("storage_denied")


@pytest.mark.parametrize("verb", range(4))
async def test_a_missing_bucket_is_named(server: S3Server, verb: int) -> None:
    """Promise: a missing bucket is no missing object."""
    store = opened(settings_for(server, path="no-such-bucket"))
    with pytest.raises(BucketMissing):
        await _verbs(store)[verb]()
    await store.close()


async def test_a_put_into_a_missing_bucket_says_so(versity: S3Server) -> None:
    """SeaweedFS makes the bucket instead, when the keys may."""
    store = opened(settings_for(versity, path="no-such-bucket"))
    with pytest.raises(BucketMissing):
        await store.put("a", [b"x"])
    await store.close()


async def test_each_byte_passes_the_gate_once(server: S3Server) -> None:
    """The SDK reads a signed body twice; the limit must not."""
    passed: list[int] = []

    class Gate:
        def pass_bytes(self, count: int) -> None:
            passed.append(count)

    store = opened(settings_for(server, payload_signing="always", checksum="SHA256"))
    key = f"{uuid.uuid4()}/a"
    await store.put(key, [bytes(1_000_000)], gate=Gate())
    assert sum(passed) == 1_000_000
    passed.clear()
    assert await store.get(key, 10, 500_000, gate=Gate()) == bytes(500_000)
    assert sum(passed) == 500_000
    assert max(passed) <= 65_536
    await store.close()


async def test_gates_of_calls_at_the_same_time_are_not_mixed_up(server: S3Server) -> None:
    """Promise: each call's bytes pass its own gate."""
    counts = Counter[int]()

    class Gate:
        def __init__(self, number: int) -> None:
            self.number = number

        def pass_bytes(self, count: int) -> None:
            counts[self.number] += count

    store = opened(settings_for(server))
    prefix = f"{uuid.uuid4()}/"
    await asyncio.gather(*(store.put(f"{prefix}{n}", [bytes(100_000 + n)], gate=Gate(n)) for n in range(40)))
    assert counts == {n: 100_000 + n for n in range(40)}
    await store.close()


async def test_requests_are_counted_by_operation(versity: S3Server) -> None:
    """A put is one request where the store creates conditionally, and two where it is asked first."""
    counts = Counter[str]()
    prefix = f"{uuid.uuid4()}/"
    for ask, expected in ((True, {"PutObject": 1}), (False, {"HeadObject": 1, "PutObject": 1})):
        store = S3Storage(
            settings_for(versity), conditional_create=ask, on_request=lambda operation: counts.update([operation])
        )
        await store.put(f"{prefix}{ask}/1", [b"x"])
        counts.clear()  # the first HEAD is not believed without a listing
        await store.put(f"{prefix}{ask}/2", [b"x"])
        assert counts == expected
        await store.close()


async def test_every_agent_puts_with_one_request(versity: S3Server, tmp_path: Path) -> None:
    """The first agent runs all checks, the others attach; neither asks the store before each put."""
    request = CheckDestination(initialise=True, cluster_name="Test")
    async with FaultProxy(settings_for(versity).endpoint, "127.0.20.8") as proxy:
        settings = settings_for(versity, endpoint=proxy.endpoint, path=f"{BUCKET}/{uuid.uuid4()}")
        for name in ("first", "second"):
            limits = Limits()
            provider = Provider(DestinationSettings(), limits, StorageMeasures(CollectorRegistry()), tmp_path / "state")
            destinations = Destinations(DestinationFiles(tmp_path / name), provider, limits)
            await destinations.put("store", PutDestination(1, settings))
            report = await DestinationChecks(destinations, provider, Keyrings(destinations, provider.unlocking)).check(
                "store", request
            )
            assert (report.ok, report.conditional_create) == (True, True)
            async with destinations.borrowed("store") as borrowed:
                proxy.requests.clear()
                assert (await borrowed.storage.put(f"of-{name}", [b"x"])).created
                assert proxy.requests == ["PUT"]
            await destinations.close()
            request = CheckDestination(True, report.repository_id, report.cluster_id, "Test", conformance=False)


async def test_keys_come_from_a_file_and_from_the_environment(versity: S3Server, tmp_path: Path) -> None:
    """Promise: keys from a file or the environment are accepted by a real server."""
    settings = settings_for(versity)
    file = tmp_path / "keys"
    file.write_text(
        f"[helenus]\naws_access_key_id={settings.access_key}\naws_secret_access_key={settings.access_secret}\n"
    )
    from_file = settings_for(versity, access_key="", access_secret="", credentials_file=str(file), profile="helenus")
    store = open_storage(from_file, roots=[], conditional_create=True, file_roots=[tmp_path])
    assert await store.head("nothing") is None
    await store.close()
    bare = settings_for(versity, access_key="", access_secret="")
    environment = {"AWS_ACCESS_KEY_ID": settings.access_key, "AWS_SECRET_ACCESS_KEY": settings.access_secret}
    own = S3Storage(bare, conditional_create=True, environment=environment)
    assert await own.head("nothing") is None
    await own.close()


async def test_no_keys_at_all_is_denied(versity: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither settings nor file nor environment nor a role of the machine: nothing is sent unsigned."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = opened(settings_for(versity, access_key="", access_secret=""))
    with pytest.raises(Denied, match="no credentials"):
        await store.head("nothing")
    await store.close()


async def test_an_object_that_is_too_short_is_told_as_such(server: S3Server) -> None:
    """Promise: a range that ends behind it, or begins there, isn't asked for again and again, and its size is
    told."""
    store = opened(settings_for(server))
    key = f"{uuid.uuid4()}/a"
    await store.put(key, [bytes(1000)])
    for start in (990, 1000, 2000):
        with pytest.raises(Truncated) as short:
            await store.get(key, start, 100)
        assert short.value.fields["size"] == 1000
    await store.close()
