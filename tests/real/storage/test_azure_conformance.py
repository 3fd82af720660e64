"""Promise: Azure Blob Storage as azurite speaks it keeps the whole storage protocol, with each kind of credential."""

import asyncio
import json
import os
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.storage.azure.storage import AzureStorage
from agent.storage.conformance import NAMES, conform
from agent.storage.opened import check_store, open_storage
from agent.storage.protocol import BucketMissing, Denied, Storage
from agent.wire.destinations import AzureSettings
from tests.cluster.azurite import ACCOUNT, Azurite, azure_settings
from tests.cluster.stores import BUCKET


def opened(settings: AzureSettings, *, conditional_create: bool = True) -> Storage:
    return open_storage(settings, roots=[], conditional_create=conditional_create)


async def test_the_store_keeps_the_protocol(azurite: Azurite) -> None:
    """Promise: every check is kept, conditional creation too, and a prefix hides what lies beside it."""
    settings = azure_settings(azurite, path=f"{BUCKET}/some/prefix")

    async def open_with(conditional_create: bool) -> Storage:
        return opened(settings, conditional_create=conditional_create)

    results, capable = await check_store(open_with, "scratch/", big=True)
    assert {result.name for result in results} == NAMES
    assert [result for result in results if result.outcome != "ok"] == []
    assert capable
    store = opened(azure_settings(azurite))
    assert [entry.key async for entry in store.list("some/")] == []
    await store.close()


async def test_a_store_that_is_asked_first_keeps_the_protocol_too(azurite: Azurite) -> None:
    """Promise: HEAD, then put, overwrites nothing either."""
    store = opened(azure_settings(azurite), conditional_create=False)
    results = await conform(
        store, f"{uuid.uuid4()}/", big=False, names=NAMES - {"conditional_create", "past_1000_keys"}
    )
    assert [result for result in results if result.outcome == "failed"] == []
    await store.close()


async def test_a_signature_is_enough_and_is_not_told(azurite: Azurite) -> None:
    """Promise: a shared access signature gives what it allows; the rest is denied, and its text shown nowhere."""
    store = opened(azure_settings(azurite, account_key="", sas_token="?" + azurite.sas("racwdl")))
    results = await conform(store, f"{uuid.uuid4()}/", big=False, names={"existing_key", "exact_keys", "delete_many"})
    assert [result for result in results if result.outcome != "ok"] == []
    await store.close()
    token = azurite.sas("r")
    reading = opened(azure_settings(azurite, account_key="", sas_token=token))
    with pytest.raises(Denied) as refusal:
        await reading.put("a", [b"x"])
    assert "sig=" not in str(refusal.value.as_dict())
    await reading.close()


async def test_keys_come_from_a_file_and_from_the_environment(azurite: Azurite, tmp_path: Path) -> None:
    """Promise: a connection string, JSON and the environment are accepted by a real server."""
    bare = azure_settings(azurite, account_key="")
    text = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={azurite.key};BlobEndpoint={bare.endpoint};"
    for name, content in (("string", text), ("json", json.dumps({"account_key": azurite.key}))):
        (tmp_path / name).write_text(content + "\n")
        settings = azure_settings(azurite, account_key="", credentials_file=str(tmp_path / name))
        store: Storage = open_storage(settings, roots=[], conditional_create=True, file_roots=[tmp_path])
        assert await store.head("nothing") is None
        await store.close()
    for environment in (
        {"AZURE_STORAGE_CONNECTION_STRING": text},
        {"AZURE_STORAGE_KEY": azurite.key},
        {"AZURE_STORAGE_SAS_TOKEN": azurite.sas("rl")},
    ):
        store = AzureStorage(bare, conditional_create=True, environment=environment)
        assert await store.head("nothing") is None
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
async def test_a_wrong_key_and_a_missing_container_are_named_by_every_verb(azurite: Azurite, verb: int) -> None:
    """Promise: neither looks like a missing object, whatever was asked."""
    wrong = opened(azure_settings(azurite, account_key="d3Jvbmc="))
    with pytest.raises(Denied):
        await _verbs(wrong)[verb]()
    await wrong.close()
    missing = opened(azure_settings(azurite, path="no-such-container"))
    with pytest.raises(BucketMissing):
        await _verbs(missing)[verb]()
    await missing.close()


async def test_bytes_pass_their_own_gate_once(azurite: Azurite) -> None:
    """Promise: each call's bytes pass its gate, once, in small pieces, both ways."""
    counts = Counter[int]()
    largest = 0

    class Gate:
        def __init__(self, number: int) -> None:
            self.number = number

        def pass_bytes(self, count: int) -> None:
            nonlocal largest
            largest = max(largest, count)
            counts[self.number] += count

    store = opened(azure_settings(azurite))
    prefix = f"{uuid.uuid4()}/"
    await asyncio.gather(*(store.put(f"{prefix}{n}", [bytes(300_000 + n)], gate=Gate(n)) for n in range(20)))
    assert counts == {n: 300_000 + n for n in range(20)}
    counts.clear()
    assert await store.get(f"{prefix}1", 10, 200_000, gate=Gate(1)) == bytes(200_000)
    assert counts == {1: 200_000}
    assert largest <= 65_536
    await store.close()


async def test_each_verb_is_one_request(azurite: Azurite) -> None:
    """Promise: a put of any size is one Put Blob request: no block is left behind by one that breaks off."""
    methods: list[str] = []
    store = AzureStorage(azure_settings(azurite), conditional_create=True, on_request=methods.append)
    key = f"{uuid.uuid4()}/a"
    content = os.urandom(9 * 1024 * 1024)
    await store.put(key, [content[:5], content[5:]])
    assert await store.get(key) == content
    assert await store.get(key, 5, 100) == content[5:105]
    assert [entry.size async for entry in store.list(key)] == [len(content)]
    await store.delete([key])
    assert methods == ["PUT", "GET", "GET", "GET", "DELETE"]
    await store.close()
