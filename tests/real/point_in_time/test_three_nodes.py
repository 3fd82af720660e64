"""A restore to a point in time through the API on three real nodes, the coordinator killed with all of them stopped."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from tests.cluster import places
from tests.real.point_in_time.three_nodes import KEYSPACE, REPLICATED, ROWS, ThreeNodes, micros, three_nodes, to_all

pytestmark = pytest.mark.timeout(900)


@dataclass
class Story:
    """Rows A before a snapshot and B after it, a marked point with rows of its own, and what came later."""

    nodes: ThreeNodes
    expected: set[int] = field(default_factory=set)
    mark: int = 0

    async def tell(self) -> None:
        """A, a snapshot, B, the mark, C, deletes and a TRUNCATE."""
        nodes = self.nodes
        session = await nodes.session()
        to_all(session, f"INSERT INTO {KEYSPACE}.gone (id, text) VALUES (1, 'x')")
        nodes.write(session, 0)
        await nodes.service.backup([KEYSPACE], nodes.destination)
        nodes.write(session, 1_000)
        await asyncio.sleep(0.01)
        self.mark = micros()
        nodes.write(session, 2_000, self.mark)
        self.expected = {*range(ROWS), *range(1_000, 1_000 + ROWS), *range(2_000, 2_000 + ROWS)}
        await asyncio.sleep(0.01)
        nodes.write(session, 3_000)
        for number in (1, 1_001, 2_001):
            to_all(session, f"DELETE FROM {KEYSPACE}.orders WHERE id = {number}")
        session.execute(f"TRUNCATE {KEYSPACE}.gone", timeout=60)


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[places.CASSANDRA_50, pytest.param(places.CASSANDRA_41, marks=pytest.mark.long)],
)
async def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Story]:
    async with three_nodes(tmp_path_factory.mktemp("points"), request.param) as nodes:
        made = Story(nodes)
        await made.tell()
        yield made


@pytest.mark.asyncio(loop_scope="module")
async def test_a_check_tells_which_points_there_are(story: Story) -> None:
    """Promise: the snapshot, the windows and each node's log are told, nothing is started, and a point before every
    snapshot is refused in the reference's words."""
    nodes = story.nodes
    told = await nodes.service.api.post("/backups/pit_check", nodes.body(story.mark))
    assert told["brief"] == "success", told
    assert set(told["nodes"]) == {node.address for node in nodes.cluster.nodes}
    assert any(since * 1e6 <= story.mark <= until * 1e6 for since, until in told["windows"])
    status, refused = await nodes.service.api.refused("POST", "/backups/pit_check", nodes.body(1_450_143_120_000_000))
    assert status == 400
    assert refused["message"].startswith("No snapshots found before date and time: 12-15-2015 01:32:00 UTC")
    assert all(node.alive for node in nodes.cluster.nodes)


@pytest.mark.asyncio(loop_scope="module")
async def test_three_nodes_come_to_the_point_though_the_coordinator_dies_while_all_are_stopped(story: Story) -> None:
    """Promise: exactly A, B and the marked rows, on each node by itself, TRUNCATE and deletes undone; another keyspace
    and a role that were made a second before one node was killed, unflushed, are there afterwards."""
    nodes = story.nodes
    session = await nodes.session()
    session.execute(f"CREATE KEYSPACE late {REPLICATED}", timeout=60)
    session.execute("CREATE TABLE late.rows (id int PRIMARY KEY)", timeout=60)
    for number in range(10):
        to_all(session, f"INSERT INTO late.rows (id) VALUES ({number})")
    session.execute(
        "ALTER KEYSPACE system_auth WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}"
    )
    session.execute("CREATE ROLE latest WITH PASSWORD = 'x' AND LOGIN = true", timeout=60)
    to_all(session, "INSERT INTO other.things (id, text) VALUES (1, 'x')")
    await asyncio.sleep(1)  # Cassandra itself forgets what came after its last sync
    nodes.cluster.close_sessions()
    await nodes.cluster.nodes[1].kill()
    request = await nodes.begin_restore(story.mark)
    await nodes.all_stopped()
    await nodes.service.coordinator.kill()
    await asyncio.sleep(1)
    await nodes.service.coordinator.start()
    status = await nodes.follow(request)
    assert status["state"] == "success", status
    assert await nodes.rows() == [story.expected] * 3
    assert await nodes.ids(f"{KEYSPACE}.gone") == [{1}] * 3
    assert await nodes.ids("late.rows") == [set(range(10))] * 3
    assert await nodes.ids("other.things") == [{1}] * 3
    for node in nodes.cluster.nodes:
        session = await nodes.cluster.session_one(node)
        assert session.execute("SELECT role FROM system_auth.roles WHERE role = 'latest'").one() is not None
    assert nodes.service.staged() == []


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.long
async def test_a_millisecond_before_a_marked_write_leaves_out_exactly_it(story: Story) -> None:
    """Promise: the same log leads to another point, one millisecond earlier: without the marked rows, all others."""
    nodes = story.nodes
    status = await nodes.follow(await nodes.begin_restore(story.mark - 1_000))
    assert status["state"] == "success", status
    assert await nodes.rows() == [story.expected - {*range(2_000, 2_000 + ROWS)}] * 3
