"""Answers that are sent while they are made."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from coordinator.opscenter.streamed import LEAST_RATE, PIECE, send
from coordinator.store.database import Database

DEADLINE = 20.0
LARGE = 40_000_000
"""Bytes that no kernel takes for a reader who doesn't read."""


async def served(pieces: Callable[[], Iterator[bytes]], seconds: float = 60.0, least: float = LEAST_RATE) -> TestServer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await send(request, pieces(), seconds, least)

    app = web.Application()
    app.router.add_get("/", answer)
    server = TestServer(app, host="127.0.33.1")
    await server.start_server()
    return server


async def test_the_loop_turns_while_an_answer_is_made() -> None:
    """Promise: however long an answer is, others have their turn between its pieces; a short one has a length."""
    turns = 0
    made: list[int] = []

    def pieces() -> Iterator[bytes]:
        for _ in range(50):
            made.append(turns)
            yield bytes(PIECE)

    server = await served(pieces)
    over = asyncio.Event()

    async def others() -> None:
        nonlocal turns
        while not over.is_set():
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(others())
    try:
        async with asyncio.timeout(DEADLINE), aiohttp.ClientSession() as session:
            body = await (await session.get(server.make_url("/"))).read()
            assert len(body) == 50 * PIECE
            assert len(set(made)) > 40
    finally:
        over.set()
        await running
        await server.close()
    server = await served(lambda: iter([b"[", b"]"]))
    async with aiohttp.ClientSession() as session:
        answer = await session.get(server.make_url("/"))
        assert (answer.headers["Content-Length"], await answer.read()) == ("2", b"[]")
    await server.close()


async def test_half_an_answer_does_not_look_like_a_whole_one() -> None:
    """Promise: what fails on its way breaks the connection; before the first byte it is an error."""

    def broken(after: int) -> Iterator[bytes]:
        for _ in range(after):
            yield bytes(PIECE)
        raise RuntimeError("a fault")

    server = await served(lambda: broken(10))
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await (await session.get(server.make_url("/"))).read()
    await server.close()
    server = await served(lambda: broken(0))
    async with aiohttp.ClientSession() as session:
        assert (await session.get(server.make_url("/"))).status == 500
    await server.close()


async def test_who_does_not_read_is_cut_off() -> None:
    """Promise: a client that reads nothing keeps its turn no longer than it may."""
    given_up = asyncio.Event()

    def pieces() -> Iterator[bytes]:
        try:
            for _ in range(LARGE // PIECE):
                yield bytes(PIECE)
        finally:
            given_up.set()

    server = await served(pieces, seconds=0.2)
    _, writer = await asyncio.open_connection("127.0.33.1", server.port, limit=1)
    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.33.1\r\n\r\n")
    async with asyncio.timeout(DEADLINE):
        await given_up.wait()
    writer.close()
    await server.close()


async def test_who_reads_slowly_is_cut_off_too() -> None:
    """Promise: a client that reads a little again and again keeps its turn not much longer than one that reads nothing;
    one that reads as fast as it must has all."""

    async def read(least: float) -> int:
        server = await served(lambda: (bytes(PIECE) for _ in range(LARGE // PIECE)), 0.3, least)
        reader, writer = await asyncio.open_connection("127.0.33.1", server.port, limit=1)
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.33.1\r\n\r\n")
        total = 0
        try:
            async with asyncio.timeout(DEADLINE):
                while piece := await reader.read(4 * PIECE):
                    total += len(piece)
                    if piece.endswith(b"0\r\n\r\n"):
                        break
                    await asyncio.sleep(0.005)
        except ConnectionError:
            pass
        writer.close()
        await server.close()
        return total

    assert await read(1e12) < LARGE // PIECE * PIECE
    assert await read(1.0) > LARGE // PIECE * PIECE


async def test_reading_the_state_waits_for_no_write(tmp_path: Path) -> None:
    """Promise: a listing is answered while a write is under way, of what was durable before it; after it, of that."""
    database = await Database.open(tmp_path / "state.sqlite", [["CREATE TABLE words (word TEXT)"]])
    await database.write(lambda connection: connection.execute("INSERT INTO words VALUES ('one')"))
    loop = asyncio.get_running_loop()
    begun, go_on = asyncio.Event(), asyncio.Event()

    def slow(connection: object) -> None:
        connection.execute("INSERT INTO words VALUES ('two')")  # type: ignore[attr-defined]
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(DEADLINE)

    async def words() -> list[str]:
        found = await database.read(lambda connection: connection.execute("SELECT word FROM words").fetchall())
        return [word for (word,) in found]

    async with asyncio.timeout(DEADLINE):
        writing = asyncio.create_task(database.write(slow))
        await begun.wait()
        assert await words() == ["one"]
        go_on.set()
        await writing
        assert await words() == ["one", "two"]
    await database.close()
