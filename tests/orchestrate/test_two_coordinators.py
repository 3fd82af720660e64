"""Two coordinators of one state: one is killed, stopped or frozen in the midst of its work, and the other goes on."""

import asyncio
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest

from agent.wire.commands import Kind
from coordinator.store.sqlite import FILE
from tests.cluster.toy_coordinator import copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.together import C, Life

Pair = Callable[[str], Awaitable[tuple[Life, Life]]]

BACKUP = ["created", "accepted snapshot", "before ended upload", "before finished"]
RESTORE = ["ended fetch", "step irrevocable", "before accepted truncate", "accepted import"]
SWITCH = ["created", "accepted rolling_restart", "before finished"]


@pytest.fixture
async def pair(scene: Scene) -> AsyncIterator[Pair]:
    """The leader, which dies at the moment given ("": it lives), and the one that stands by."""
    coordinator = await scene.coordinator("shared")
    await coordinator.destination("there")
    await scene.stack.aclose()
    for node in scene.nodes:
        node.done.clear()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def begun(dies_at: str) -> tuple[Life, Life]:
            urls = [agent.url for agent in scene.agents]
            first, second = (Life(scene.directory / name, scene.directory / "shared", urls, session) for name in "ab")
            await first.start(dies_at)
            stack.push_async_callback(first.end)
            await first.leads()
            await second.start()
            stack.push_async_callback(second.end)
            await second.stands_by()
            return first, second

        yield begun


def once_each(scene: Scene, kinds: dict[Kind, int]) -> None:
    """Each kind was done so often, and no command twice."""
    done = Counter(kind for node in scene.nodes for kind, _ in node.done)
    commands = Counter(command for node in scene.nodes for _, command in node.done)
    assert {kind: done[kind] for kind in kinds} == kinds
    assert set(commands.values()) == {1}


@pytest.mark.parametrize("moment", BACKUP)
async def test_a_backup_goes_on_at_the_other_coordinator(scene: Scene, pair: Pair, moment: str) -> None:
    """Promise: ordered at the one that doesn't lead, and then killed under the one that does, a backup ends well: every
    node made one snapshot and one copy."""
    first, second = await pair(moment)
    body = {"keyspaces": ["shop"], "destinations": {"there": {}}}
    if moment == "created":
        # Who is cut off before the answer isn't told the id; the request is there all the same.
        status, told = await second.ask("POST", f"{C}/backups/run", body)
        assert (status, told["code"]) == (503, "leader_unreachable")
        assert "not known" in told["message"]
    else:
        await second.order("/backups/run", body)
    await first.died()
    await second.leads()
    _, [request] = await second.ask("GET", f"{C}/request/backup/status")
    assert (await second.ended(request["id"]))["state"] == "success"
    once_each(scene, {Kind.SNAPSHOT: 3, Kind.UPLOAD: 3})


@pytest.mark.parametrize("moment", RESTORE)
async def test_a_restore_goes_on_at_the_other_coordinator(scene: Scene, pair: Pair, moment: str) -> None:
    """Promise: killed before and after the point of no return; one truncate, every import once, every row back."""
    before = scene.world.rows()
    coordinator = await scene.coordinator("shared")
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    await scene.stack.aclose()
    for node in scene.nodes:
        node.done.clear()
        node.rows["shop", "orders"] = {"wrong"}
    first, second = await pair(moment)
    body = {"destination": "there", "keyspaces": {"shop": {"truncate": True}}}
    request = await first.order(f"/backups/restore/{tag}", body)
    await first.died()
    await second.leads()
    assert (await second.ended(request))["state"] == "success"
    once_each(scene, dict.fromkeys([Kind.PREFLIGHT, Kind.FETCH, Kind.IMPORT, Kind.CHECK, Kind.CLEAN], 3))
    once_each(scene, {Kind.TRUNCATE: 1})
    assert scene.world.rows() == before


@pytest.mark.parametrize("moment", SWITCH)
async def test_a_rolling_restart_goes_on_at_the_other_coordinator(scene: Scene, pair: Pair, moment: str) -> None:
    """Promise: every node is restarted once, whichever coordinator is the one that did it."""
    first, second = await pair(moment)
    body = {"destinations": {"there": {}}, "backup_directory": "/log", "drain_first": True}
    _ = await asyncio.gather(first.ask("POST", f"{C}/backups/pit", body), return_exceptions=True)
    await first.died()
    await second.leads()
    _, [request] = await second.ask("GET", f"{C}/request/archiving/status")
    assert (await second.ended(request["id"]))["state"] == "success"
    assert [agent.log.restarts for agent in scene.agents] == [[True]] * 3


async def test_a_leader_that_slept_through_its_lease_does_nothing_more(scene: Scene, pair: Pair) -> None:
    """Promise: frozen in the midst of a backup, and thawed when another one leads and has ended it, a coordinator sends
    nothing of what it was about to, stands by, and passes on what it is asked."""
    first, second = await pair("")
    gates = [node.gates.setdefault(Kind.SNAPSHOT, asyncio.Event()) for node in scene.nodes]
    request = await first.order("/backups/run", {"keyspaces": ["shop"], "destinations": {"there": {}}})
    await scene.until(lambda: all(node.begun[Kind.SNAPSHOT].is_set() for node in scene.nodes))
    await first.freeze()
    for gate in gates:
        gate.set()
    await second.leads()
    assert (await second.ended(request))["state"] == "success"
    first.process.send_signal(signal.SIGCONT)
    await first.stands_by()
    assert (await first.ended(request))["state"] == "success"
    once_each(scene, {Kind.SNAPSHOT: 3, Kind.UPLOAD: 3})
    again = await first.order("/backups/run", {"keyspaces": ["shop"], "destinations": {"there": {}}})
    assert (await first.ended(again))["state"] == "success"
    once_each(scene, {Kind.SNAPSHOT: 6, Kind.UPLOAD: 6})


async def test_one_that_is_stopped_hands_over_at_once(scene: Scene, pair: Pair) -> None:
    """Promise: SIGTERM gives the lead back; the other one goes on with what runs, and a request that was passed on
    once isn't passed on again."""
    first, second = await pair("")
    status, told = await second.ask("GET", f"{C}/nodes", **{"Helenus-Passed-On": "x"})
    assert (status, told["code"]) == (503, "no_leader")
    gates = [node.gates.setdefault(Kind.UPLOAD, asyncio.Event()) for node in scene.nodes]
    request = await first.order("/backups/run", {"keyspaces": ["shop"], "destinations": {"there": {}}})
    await scene.until(lambda: all(node.begun[Kind.UPLOAD].is_set() for node in scene.nodes))
    first.process.terminate()
    assert await first.process.wait() == 0
    await second.leads()
    for gate in gates:
        gate.set()
    assert (await second.ended(request))["state"] == "success"
    once_each(scene, {Kind.SNAPSHOT: 3, Kind.UPLOAD: 3})


async def test_while_the_state_takes_nothing_nobody_acts_and_then_the_work_goes_on(scene: Scene, pair: Pair) -> None:
    """Promise: a leader that can't renew stops acting, and ends no request for that; as soon as the state takes writes
    again one of the two goes on, and nothing is done twice."""
    first, second = await pair("")
    gates = [node.gates.setdefault(Kind.SNAPSHOT, asyncio.Event()) for node in scene.nodes]
    request = await first.order("/backups/run", {"keyspaces": ["shop"], "destinations": {"there": {}}})
    await scene.until(lambda: all(node.begun[Kind.SNAPSHOT].is_set() for node in scene.nodes))
    state = sqlite3.connect(scene.directory / "shared" / FILE, isolation_level=None)
    try:
        state.execute("BEGIN IMMEDIATE")
        for life in (first, second):
            await life.until("/health", lambda told: told["status"] == "standby" and told["leader"] is None)
        for gate in gates:
            gate.set()
        status, told = await second.ask("GET", f"{C}/nodes")
        assert (status, told["code"]) == (503, "no_leader")
        await scene.until(lambda: scene.world.count(Kind.SNAPSHOT) == 3)
        assert scene.world.count(Kind.UPLOAD) == 0
        state.execute("ROLLBACK")
    finally:
        state.close()
    assert (await second.ended(request))["state"] == "success"
    assert (await first.ended(request))["state"] == "success"
    once_each(scene, {Kind.SNAPSHOT: 3, Kind.UPLOAD: 3})
