"""A TCP relay in front of a server that counts what its clients send: what a store was really sent, whole or not.

In: the server's address. Out: an address of its own, and the bytes that came for the server. It reads no further ahead
than the server takes.
"""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

_READ = 64 * 1024


class CountingRelay:
    """`async with CountingRelay(address, port) as relay`. Bound to the event loop that it was entered in."""

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = 0
        self.received = 0
        """Bytes from clients so far, headers among them."""
        self._upstream = port
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.address, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://{self.address}:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(ConnectionError):
                there, back = await asyncio.open_connection(self.address, self._upstream)
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._pass(reader, back, count=True))
                        group.create_task(self._pass(there, writer, count=False))
                finally:
                    back.close()
        finally:
            self._open.discard(task)
            writer.close()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, count: bool) -> None:
        with suppress(ConnectionError):
            while part := await source.read(_READ):
                self.received += len(part) if count else 0
                target.write(part)
                await target.drain()
        target.close()
