"""Two coordinators, as processes, restore the nodes that hold their state: what the API tells meanwhile, and who goes
on when the one that carries it out is killed."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.wire.commands import Kind
from tests.cluster.sharing_coordinator import AWAY, TAKES_OVER_AFTER
from tests.orchestrate.apart_stage import Stage
from tests.orchestrate.conftest import Scene
from tests.orchestrate.point_story import story_so_far
from tests.orchestrate.together import C, Life

DEADLINE = 200.0


LEASE_SECONDS = 10.0
"""So long that a busy machine doesn't move the lead."""
TAKE_OVER_SECONDS = 5.0


class Pair:
    """The story, and two coordinators: `first`, which leads when the restore is ordered, and `second`."""

    def __init__(self, stage: Stage, first: Life, second: Life) -> None:
        self.stage = stage
        self.story = stage.story
        self.first = first
        self.second = second

    async def find_out_who_leads(self) -> None:
        """Name them by it, once both know."""
        async with asyncio.timeout(DEADLINE):
            while True:
                with suppress(aiohttp.ClientError):
                    for first, second in ((self.first, self.second), (self.second, self.first)):
                        (_, one), (_, other) = await first.ask("GET", "/health"), await second.ask("GET", "/health")
                        if one.get("status") == "ok" and other.get("leader") == first.url:
                            self.first, self.second = first, second
                            return
                await asyncio.sleep(0.1)

    async def fade(self, file: Path) -> None:
        """Let the state go and come as the nodes do."""
        while True:
            if self.stage.away():
                file.touch()
            else:
                file.unlink(missing_ok=True)
            await asyncio.sleep(0.01)

    async def stopped(self) -> tuple[str, asyncio.Event]:
        """A restore that stands still with all nodes stopped, and what lets it go on."""
        node = self.stage.scene.nodes[0]
        gate = node.gates.setdefault(Kind.PIT_COVER, asyncio.Event())
        point = self.story.point
        # The API refuses a point that is still to come.
        await asyncio.sleep(max(0.0, point / 1_000_000 - time.time()))
        await self.find_out_who_leads()
        body = {
            "pit": f"{point // 1_000_000}.{point % 1_000_000:06d}",
            "keyspaces": {"shop": {"column-families": ["orders"]}},
            "destination": "there",
        }
        request = await self.second.order("/backups/pit/run", body)
        await asyncio.wait_for(node.begun[Kind.PIT_COVER].wait(), DEADLINE)
        return request, gate

    async def refuses(self, life: Life) -> None:
        """Return once it answers nothing but what goes on apart."""
        async with asyncio.timeout(DEADLINE):
            while True:
                status, told = await life.ask("GET", f"{C}/nodes")
                if status == 503:
                    assert told["code"] in ("no_leader", "leader_unreachable", "store_unreachable"), told
                    return
                await asyncio.sleep(0.1)

    async def ended(self, life: Life, request: str) -> str:
        """The state in which the request has ended, as told while somebody leads."""
        async with asyncio.timeout(DEADLINE):
            while True:
                with suppress(aiohttp.ClientError):
                    status, told = await life.ask("GET", f"/request/{request}/status")
                    if status == 200 and told["state"] != "running" and not self.stage.away():
                        return str(told["state"])
                await asyncio.sleep(0.1)


@pytest.fixture
async def pair(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    monkeypatch.setenv(TAKES_OVER_AFTER, str(TAKE_OVER_SECONDS))
    story = await story_so_far(scene, "shared")
    for node in scene.nodes:
        node.done.clear()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        urls = [agent.url for agent in scene.agents]
        first, second = (
            Life(scene.directory / name, scene.directory / "shared", urls, session, "", LEASE_SECONDS, "t" * 40)
            for name in "ab"
        )
        for life in (first, second):
            await life.start()
            stack.push_async_callback(life.end)
        made = Pair(Stage(story), first, second)
        fading = asyncio.create_task(made.fade(scene.directory / "shared" / AWAY))
        yield made
        fading.cancel()
        await asyncio.gather(fading, return_exceptions=True)


async def test_the_api_tells_of_it_while_the_state_is_away(pair: Pair) -> None:
    """Promise: whoever carries it out tells the whole status, the other one what the agents know; all else is refused
    with a time to come again. Afterwards both tell the end."""
    request, gate = await pair.stopped()
    status, told = await pair.first.ask("GET", f"/request/{request}/status")
    assert (status, told.get("state"), len(told["details"]["subrequests"])) == (200, "running", 3), told

    def from_the_agents(told: Any) -> bool:
        return "another coordinator" in told["details"].get("message", "")

    told = await pair.second.until(f"/request/{request}/status", from_the_agents)
    assert told["state"] == "running"
    for life in (pair.first, pair.second):
        await pair.refuses(life)
    gate.set()
    assert await pair.ended(pair.second, request) == "success"
    assert await pair.ended(pair.first, request) == "success"
    assert pair.story.is_restored()
    assert pair.story.done_once()


async def test_killed_with_all_nodes_stopped_it_is_followed_by_the_other_one(pair: Pair) -> None:
    """Promise: kill -9 of the process that carries it out; when it has written nothing for a
    while the other one goes on, and ends it."""
    request, gate = await pair.stopped()
    pair.first.process.kill()
    await pair.first.process.wait()
    gate.set()
    assert await pair.ended(pair.second, request) == "success"
    await pair.second.leads()
    assert pair.story.is_restored()
    assert pair.story.done_once()
