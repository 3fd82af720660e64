"""CQL over TLS on a real node: encrypted when asked for, and never to a node whose certificate is not the right one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.cassandra.errors import CassandraUntrusted
from agent.cassandra.node import CassandraNode
from agent.cassandra.settings import CqlSettings, CqlTlsSettings
from tests.cluster.certificates import Authority
from tests.cluster.services import write_secret
from tests.cluster.sessions import SUPERUSER
from tests.real.cassandra.conftest import Guarded
from tests.real.cassandra.rig import settings_for

ENCRYPTED = "SELECT ssl_enabled FROM system_views.clients"


@asynccontextmanager
async def connected(guarded: Guarded, directory: Path, tls: CqlTlsSettings | None, **changes: Any) -> Any:
    """The agent's node with these TLS settings."""
    node = guarded.cluster.nodes[0]
    user, password = SUPERUSER
    secret = write_secret(directory / "password", password)
    cql = CqlSettings(host=node.address, port=node.spec.native_port, username=user, password_file=str(secret), tls=tls)
    made = CassandraNode(settings_for(node, cql=msgspec.structs.replace(cql, **changes)), directory / "state")
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def elsewhere(guarded: Guarded, address: str) -> AsyncIterator[int]:
    """The node's CQL port at another address, as somebody in the middle offers it; the port there."""
    node = guarded.cluster.nodes[0]

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(node.address, node.spec.native_port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    sink.write(data)
            finally:
                sink.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(forward, address, 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def test_with_its_ca_the_node_is_spoken_to_over_tls(guarded_node: Guarded, tmp_path: Path) -> None:
    """Certificate and name are verified, and the node itself says that the connection is encrypted."""
    tls = CqlTlsSettings(ca_file=str(guarded_node.authority.ca), verify_hostname=True)
    async with connected(guarded_node, tmp_path, None) as plain:
        before = await plain.cql.rows(ENCRYPTED)
        assert not any(row["ssl_enabled"] for row in before)
        async with connected(guarded_node, tmp_path, tls) as node:
            assert (await node.view.identity()).cluster_name == "guarded"
            assert any(row["ssl_enabled"] for row in await node.cql.rows(ENCRYPTED))
            assert await node.view.identity() == await plain.view.identity()


async def test_a_node_with_a_certificate_of_another_ca_is_refused(guarded_node: Guarded, tmp_path: Path) -> None:
    """`cassandra_untrusted`, neither «down» nor a connection without proof; the same with no CA file at all."""
    for ca_file in (str(Authority(tmp_path, "other-ca").ca), ""):
        async with connected(guarded_node, tmp_path, CqlTlsSettings(ca_file=ca_file)) as node:
            with pytest.raises(CassandraUntrusted, match="certificate") as caught:
                await node.view.identity()
            assert caught.value.fields["address"] == f"{node.settings.cql.host}:{node.settings.cql.port}"
            assert SUPERUSER[1] not in str(caught.value.fields)


async def test_a_certificate_for_another_address_is_refused_when_names_count(
    guarded_node: Guarded, tmp_path: Path
) -> None:
    """`verify_hostname`: somebody in the middle with the right CA's certificate for something else gets no password."""
    address = f"{guarded_node.cluster.network}.77"
    ca_file = str(guarded_node.authority.ca)
    async with elsewhere(guarded_node, address) as port:
        strict = CqlTlsSettings(ca_file=ca_file, verify_hostname=True)
        async with connected(guarded_node, tmp_path, strict, host=address, port=port) as node:
            with pytest.raises(CassandraUntrusted, match="IP address"):
                await node.cql.rows("SELECT key FROM system.local")
        lenient = CqlTlsSettings(ca_file=ca_file)
        async with connected(guarded_node, tmp_path, lenient, host=address, port=port) as node:
            assert await node.cql.rows("SELECT key FROM system.local") == [{"key": "local"}]
