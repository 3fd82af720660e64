"""What a coordinator that doesn't lead any more is kept from: writes of the state, calls that change an agent."""

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from coordinator.fleet.client import AgentClient, open_session
from coordinator.leading.led_store import LOOKS, led
from coordinator.store import protocol
from coordinator.store.protocol import PARTS
from coordinator.store.sqlite import SqliteStore
from tests.cluster.ports import free_port

WRITES = {
    "requests": {
        "claim_tag", "create", "update", "finish", "ask_cancel", "drop_cancel", "record_step", "record_steps",
        "mark_deleted",
    },
    "commands": {"put", "next_fence"},
    "destinations": {"put", "remove"},
    "retention": {"put"},
    "schedules": {"put", "remove"},
    "values": {"put"},
    "outbox": {"put", "done", "postpone", "keep_newest", "prune"},
    "users": {"add", "replace"},
    "sessions": {"put", "saw", "remove"},
}  # fmt: skip


def calls(part: str) -> set[str]:
    """The calls of a part of the store's interface."""
    kind: Any = getattr(protocol, part.capitalize())
    return {name for name, value in vars(kind).items() if inspect.iscoroutinefunction(value)}


@pytest.mark.parametrize("part", PARTS)
def test_every_call_of_the_store_is_a_look_or_held_back(part: str) -> None:
    """Promise: nobody adds a write that slips through: each call stands in one of the two lists."""
    assert calls(part) - LOOKS == WRITES[part]


def test_every_part_of_the_store_is_held_back() -> None:
    """Promise: no part of the store but the record of the lead itself is left out."""
    parts = {name for name, value in vars(protocol.Store).items() if isinstance(value, property)}
    assert parts == {*PARTS, "lead"}


async def test_a_write_waits_and_a_look_does_not(tmp_path: Path) -> None:
    """Promise: once the term is over nothing is written, for good; what is there can still be read."""
    lasts = asyncio.Event()

    async def hold() -> None:
        await lasts.wait()

    store = await SqliteStore.open(tmp_path, now=0.0)
    try:
        guarded = led(store, hold)
        written = asyncio.create_task(guarded.values.put("a", 1))
        pruned = asyncio.create_task(guarded.prune(0.0))
        assert await guarded.values.get("a") is None
        await asyncio.sleep(0.05)
        assert not written.done()
        assert not pruned.done()
        assert await store.values.get("a") is None
        lasts.set()
        await asyncio.gather(written, pruned)
        assert await guarded.values.get("a") == 1
    finally:
        await store.close()


async def test_an_agent_is_told_nothing_once_the_term_is_over() -> None:
    """Promise: each call of an agent but a GET is held back, before a byte of it is sent."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.method)
        return web.json_response([])

    async def never() -> None:
        await asyncio.Event().wait()

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    address, port = "127.0.70.22", free_port("127.0.70.22")
    await web.TCPSite(runner, address, port).start()
    try:
        async with open_session() as session:
            client = AgentClient(session, f"http://{address}:{port}", hold=never)
            assert await client.jobs() == []
            told = [
                asyncio.create_task(call)
                for call in (
                    client.delete_destination("d"),
                    client.cancel_command("c"),
                    client.post_command(_command()),
                )
            ]
            _, waiting = await asyncio.wait(told, timeout=0.3)
            assert len(waiting) == len(told)
            for task in told:
                task.cancel()
            await asyncio.gather(*told, return_exceptions=True)
    finally:
        await runner.cleanup()
    assert asked == ["GET"]


def _command() -> Any:
    """Any JSON: it isn't sent."""
    return {"id": "c"}
