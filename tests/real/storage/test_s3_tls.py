"""Promise: over https the store's certificate is always checked, and payloads are not hashed twice."""

import asyncio
import datetime
import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.storage.conformance import conform
from agent.storage.opened import open_storage
from agent.storage.protocol import BadSettings
from tests.cluster.stores import S3Server
from tests.real.storage.servers import SecureVersity, settings_for

ADDRESS = "127.0.20.4"


def certificate(directory: Path, address: str) -> tuple[Path, Path]:
    """A certificate that signs itself, for one address, and its key; both in files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test store")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "cert.pem", directory / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureVersity]:
    directory = tmp_path_factory.mktemp("tls")
    server = SecureVersity(directory / "store", *certificate(directory, ADDRESS), address=ADDRESS)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.child.kill())


@pytest.fixture(scope="module")
def ca_file(tls_server: SecureVersity) -> Path:
    return tls_server.data.parent.parent / "cert.pem"


async def test_the_store_is_used_when_its_certificate_is_known(tls_server: SecureVersity, ca_file: Path) -> None:
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
    other, _ = certificate(tmp_path, ADDRESS)
    for ca_file in ("", str(other)):
        settings = settings_for(tls_server, ca_file=ca_file)
        store = open_storage(settings, roots=[], conditional_create=True, file_roots=[tmp_path])
        with pytest.raises(BadSettings, match="TLS"):
            await store.put("a", [b"x"])
        await store.close()


async def test_a_certificate_for_another_address_is_refused(tls_server: S3Server, tmp_path: Path) -> None:
    wrong = certificate(tmp_path, "127.0.20.99")
    async with SecureVersity(tmp_path / "store", *wrong, address="127.0.20.5") as server:
        settings = settings_for(server, ca_file=str(wrong[0]))
        store = open_storage(settings, roots=[], conditional_create=True, file_roots=[tmp_path])
        with pytest.raises(BadSettings, match="TLS"):
            await store.put("a", [b"x"])
        await store.close()


async def test_a_plain_http_store_is_no_https_store(versity: S3Server) -> None:
    endpoint = versity.endpoint.replace("http:", "https:")
    settings = msgspec.structs.replace(settings_for(versity), endpoint=endpoint)
    store = open_storage(settings, roots=[], conditional_create=True)
    with pytest.raises(BadSettings, match="TLS"):
        await store.head("a")
    await store.close()
