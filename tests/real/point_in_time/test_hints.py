"""Hints on three real nodes: one was down while the others took writes, and comes back with a restore to a point alone.

What a node never received is in no log of its own: it has to come by hints before the nodes stop, or is told of.
"""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from cassandra import ConsistencyLevel
from cassandra.query import SimpleStatement

from tests.cluster.cassandra import CassandraNode
from tests.real.point_in_time.three_nodes import KEYSPACE, ROWS, ThreeNodes, micros, three_nodes

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1_200), pytest.mark.long]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ThreeNodes]:
    """Rows from 0 on, on all nodes, and a backup of them."""
    async with three_nodes(tmp_path_factory.mktemp("hints")) as nodes:
        nodes.write(await nodes.session(), 0)
        await nodes.service.backup([KEYSPACE], nodes.destination)
        yield nodes


def kept_hints(node: CassandraNode) -> int:
    """Bytes of the hints on its disk."""
    return sum(path.stat().st_size for path in (node.directory / "hints").glob("*.hints"))


async def write_without_the_last(nodes: ThreeNodes, first: int) -> int:
    """The last node is killed; rows from this number on at QUORUM, then a point, then later rows; every other node has
    written down hints. The point."""
    *others, away = nodes.cluster.nodes
    nodes.cluster.close_sessions()
    await away.kill()
    for node in others:
        await node.wait_until_sees({other.address for other in others} - {node.address}, 300)
    point = 0
    for start in (first, first + 500):
        for position, node in enumerate(others):
            session = await nodes.cluster.session_one(node)
            for number in range(start + position, start + ROWS, len(others)):
                insert = f"INSERT INTO {KEYSPACE}.orders (id, text) VALUES ({number}, 'x')"
                session.execute(SimpleStatement(insert, consistency_level=ConsistencyLevel.QUORUM))
        await asyncio.sleep(0.05)
        point = point or micros()
        await asyncio.sleep(0.05)
    async with asyncio.timeout(300):
        while not all(kept_hints(node) for node in others):  # noqa: ASYNC110 - Cassandra writes them every ten seconds
            await asyncio.sleep(0.5)
    return point


async def test_hints_are_delivered_before_the_nodes_stop(nodes: ThreeNodes) -> None:
    """Promise: the node that was down has every row of the point by itself, those that only hints had for it too, and
    none of later; nothing was dropped, and no hint is left that could bring anything back."""
    point = await write_without_the_last(nodes, 1_000)
    status = await nodes.follow(await nodes.begin_restore(point))
    assert status["state"] == "success", status
    assert not [warning for warning in status["details"]["warnings"] if "hints" in warning]
    assert await nodes.rows() == [{*range(ROWS), *range(1_000, 1_000 + ROWS)}] * 3
    assert [kept_hints(node) for node in nodes.cluster.nodes] == [0] * 3


async def test_hints_that_could_not_be_delivered_are_told_with_the_node_that_lacks_them(nodes: ThreeNodes) -> None:
    """Promise: while handoff is paused the restore waits as long as was configured, then goes on: it is told who lacks
    what whom kept, the nodes that took the writes have every row of the point, the other one those that it received,
    and no hint comes later."""
    *others, away = nodes.cluster.nodes
    before, *_ = await nodes.rows()
    for agent in nodes.service.agents:
        await agent.stop()
        agent.changes = {"cassandra": {"service": {"hints_seconds": 15.0}}}
        await agent.start(180)
    await nodes.service.backup([KEYSPACE], nodes.destination)
    for node in others:
        await node.nodetool("pausehandoff")
    point = await write_without_the_last(nodes, 2_000)
    status = await nodes.follow(await nodes.begin_restore(point))
    assert status["state"] == "success", status
    for node in others:
        told = re.compile(rf"{node.address}: hints .* for {away.address} \([1-9][0-9,]* bytes\)")
        assert any(map(told.match, status["details"]["warnings"])), status["details"]["warnings"]
    full = before | {*range(2_000, 2_000 + ROWS)}
    assert await nodes.rows() == [full, full, before]
    assert [kept_hints(node) for node in nodes.cluster.nodes] == [0] * 3
