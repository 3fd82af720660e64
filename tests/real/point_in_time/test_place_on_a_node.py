"""The agent's side of a restore to a point in time on one real node: placed, replayed, verified, opened; and undone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.jobs.point_in_time.place_errors import NotDrained, RestoreOpened, RestoreUnfinished
from agent.wire.commands import Kind
from agent.wire.point_in_time import PitArguments, PitPlaceResult, PitVerifyResult
from agent.wire.results import PhaseResult
from tests.cluster import places
from tests.cluster.scratch import ScratchCluster
from tests.real.point_in_time.archiving_node import ArchivingNode, now_micros

TABLES = {"pit": ["orders", "tagged"]}
SIMPLE = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
SCHEMA = (
    f"CREATE KEYSPACE pit WITH replication = {SIMPLE}",
    f"CREATE KEYSPACE other WITH replication = {SIMPLE}",
    "CREATE TABLE pit.orders (id int PRIMARY KEY, state text)",
    "CREATE INDEX by_state ON pit.orders (state)",
    "CREATE TABLE pit.tagged (id int PRIMARY KEY, tag text)",
    "CREATE TABLE other.kept (id int PRIMARY KEY, v text)",
)
SAI = "CREATE INDEX by_tag ON pit.tagged (tag) USING 'sai'"
Rows = dict[int, str]


class Story:
    """Rows A, a snapshot, rows B, the point, rows C with deletes and a truncate, and writes to others just before a
    kill."""

    def __init__(self, node: ArchivingNode) -> None:
        self.node = node
        self.orders: Rows = {}
        self.tagged: Rows = {}
        self.point = 0

    async def tell(self) -> None:
        session = await self.node.session()
        for statement in SCHEMA:
            session.execute(statement)
        if self.node.node.spec.version != places.CASSANDRA_41:
            session.execute(SAI)
        self._write(session, range(100), "A")
        await self.node.rig.keep("snap", {"pit": []})
        self._write(session, range(80, 160), "B")
        session.execute("DELETE FROM pit.orders WHERE id = 7")
        del self.orders[7]
        kept = (dict(self.orders), dict(self.tagged))
        await asyncio.sleep(0.05)
        self.point = now_micros()
        await asyncio.sleep(0.05)
        session.execute(f"INSERT INTO pit.orders (id, state) VALUES (500, 'B') USING TIMESTAMP {self.point}")
        session.execute(f"INSERT INTO pit.orders (id, state) VALUES (501, 'B') USING TIMESTAMP {self.point + 1}")
        self._write(session, range(140, 200), "C")
        session.execute("DELETE FROM pit.orders WHERE id = 3")
        session.execute("TRUNCATE pit.tagged")
        self._write(session, range(300, 310), "C")
        self.orders, self.tagged = kept
        self.orders[500] = "B"
        session.execute("INSERT INTO other.kept (id, v) VALUES (1, 'unflushed')")
        session.execute("CREATE ROLE late WITH PASSWORD = 'late-secret-of-tests' AND LOGIN = true")

    def _write(self, session: Any, numbers: range, word: str) -> None:
        for number in numbers:
            session.execute(f"INSERT INTO pit.orders (id, state) VALUES ({number}, '{word}')")
            session.execute(f"INSERT INTO pit.tagged (id, tag) VALUES ({number}, '{word}')")
            self.orders[number] = self.tagged[number] = word

    async def check(self) -> None:
        """The tables are exactly as they were at the point, by key and by index; others have all that they had."""
        session = await self.node.session()
        assert await self.rows() == (self.orders, self.tagged)
        for word in "ABC":
            found = {row.id for row in session.execute(f"SELECT id FROM pit.orders WHERE state = '{word}'")}
            assert found == {number for number, state in self.orders.items() if state == word}, word
            if self.node.node.spec.version != places.CASSANDRA_41:
                found = {row.id for row in session.execute(f"SELECT id FROM pit.tagged WHERE tag = '{word}'")}
                assert found == {number for number, tag in self.tagged.items() if tag == word}, word
        await self.check_others()

    async def check_others(self) -> None:
        session = await self.node.session()
        assert [(row.id, row.v) for row in session.execute("SELECT * FROM other.kept")] == [(1, "unflushed")]
        assert "late" in {row.role for row in session.execute("LIST ROLES")}

    async def rows(self) -> tuple[Rows, Rows]:
        session = await self.node.session()
        return (
            {row.id: row.state for row in session.execute("SELECT * FROM pit.orders")},
            {row.id: row.tag for row in session.execute("SELECT * FROM pit.tagged")},
        )


@pytest.fixture(params=[places.CASSANDRA_50, pytest.param(places.CASSANDRA_41, marks=pytest.mark.long)])
async def node(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ArchivingNode]:
    """A node of its own, for it is killed and stopped; of 5.0 with two data directories."""
    number = 2 if request.param == places.CASSANDRA_50 else 1
    options = {"commitlog_sync_period": "100ms"}
    cluster = ScratchCluster(
        tmp_path / "cluster",
        nodes=1,
        version=request.param,
        data_directories=number,
        authentication=True,
        options=options,
    )
    made = ArchivingNode(cluster, tmp_path)
    await made.begin()
    yield made
    await made.close()
    await cluster.kill()


async def test_a_node_killed_hard_is_restored_to_the_point_exactly_and_can_be_put_back(node: ArchivingNode) -> None:
    """Promise: rows A and B are there as they were at T (a write at T included, one a microsecond later not), deletes
    and a TRUNCATE since undone, indexes right; what another table and the roles got just before a kill -9 is there; an
    undone restore leaves the data as it was; an ordinary restart afterwards replays nothing of it."""
    story = Story(node)
    await story.tell()
    await node.kill_and_start_once()
    before = await story.rows()
    assert 501 in before[0]
    properties, options = node.properties.read_text(), node.options.read_text()
    arguments = PitArguments("snap", story.point, TABLES)

    placed = await to_the_point(node, arguments, "job-1")
    assert placed.placed["pit"]["orders"] >= 1
    verified = (await node.run(Kind.PIT_VERIFY, arguments, "job-1")).result
    assert isinstance(verified, PitVerifyResult)
    assert verified.errors == verified.warnings == []
    assert verified.replayed_mutations
    assert verified.replayed_segments >= 1
    with pytest.raises(RestoreUnfinished):
        await node.run(Kind.PIT_CLEAN, arguments, "job-1")
    await node.run(Kind.PIT_UNDO, arguments, "job-1")
    await node.node.wait_until_ready()
    assert await story.rows() == before
    await story.check_others()
    assert (node.properties.read_text(), node.options.read_text()) == (properties, options)
    await node.run(Kind.PIT_CLEAN, arguments, "job-1")
    assert [path for path in node.staged() if "/undone/" not in path and Path(path).name != "owner"] == []

    await to_the_point(node, arguments, "job-2", without=[".by_state"])
    verified = (await node.run(Kind.PIT_VERIFY, arguments, "job-2")).result
    assert isinstance(verified, PitVerifyResult)
    assert "pit.by_state" in verified.indexes_rebuilt
    await node.run(Kind.PIT_OPEN, arguments, "job-2")
    await story.check()
    with pytest.raises(RestoreOpened):
        await node.run(Kind.PIT_UNDO, arguments, "job-2")
    cleaned = (await node.run(Kind.PIT_CLEAN, arguments, "job-2")).result
    assert isinstance(cleaned, PhaseResult)
    assert "nodetool clearsnapshot -t helenus-before-job-2" in cleaned.warnings[0]
    assert [path for path in node.staged() if "/job-1/undone/" not in path and Path(path).name != "owner"] == []
    replaced = list(node.node.directory.rglob("snapshots/helenus-before-job-2/**/*-Data.db"))
    assert {path.parent.name for path in replaced} == {"helenus-before-job-2", ".by_state"}
    listed = [line for line in (await node.node.nodetool("listsnapshots")).splitlines() if "helenus-before" in line]
    assert {line.split()[2] for line in listed} == set(TABLES["pit"])
    await node.node.nodetool("clearsnapshot", "-t", "helenus-before-job-2")
    assert not list(node.node.directory.rglob("snapshots/helenus-before-job-2"))
    assert (node.properties.read_text(), node.options.read_text()) == (properties, options)
    await node.restart()
    assert "Restore point in time" not in node.node.printed()
    await story.check()


async def to_the_point(
    node: ArchivingNode, arguments: PitArguments, job: str, *, without: Sequence[str] = ()
) -> PitPlaceResult:
    """All phases up to PIT_START; what was placed."""
    await node.fetch(arguments.tag, arguments.tables, job, without=without)
    await node.run(Kind.PIT_QUIESCE, arguments, job)
    await node.run(Kind.PIT_STOP, arguments, job)
    await node.cover(arguments, job)
    placed = (await node.run(Kind.PIT_PLACE, arguments, job)).result
    assert isinstance(placed, PitPlaceResult)
    await node.run(Kind.PIT_START, arguments, job)
    return placed


async def test_a_node_that_was_killed_instead_of_stopped_is_started_once_before_its_log_is_moved(
    node: ArchivingNode,
) -> None:
    """Promise: Cassandra down without a drain may hold the only copy of writes to other tables in its commit log:
    nothing is set aside; PIT_STOP starts it once, without clients, so that they are replayed, and then stops it."""
    story = Story(node)
    await story.tell()
    arguments = PitArguments("snap", story.point, TABLES)
    await node.fetch("snap", TABLES, "job-1")
    await node.run(Kind.PIT_QUIESCE, arguments, "job-1")
    await asyncio.sleep(0.7)
    await node.node.kill()
    with pytest.raises(NotDrained):
        await node.run(Kind.PIT_PLACE, arguments, "job-1")
    assert not [path for path in node.staged() if "/aside/" in path]
    await node.run(Kind.PIT_STOP, arguments, "job-1")
    await node.cover(arguments, "job-1")
    await node.run(Kind.PIT_PLACE, arguments, "job-1")
    await node.run(Kind.PIT_START, arguments, "job-1")
    await node.run(Kind.PIT_VERIFY, arguments, "job-1")
    await node.run(Kind.PIT_OPEN, arguments, "job-1")
    await story.check()
