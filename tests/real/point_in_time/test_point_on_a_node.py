"""A restore to a point in time through one node's own agent, phase by phase as a coordinator orders them: what is told,
fetched, refused and covered, and what is there afterwards."""

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from cassandra.cluster import Session

from agent.plan.segment_names import parse_segment
from tests.cluster import places, sessions
from tests.cluster.moments import PIT_CHECK, PIT_COVER, PIT_FETCH, PIT_TABLES, Moments
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess
from tests.real.point_in_time.archiving_node import now_micros

pytestmark = pytest.mark.asyncio(loop_scope="module")
SMALL = {"commitlog_segment_size": "1MiB", "commitlog_sync_period": "100ms"}
SIMPLE = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
TABLES = {"pit": ["emptied", "made", "rows", "twice"]}
PHASES = ("pit_fetch", "pit_tables", "pit_quiesce", "pit_stop", "pit_cover")
REPLAY = ("pit_place", "pit_start", "pit_verify", "pit_open")


class Site:
    """A node with small segments and its agent; a local destination has its backups and its log. `expected`: what is in
    each table at the point, `point` in microseconds."""

    def __init__(self, directory: Path, version: str = places.CASSANDRA_50) -> None:
        self.cluster = ScratchCluster(
            directory / "node", nodes=1, name="pointed", version=version, authentication=True, options=SMALL
        )
        self.node = self.cluster.nodes[0]
        self.agent = AgentProcess(self.node, directory / "agent", cql=sessions.SUPERUSER)
        self.target: dict[str, str] = {}
        self.expected: dict[str, set[int]] = {}
        self.point = 0
        self._fences = itertools.count(1)
        """Each command comes with a higher one than any before, as those of a coordinator do."""

    async def begin(self) -> None:
        """The agent archives from the node's second start on."""
        await self.cluster.start()
        await self.agent.start(90)
        settings = {"provider": "local", "path": "here"}
        await self.agent.ask("PUT", "/v1/destinations/here", {"revision": 1, "settings": settings})
        check = {"initialise": True, "cluster_name": "pointed", "conformance": False}
        report = await self.agent.ask("POST", "/v1/destinations/here/check", check)
        names = ("repository_id", "cluster_id")
        self.target = {"destination": "here", **{name: report[name] for name in names}}
        await self.agent.do("archive", {"enabled": True, "targets": [{"target": self.target}]})
        await self.order("restart", {"drain": True}, "archiving")

    async def order(self, kind: str, arguments: dict[str, Any], job: str) -> Any:
        """A phase that must succeed; its result. Cassandra may be another one afterwards."""
        if kind in ("restart", "pit_quiesce", "pit_stop"):
            self.cluster.close_sessions()
        return await self.agent.do(kind, arguments, job=job, fence=next(self._fences), deadline=600.0)

    async def live_through(self, kind: str, arguments: dict[str, Any], job: str, moments: Moments) -> Any:
        """One command, whose agent dies at each of the moments and takes it up again; its result."""
        await self.agent.stop()
        await self.agent.start_mortal(moments[0])
        command = f"killed-{kind}"
        with contextlib.suppress(aiohttp.ClientError):  # an early death takes the answer with it
            await self.agent.command(kind, arguments, id=command, job=job, fence=next(self._fences))
        for moment in (*moments[1:], ""):
            assert await self.agent.died() == -9
            if moment:
                self.agent.launch_mortal(moment)
        await self.agent.start()
        view = await self.agent.ended(command)
        assert view["state"] == "success", view["error"]
        return view["result"]

    async def cut(self, kind: str, arguments: dict[str, Any], job: str, moments: Moments) -> None:
        """A command that an agent doesn't take up again, cut at each of the moments, each time as a new one."""
        for moment in moments:
            await self.agent.stop()
            await self.agent.start_mortal(moment)
            fence = next(self._fences)
            command = f"cut-{kind}-{fence}"
            with contextlib.suppress(aiohttp.ClientError):
                await self.agent.command(kind, arguments, id=command, job=job, fence=fence)
            assert await self.agent.died() == -9
            await self.agent.start()
            assert (await self.agent.ended(command))["state"] == "interrupted"

    async def shipped(self) -> None:
        """Every closed segment is in the destination, and not on the node any more: of those that are archived
        Cassandra keeps what it has not flushed."""
        await self.node.nodetool("flush")
        async with asyncio.timeout(120):
            for _ in itertools.repeat(None):
                place = (await self.agent.ask("GET", "/v1/archiving"))["places"]["here"]
                kept = [*(self.node.directory / "archive").glob("CommitLog-*"), *self.live()[:-2]]
                if not place["waiting_segments"] and not kept:
                    return
                await asyncio.sleep(0.5)

    async def refused(self, kind: str, arguments: dict[str, Any], job: str) -> dict[str, Any]:
        """The error of a phase that must fail."""
        view = await self.agent.ended(await self.agent.command(kind, arguments, job=job, fence=next(self._fences)))
        assert view["state"] == "failed", view
        return dict(view["error"])

    def arguments(self, point: int, **more: Any) -> dict[str, Any]:
        source = {"source": self.target, "logs": self.target}
        return {"tag": "snap", "pit_micros": point, "tables": TABLES, **source, **more}

    async def session(self) -> Session:
        return await self.cluster.session_one(self.node)

    async def schema_seen(self) -> None:
        """The agent has looked at the schema as it is now."""
        rows = (await self.session()).execute("SELECT schema_version FROM system.local")
        version = str(rows.one().schema_version)
        async with asyncio.timeout(60):
            for _ in itertools.repeat(None):
                if (await self.agent.ask("GET", "/v1/archiving"))["schema_version"] == version:
                    return
                await asyncio.sleep(0.5)

    async def write(self, table: str, numbers: range) -> None:
        session = await self.session()
        statement = session.prepare(f"INSERT INTO pit.{table} (id, body, word) VALUES (?, ?, 'w')")
        for number in numbers:
            await asyncio.to_thread(session.execute, statement, (number, secrets.token_bytes(40_000)))
        self.expected.setdefault(table, set()).update(numbers)

    async def tell(self) -> None:
        """Rows A, a TRUNCATE, a snapshot, rows B over several segments, a TRUNCATE, a new table, the point, rows C and
        deletes."""
        session = await self.session()
        session.execute(f"CREATE KEYSPACE pit WITH replication = {SIMPLE}")
        session.execute(f"CREATE KEYSPACE other WITH replication = {SIMPLE}")
        for name in ("kind", "sort"):
            session.execute(f"CREATE TYPE pit.{name} (name text)")
        columns = "id int PRIMARY KEY, body blob, word text, kind frozen<kind>, sort frozen<sort>"
        session.execute(f"CREATE TABLE pit.rows ({columns})")
        session.execute("CREATE TABLE pit.emptied (id int PRIMARY KEY, body blob, word text)")
        session.execute("CREATE TABLE pit.twice (id int PRIMARY KEY, body blob, word text)")
        session.execute("CREATE INDEX by_word ON pit.rows (word)")
        session.execute("CREATE TABLE other.kept (id int PRIMARY KEY)")
        await self.write("rows", range(20))
        await self.write("emptied", range(20))
        for number in range(10):  # gone before the snapshot, in the segment that the snapshot begins with
            session.execute(f"INSERT INTO pit.twice (id, word) VALUES ({number}, 'w')")
        session.execute("TRUNCATE pit.twice")
        await self.schema_seen()
        snapshot = {"tag": "snap", "keyspaces": {"pit": []}}
        await self.agent.do("backup", {"snapshot": snapshot, "targets": [self.target]})
        await self.write("emptied", range(20, 30))
        session.execute("TRUNCATE pit.emptied")
        self.expected["emptied"] = set()
        session.execute("CREATE TABLE pit.made (id int PRIMARY KEY, body blob, word text)")
        for start in range(20, 120, 20):
            await self.write("rows", range(start, start + 20))
        await self.write("made", range(5))
        await self.write("twice", range(20, 25))
        await self.write("emptied", range(100, 105))
        session.execute("DELETE FROM pit.rows WHERE id = 7")
        self.expected["rows"].discard(7)
        await self.schema_seen()
        at_point = {table: set(numbers) for table, numbers in self.expected.items()}
        await asyncio.sleep(0.05)
        self.point = now_micros()
        await asyncio.sleep(0.05)
        for number, when in ((500, self.point - 1000), (501, self.point), (502, self.point + 1)):
            session.execute(f"INSERT INTO pit.rows (id, word) VALUES ({number}, 'w') USING TIMESTAMP {when}")
        await self.write("rows", range(200, 240))
        for table in TABLES["pit"]:
            session.execute(f"DELETE FROM pit.{table} WHERE id = 3")
        session.execute("TRUNCATE pit.made")
        session.execute("TRUNCATE pit.twice")
        await self.write("made", range(50, 55))
        session.execute(
            "CREATE MATERIALIZED VIEW pit.seen AS SELECT id, word FROM pit.made "
            "WHERE word IS NOT NULL AND id IS NOT NULL PRIMARY KEY (word, id)"
        )
        session.execute("ALTER TABLE pit.rows ADD later int")
        session.execute("ALTER TYPE pit.kind ADD later int")
        session.execute("ALTER TYPE pit.sort RENAME name TO title")
        session.execute("INSERT INTO pit.rows (id, later, kind) VALUES (600, 1, {name: 'x', later: 2})")
        self.expected = {**at_point, "rows": at_point["rows"] | {500, 501}}

    async def write_elsewhere(self) -> None:
        """To another keyspace, and a role."""
        session = await self.session()
        session.execute("INSERT INTO other.kept (id) VALUES (1)")
        session.execute("CREATE ROLE late WITH PASSWORD = 'late-secret-of-tests' AND LOGIN = true")

    async def check(self) -> None:
        session = await self.session()
        for table, numbers in self.expected.items():
            assert {row.id for row in session.execute(f"SELECT id FROM pit.{table}")} == numbers, table
        found = {row.id for row in session.execute("SELECT id FROM pit.rows WHERE word = 'w'")}
        assert found == self.expected["rows"]
        assert [row.id for row in session.execute("SELECT id FROM other.kept")] == [1]
        assert "later" not in session.cluster.metadata.keyspaces["pit"].tables["rows"].columns
        types = session.cluster.metadata.keyspaces["pit"].user_types
        assert {name: one.field_names for name, one in types.items()} == {"kind": ["name", "later"], "sort": ["name"]}
        assert "late" in {row.role for row in session.execute("LIST ROLES")}

    def live(self) -> list[Path]:
        """The segments in Cassandra's own directory, oldest first; the newest two are being written."""
        return sorted((self.node.directory / "commitlog").glob("CommitLog-*.log"))

    def records(self) -> list[Path]:
        """The records of segments in the destination, oldest first."""
        return sorted(path for path in self.agent.local_root.rglob("commitlogs/segments/**/*") if path.is_file())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One node of 5.0; what differs on 4.1 is in test_place_on_a_node."""
    site = Site(tmp_path_factory.mktemp("pointed"))
    await site.begin()
    await site.tell()
    yield site
    await site.agent.stop()
    await site.cluster.kill()


async def test_a_check_tells_how_far_the_log_reaches_and_what_tables_begin_with(site: Site) -> None:
    """Promise: the point of a node that goes on writing is possible; a table made, and one truncated, after the
    snapshot begin empty; a point in the future is not possible."""
    found = await site.live_through("pit_check", site.arguments(site.point, tables={}), "check", PIT_CHECK)
    assert (found["refusals"], found["gaps"], found["own_log"]) == ([], [], True), found
    assert found["covered_until"] > found["taken_from"]
    begins = {one["table"]: (one["action"], one["begins_empty"]) for one in found["tables"]}
    assert begins == {
        "emptied": ("keep", True),
        "made": ("keep", True),
        "rows": ("recreate", False),
        "twice": ("keep", False),
    }
    assert found["newest_write_micros"] < site.point
    ((start, end),) = found["windows"]
    assert start == found["taken_until"] <= site.point / 1e6 < end
    later = await site.order("pit_check", site.arguments(now_micros() + 10**9), "check")
    assert [one["code"] for one in later["refusals"]] == ["point_in_future"]


async def test_a_segment_that_is_missing_is_told_and_stops_the_restore(site: Site) -> None:
    """Promise: with the time that it spans; the very same restore goes through once it is back."""
    await site.shipped()
    floor = parse_segment((await site.order("pit_check", site.arguments(site.point), "gap"))["floor"])
    assert floor is not None
    (hidden,) = [path for path in site.records() if str(floor.id + 2) in str(path)]
    content = hidden.read_bytes()
    hidden.unlink()
    try:
        found = await site.order("pit_check", site.arguments(site.point), "gap")
        (gap,) = found["gaps"]
        assert found["covered_until"] == pytest.approx(gap["since"], rel=0, abs=1.0)
        assert gap["after"] == floor.neighbour(1).file_name
        assert found["own_log"] is False
        refused = await site.refused("pit_fetch", site.arguments(site.point), "gap")
        assert (refused["code"], refused["fields"]["gaps"][0]["after"]) == ("log_incomplete", gap["after"])
    finally:
        hidden.write_bytes(content)


async def test_the_point_is_restored_exactly_and_no_later_one_from_the_same_snapshot(site: Site) -> None:
    """Promise: every row of then and none of later, on a node that was killed -9; what another table and the roles got
    a second before are there. Writes at the point are, one a microsecond later is not. A column and a view that came
    later are gone; a type has its fields' former names, and keeps fields that it got since, which the log has. What a
    TRUNCATE removed before the snapshot stays away, though the same segment has it and Cassandra has forgotten that
    TRUNCATE since. Its log has what the restore undid, so that a later point needs a later snapshot.
    """
    await site.write_elsewhere()
    await asyncio.sleep(0.7)
    site.cluster.close_sessions()
    await site.node.kill()
    await site.order("restart", {}, "point")
    arguments = site.arguments(site.point)
    done = {"pit_fetch": await site.live_through("pit_fetch", arguments, "point", PIT_FETCH)}
    await site.write("rows", range(300, 360))
    site.expected["rows"] -= set(range(300, 360))
    await site.shipped()
    viewed = {**arguments, "views": {"pit": ["seen"]}}
    await site.cut("pit_tables", viewed, "point", PIT_TABLES)
    await site.order("pit_tables", viewed, "point")
    for kind in PHASES[2:-1]:
        done[kind] = await site.order(kind, arguments, "point")
    done["pit_cover"] = await site.live_through("pit_cover", arguments, "point", PIT_COVER)
    assert done["pit_fetch"]["segments"] > 3
    assert done["pit_cover"]["gaps"] == []
    assert done["pit_cover"]["covered_until"] >= site.point / 1e6
    again = await site.order("pit_cover", arguments, "point")
    assert again["segments"] == done["pit_cover"]["segments"]
    for kind in REPLAY:
        done[kind] = await site.order(kind, arguments, "point")
    assert done["pit_verify"]["errors"] == []
    await site.check()
    await site.order("pit_clean", arguments, "point")
    found = await site.order("pit_check", site.arguments(now_micros()), "later")
    assert "restored_since_snapshot" in {one["code"] for one in found["refusals"]}
