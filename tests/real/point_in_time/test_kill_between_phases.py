"""kill -9 of the coordinator and of every agent between any two phases of a restore to a point, on three real nodes:
processes of their own, whose next lives have what they wrote down and nothing else."""

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from agent.cassandra.replay_log import replay_told
from agent.wire.commands import Kind
from coordinator.orchestrate.point_in_time.phases import POINT_IN_TIME
from coordinator.orchestrate.restore.phases import Where
from tests.cluster.processes import ProcessError
from tests.real.point_in_time.three_nodes import KEYSPACE, ROWS, ThreeNodes, micros, three_nodes, to_all

pytestmark = [pytest.mark.timeout(2_400), pytest.mark.long]
DEATHS = {
    "step verdict": Kind.PIT_FETCH,
    "step fetched": Kind.PIT_TABLES,
    "step tables_made": Kind.PIT_QUIESCE,
    "step quiesced": Kind.PIT_STOP,
    "step stopped": Kind.PIT_COVER,
    "step covered": Kind.PIT_PLACE,
    "step irrevocable": Kind.PIT_PLACE,
    "step placed": Kind.PIT_START,
    "posted pit_verify": Kind.PIT_VERIFY,
    "step verified": Kind.PIT_OPEN,
    "step opened": Kind.CREATE_VIEWS,
    "step views_made": Kind.PIT_CLEAN,
}
"""At which durable write of the coordinator's all are killed → the phase that comes next."""
VIEW = f"{KEYSPACE}.by_text"


async def killed_at_each(nodes: ThreeNodes, point: int) -> str:
    """The request, whose coordinator dies at each moment, and all agents after it; the last ones live. Raises
    `RequestFailed` when it ends before."""
    coordinator, agents = nodes.service.coordinator, nodes.service.agents
    first, *later = DEATHS
    await coordinator.stop()
    coordinator.launch_mortal(first)
    await coordinator.wait_until_ready(90)
    request = await nodes.begin_restore(point)
    for moment in (*later, ""):
        with contextlib.suppress(aiohttp.ClientError, ProcessError):  # what its death looks like from here
            await coordinator.wait_until_ready(90)
            await nodes.follow(request)
        assert await coordinator.died(60) == -9
        for agent in agents:
            await agent.kill()
        async with asyncio.TaskGroup() as group:
            for agent in agents:
                group.create_task(agent.start(180))
        if moment:
            coordinator.launch_mortal(moment)
    await coordinator.start(180)
    return request


async def restarted(nodes: ThreeNodes) -> list[int | None]:
    """One node after the other as an operator would; how many writes each one replayed."""
    nodes.cluster.close_sessions()
    for node in nodes.cluster.nodes:
        await node.stop()
        await node.start(300)
        await nodes.cluster.wait_until_whole(300)
    return [replay_told(node.printed()).mutations for node in nodes.cluster.nodes]


async def as_at_the_point(nodes: ThreeNodes) -> None:
    """Each node has what it should have, by itself."""
    expected = {*range(ROWS), *range(1_000, 1_000 + ROWS)}
    assert await nodes.rows() == [expected] * 3
    assert await nodes.ids(VIEW) == [expected] * 3
    assert await nodes.ids(f"{KEYSPACE}.gone") == [{1}] * 3
    assert await nodes.ids("other.things") == [set(range(10))] * 3


async def test_all_are_killed_between_any_two_phases_and_the_point_is_reached_exactly(tmp_path: Path) -> None:
    """Promise: the same request ends in success, each phase was ordered once on each node; every row of the point and
    nothing else is on each node, in the view too, deletes, a TRUNCATE and an ALTER since are undone, other tables have
    every row; an ordinary restart replays nothing."""
    assert [*dict.fromkeys(DEATHS.values())] == [phase.kind for phase in POINT_IN_TIME[1:]]
    async with three_nodes(tmp_path) as nodes:
        session = await nodes.session()
        session.execute(
            f"CREATE MATERIALIZED VIEW {VIEW} AS SELECT id, text FROM {KEYSPACE}.orders "
            "WHERE text IS NOT NULL AND id IS NOT NULL PRIMARY KEY (text, id)",
            timeout=60,
        )
        to_all(session, f"INSERT INTO {KEYSPACE}.gone (id, text) VALUES (1, 'x')")
        nodes.write(session, 0)
        await nodes.service.backup([KEYSPACE], nodes.destination)
        nodes.write(session, 1_000)
        await asyncio.sleep(0.05)
        point = micros()
        await nodes.schema_seen(after=point)
        nodes.write(session, 2_000)
        for number in (1, 1_001):
            to_all(session, f"DELETE FROM {KEYSPACE}.orders WHERE id = {number}")
        session.execute(f"TRUNCATE {KEYSPACE}.gone", timeout=60)
        session.execute(f"ALTER TABLE {KEYSPACE}.gone ADD later int", timeout=60)
        for number in range(10):
            to_all(session, f"INSERT INTO other.things (id, text) VALUES ({number}, 'x')")

        status = await nodes.follow(await killed_at_each(nodes, point))
        assert status["state"] == "success", status
        everywhere = {phase.kind.value: 1 for phase in POINT_IN_TIME if phase.where is Where.EVERY}
        del everywhere[Kind.PIT_START]  # told again in each life: it starts only what has ended since
        for agent in nodes.service.agents:
            done = Counter(one["kind"] for one in await agent.ask("GET", "/v1/commands"))
            assert {kind: done[kind] for kind in everywhere} == everywhere
        await as_at_the_point(nodes)
        assert await restarted(nodes) == [0] * 3
        await as_at_the_point(nodes)
        assert nodes.service.staged() == []
