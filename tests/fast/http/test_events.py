"""Events over HTTP: a list, a long poll, a stream that is resumed."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from agent.wire.commands import Kind
from tests.fast.commands.tiny_agent import delete, everything, quick
from tests.fast.http.served import Served, served


async def read_stream(agent: Served, last: int | None, until: str) -> list[Any]:
    """Events of a stream up to the end of a command."""
    headers = {"Accept": "text/event-stream"}
    if last is not None:
        headers["Last-Event-ID"] = str(last)
    seen = []
    async with (
        asyncio.timeout(20),
        agent.client.session.get(agent.client.url + "/v1/events", headers=headers) as stream,
    ):
        assert stream.status == 200
        assert stream.content_type == "text/event-stream"
        sequence = 0
        async for line in stream.content:
            if line.startswith(b"id: "):
                sequence = int(line[4:])
            elif line.startswith(b"data: "):
                event = msgspec.json.decode(line[6:])
                assert event["sequence"] == sequence
                seen.append(event)
                if event["command"] == until and event["state"] == "success":
                    return seen
    raise AssertionError("the stream ended")


async def test_a_stream_is_resumed_where_it_broke_off(tmp_path: Path) -> None:
    """Last-Event-ID: a reader that comes back sees all that it missed, and nothing twice."""
    async with served(tmp_path, everything(quick)) as agent:
        reading = asyncio.create_task(read_stream(agent, None, "a"))
        await agent.post("a", Kind.DELETE, delete("a"))
        first = await reading
        await agent.post("b", Kind.DELETE, delete("b"))
        await agent.until("b")
        reading = asyncio.create_task(read_stream(agent, first[-1]["sequence"], "c"))
        await agent.post("c", Kind.DELETE, delete("c"))
        second = await reading
        whole = (await agent.client.get("/v1/events")).json
    assert first + second == whole
    assert [event["state"] for event in whole] == ["queued", "running", "success"] * 3


async def test_a_long_poll_waits_for_the_next_event(tmp_path: Path) -> None:
    """`after` and `wait`: the third way to read the same log."""
    async with served(tmp_path, everything(quick)) as agent:
        assert (await agent.client.get("/v1/events?after=0")).json == []
        polling = asyncio.create_task(agent.client.get("/v1/events?after=0&wait=20&limit=1"))
        await asyncio.sleep(0)
        await agent.post("a", Kind.DELETE, delete())
        answer = await polling
        assert [event["state"] for event in answer.json] == ["queued"]


async def test_a_reader_of_another_log_is_told_so(tmp_path: Path) -> None:
    """After lost state sequences begin anew: a reader must not wait for ever for numbers of the past."""
    async with served(tmp_path, everything(quick)) as agent:
        ahead = await agent.client.get("/v1/events?after=999999")
        assert (ahead.status, ahead.code, ahead.json["fields"]["newest"]) == (409, "sequence_ahead", 0)
        stream = await agent.client.get(
            "/v1/events", headers={"Accept": "text/event-stream", "Last-Event-ID": "999999"}
        )
        assert stream.code == "sequence_ahead"
        for query in ("?after=-1", "?wait=100", "?colour=1"):
            refused = await agent.client.get(f"/v1/events{query}", wrong=True)
            assert refused.code == "invalid_input"
        odd = await agent.client.get(
            "/v1/events", headers={"Accept": "text/event-stream", "Last-Event-ID": "x"}, wrong=True
        )
        assert odd.code == "invalid_input"


async def test_streams_are_counted_and_end_with_the_agent(tmp_path: Path) -> None:
    """One more than the agent serves is refused by name; a stop doesn't wait for readers."""
    streams = []
    async with served(tmp_path, everything(quick)) as agent:
        headers = {"Accept": "text/event-stream"}
        for _ in range(64):
            stream = await agent.client.session.get(agent.client.url + "/v1/events", headers=headers)
            assert stream.status == 200
            streams.append(stream)
        refused = await agent.client.get("/v1/events", headers=headers)
        assert (refused.status, refused.code) == (503, "too_many_readers")
        assert (await agent.client.get("/v1/commands")).status == 200
    for stream in streams:
        stream.close()
