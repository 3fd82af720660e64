"""Two coordinators whose state is in a real Cassandra, over toy agents: the leader is killed with -9 amid its work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from agent.wire.commands import Kind
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import write_secret
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_two_coordinators import once_each
from tests.orchestrate.together import DEADLINE, C, Life
from tests.real.state.conftest import CassandraSite

LEASE_SECONDS = 8.0
"""A question to Cassandra has a sixth of it: a busy machine needs that."""


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Toy agents."""
    scene = Scene(tmp_path)
    for agent in scene.agents:
        await agent.start()
    yield scene
    for agent in scene.agents:
        await agent.stop()


def state_of(scene: Scene, site: CassandraSite, node: ScratchCluster, keyspace: str, more: str = "") -> str:
    """The `[state]` table of a coordinator. `keyspace`: the test's own, or a lease of another's would be waited for."""
    key = write_secret(scene.directory / "key", "ab" * 32)
    told = site.settings
    return (
        f'[state]\nkind = "cassandra"\ncontact_points = ["{told.contact_points[0]}"]\nport = {told.port}\n{more}'
        f'keyspace = "{keyspace}"\nkey_file = "{key}"\nreplication = {{ {node.nodes[0].spec.dc} = 1 }}\n'
    )


async def test_a_backup_waits_for_its_state(scene: Scene, site: CassandraSite, state_node: ScratchCluster) -> None:
    """Promise: with its Cassandra frozen for longer than a call is patient, a leader tells who asks so, and its backup
    waits and ends well, each command done once."""
    state = state_of(scene, site, state_node, "waits_for_its_state", "patience_seconds = 2.0\nrequest_seconds = 1.0\n")
    urls = [agent.url for agent in scene.agents]
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        life = Life(scene.directory / "a", scene.directory, urls, session, state, lease=300.0)
        stack.push_async_callback(life.end)  # one that is left would take the lead from the next test's
        await life.start()
        await life.leads()
        gates = [node.gates.setdefault(Kind.SNAPSHOT, asyncio.Event()) for node in scene.nodes]
        request = await life.order("/backups/run", {"keyspaces": ["shop"], "destinations": {}})
        async with asyncio.timeout(DEADLINE):
            for node in scene.nodes:
                await node.begun[Kind.SNAPSHOT].wait()
        frozen = state_node.nodes[0]
        frozen.pause()
        try:
            for gate in gates:
                gate.set()
            await scene.until(lambda: "work waits for the state" in life.log.read_text(), DEADLINE)
            async with session.get(f"{life.url}{C}/request/backup/status") as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        finally:
            frozen.resume()
        ended = await life.ended(request)
        assert ended["state"] == "success", ended
        once_each(scene, {Kind.SNAPSHOT: 3})
        assert "does not lead any more" not in life.log.read_text()


async def test_the_other_coordinator_goes_on(scene: Scene, site: CassandraSite, state_node: ScratchCluster) -> None:
    """Promise: killed amid a backup, a restore and a rolling restart, each command is done once."""
    state = state_of(scene, site, state_node, "two_coordinators")
    urls = [agent.url for agent in scene.agents]
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        lives = [Life(scene.directory / name, scene.directory, urls, session, state, LEASE_SECONDS) for name in "ab"]
        for life in lives:
            stack.push_async_callback(life.end)
            await life.start()
        leader, other = await in_their_roles(lives)
        body = {"provider": "local", "path": "there"}
        status, made = await other.ask("POST", f"{C}/backups/destinations", body)
        assert status == 200, made
        place = (await other.until(f"{C}/backups/destinations", bool)).keys()
        [name] = place
        orders = [
            (Kind.UPLOAD, "/backups/run", {"keyspaces": ["shop"], "destinations": {name: {}}}),
            (Kind.FETCH, "", {"destination": name, "keyspaces": {"shop": {"truncate": True}}}),
            (Kind.RESTART, "/backups/pit", {"destinations": {name: {}}, "backup_directory": "/log"}),
        ]
        before = scene.world.rows()
        tag = ""
        for kind, path, body in orders:
            gates = [node.gates.setdefault(kind, asyncio.Event()) for node in scene.nodes]
            request = await other.order(path or f"/backups/restore/{tag}", body)
            begun = [node.begun[kind] for node in scene.nodes]
            await scene.until(partial(_any_set, begun), DEADLINE)
            leader.process.kill()
            await leader.process.wait()
            for gate in gates:
                gate.set()
            await other.leads()
            ended = await other.ended(request)
            assert ended["state"] == "success", ended
            if not tag:
                tag = next(iter(await other.until(f"{C}/backups?destination={name}", bool)))
                tag = tag if isinstance(tag, str) else tag["tag"]
                for node in scene.nodes:
                    node.rows["shop", "orders"] = {"wrong"}
            await leader.start()
            await leader.stands_by()
            leader, other = other, leader
        assert scene.world.rows() == before
        once_each(scene, {Kind.SNAPSHOT: 3, Kind.UPLOAD: 3, Kind.FETCH: 3, Kind.IMPORT: 3, Kind.TRUNCATE: 1})
        assert [agent.log.restarts for agent in scene.agents] == [[False]] * 3


async def in_their_roles(lives: list[Life]) -> list[Life]:
    """Who leads, and who stands by."""
    async with asyncio.timeout(DEADLINE):
        while True:
            told = [(await life.ask("GET", "/health"))[1]["status"] for life in lives]
            if sorted(told) == ["ok", "standby"]:
                return lives if told[0] == "ok" else lives[::-1]
            await asyncio.sleep(0.05)


def _any_set(events: list[asyncio.Event]) -> bool:
    return any(event.is_set() for event in events)
