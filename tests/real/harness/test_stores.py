"""The test servers themselves: what the tests of S3 take on trust."""

import socket
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.cluster.stores import S3Server, Seaweed, Toxiproxy, Versity


def _write_and_read(server: S3Server, endpoint: str | None = None) -> bytes:
    with closing(server.client(endpoint)) as client:
        client.put_object(Bucket="things", Key="a/b", Body=b"content")
        content: bytes = client.get_object(Bucket="things", Key="a/b")["Body"].read()
        return content


async def test_seaweedfs_stores_an_object(seaweed: Seaweed) -> None:
    """Promise: SeaweedFS starts on ports of its own and takes its keys."""
    await seaweed.make_bucket("things")
    assert _write_and_read(seaweed) == b"content"


async def test_versitygw_counts_requests_and_keeps_objects_over_a_restart(tmp_path: Path) -> None:
    """Promise: the access log has one line per request; objects are still there after a stop and a start."""
    async with Versity(tmp_path, access_log=True) as server:
        await server.make_bucket("things")
        before = len(server.requests())
        assert _write_and_read(server) == b"content"
        assert len(server.requests()) == before + 2
        await server.stop()
        await server.start()
        assert (server.data / "things" / "a" / "b").read_bytes() == b"content"


async def test_toxiproxy_cuts_and_heals_a_connection(versity: Versity, tmp_path: Path) -> None:
    """Promise: a disabled proxy refuses, a healed one serves, a limited one cuts its answers."""
    await versity.make_bucket("things")
    async with Toxiproxy(tmp_path) as toxiproxy:
        listen = await toxiproxy.proxy("s3", f"{versity.address}:{versity.port}")
        assert _write_and_read(versity, f"http://{listen}") == b"content"
        await toxiproxy.enable("s3", enabled=False)
        address, _, port = listen.partition(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, int(port)), timeout=5)
        await toxiproxy.heal()
        await toxiproxy.spoil("s3", "limit_data", bytes=10)
        with socket.create_connection((address, int(port)), timeout=20) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert len(_all_of(connection)) == 10


def _all_of(connection: socket.socket) -> bytes:
    received = b""
    deadline = time.monotonic() + 20
    while (part := connection.recv(4096)) and time.monotonic() < deadline:
        received += part
    return received
