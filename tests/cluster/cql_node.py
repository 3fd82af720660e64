"""A node that speaks CQL's protocol (version 4) as far as a driver asks before its first statement. In: its address,
and which data centres its cluster has. Out: a driver connects, and learns of them.
"""

import asyncio
import socket
import struct
import uuid
from collections.abc import Sequence
from enum import IntEnum
from typing import Self

VERSION = 0x84
HEADER = struct.Struct(">BBhBi")
TEXT, INT, UUID, INET = 0x0D, 0x09, 0x0C, 0x10

Column = tuple[str, int, bytes]


class Opcode(IntEnum):
    """What a frame is."""

    ERROR = 0
    STARTUP = 1
    READY = 2
    OPTIONS = 5
    SUPPORTED = 6
    QUERY = 7
    RESULT = 8
    REGISTER = 11


class CqlNode:
    """Use as `async with CqlNode("127.0.0.1", ["dc1", "dc2"]) as node`; it is in the first one, and knows a node of
    each other one, which isn't there. `port`: where it listens."""

    def __init__(self, address: str, data_centres: Sequence[str]) -> None:
        self._address = address
        self._own, *self._others = data_centres
        self.port = 0
        self._serving: set[asyncio.Task[None] | None] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._address, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        serving = [task for task in self._serving if task is not None]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0)  # in which their connections go

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._serving.add(task)
        try:
            while True:
                _, _, stream, opcode, length = HEADER.unpack(await reader.readexactly(HEADER.size))
                answer, body = self._answer(opcode, await reader.readexactly(length))
                writer.write(HEADER.pack(VERSION, 0, stream, answer, len(body)) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the driver has let go
        finally:
            writer.close()
            self._serving.discard(task)

    def _answer(self, opcode: int, body: bytes) -> tuple[int, bytes]:
        match opcode:
            case Opcode.OPTIONS:
                return Opcode.SUPPORTED, struct.pack(">H", 2) + _texts("CQL_VERSION", "3.4.6") + _texts("COMPRESSION")
            case Opcode.STARTUP | Opcode.REGISTER:
                return Opcode.READY, b""
            case Opcode.QUERY if b"system.local" in body:
                return Opcode.RESULT, _rows([self._node(self._own, self._address)])
            case Opcode.QUERY if b"system.peers_v2" in body:
                others = [self._node(name, f"192.0.2.{at}") for at, name in enumerate(self._others, 1)]
                return Opcode.RESULT, _rows(others, like=self._node("", self._address))
            case _:
                return Opcode.ERROR, struct.pack(">i", 0x2200) + _text("nothing else is known here")

    def _node(self, data_centre: str, address: str) -> list[Column]:
        own = uuid.uuid5(uuid.NAMESPACE_DNS, address).bytes
        place = socket.inet_aton(address)
        return [
            ("host_id", UUID, own),
            ("schema_version", UUID, uuid.NAMESPACE_DNS.bytes),
            ("cluster_name", TEXT, b"of a test"),
            ("data_center", TEXT, data_centre.encode()),
            ("rack", TEXT, b"r1"),
            ("partitioner", TEXT, b"org.apache.cassandra.dht.Murmur3Partitioner"),
            ("release_version", TEXT, b"4.1.0"),
            *((name, INET, place) for name in ("rpc_address", "peer", "native_address")),
            *((name, INT, struct.pack(">i", self.port)) for name in ("peer_port", "native_port")),
        ]


def _rows(rows: Sequence[list[Column]], like: list[Column] | None = None) -> bytes:
    """`like`: what names the columns of no row."""
    columns = rows[0] if rows else like or []
    said = struct.pack(">iii", 2, 1, len(columns)) + _text("system") + _text("local")
    said += b"".join(_text(name) + struct.pack(">H", kind) for name, kind, _ in columns)
    values = b"".join(struct.pack(">i", len(value)) + value for row in rows for _, _, value in row)
    return said + struct.pack(">i", len(rows)) + values


def _text(text: str) -> bytes:
    return struct.pack(">H", len(text.encode())) + text.encode()


def _texts(name: str, *texts: str) -> bytes:
    return _text(name) + struct.pack(">H", len(texts)) + b"".join(map(_text, texts))
