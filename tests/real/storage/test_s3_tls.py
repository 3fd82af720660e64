"""Promise: over https the store's certificate is always checked, and payloads are not hashed twice."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent.storage.conformance import conform
from agent.storage.opened import open_storage
from agent.storage.protocol import BadSettings
from tests.cluster.certificates import Authority
from tests.cluster.stores import S3Server, SecureVersity, settings_for

ADDRESS = "127.0.20.4"


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureVersity]:
    directory = tmp_path_factory.mktemp("tls")
    server = SecureVersity(directory / "store", *Authority(directory).certificate("store", ADDRESS), address=ADDRESS)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.child.kill())


@pytest.fixture(scope="module")
def ca_file(tls_server: SecureVersity) -> Path:
    return tls_server.data.parent.parent / "test-ca.pem"


async def test_the_store_is_used_when_its_certificate_is_known(tls_server: SecureVersity, ca_file: Path) -> None:
    """Promise: with its authority's file an https store keeps the protocol."""
    settings = settings_for(tls_server, ca_file=str(ca_file))
    store = open_storage(settings, roots=[], conditional_create=True, file_roots=[ca_file.parent])
    results = await conform(store, "scratch/", big=False)
    assert [result for result in results if result.outcome == "failed"] == []
    content = os.urandom(3_000_000)
    await store.put("a", [content])
    assert await store.get("a") == content
    await store.close()


async def test_an_unknown_certificate_is_refused_by_name(tls_server: S3Server, tmp_path: Path) -> None:
    """Neither without a CA file nor with another's."""
    for ca_file in ("", str(Authority(tmp_path).ca)):
        settings = settings_for(tls_server, ca_file=ca_file)
        store = open_storage(settings, roots=[], conditional_create=True, file_roots=[tmp_path])
        with pytest.raises(BadSettings, match="TLS"):
            await store.put("a", [b"x"])
        await store.close()


async def test_a_certificate_for_another_address_is_refused(tls_server: S3Server, tmp_path: Path) -> None:
    """Promise: a certificate of somebody else is refused."""
    authority = Authority(tmp_path)
    wrong = authority.certificate("store", "127.0.20.99")
    async with SecureVersity(tmp_path / "store", *wrong, address="127.0.20.5") as server:
        settings = settings_for(server, ca_file=str(authority.ca))
        store = open_storage(settings, roots=[], conditional_create=True, file_roots=[tmp_path])
        with pytest.raises(BadSettings, match="TLS"):
            await store.put("a", [b"x"])
        await store.close()


async def test_a_plain_http_store_is_no_https_store(versity: S3Server) -> None:
    """Promise: https never falls back to clear text."""
    endpoint = versity.endpoint.replace("http:", "https:")
    settings = msgspec.structs.replace(settings_for(versity), endpoint=endpoint)
    store = open_storage(settings, roots=[], conditional_create=True)
    with pytest.raises(BadSettings, match="TLS"):
        await store.head("a")
    await store.close()
