"""What a restore to a point in time makes of every kind of write, and of a log with holes, through a node's own agent.

The outcome of each kind is written down here and in docs/point-in-time.md: it is Cassandra's own, whose replay compares
the point with the times that clients (or coordinators) gave to writes.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.cluster import places
from tests.real.point_in_time.archiving_node import now_micros
from tests.real.point_in_time.test_point_on_a_node import REPLAY, SIMPLE, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")
PHASES = ("pit_fetch", "pit_tables", "pit_quiesce", "pit_stop", "pit_cover")
KINDS = ["counted", "held", "left", "right", "swapped", "timed"]
TABLES = (
    "counted (id int PRIMARY KEY, n counter)",
    "held (id int PRIMARY KEY, numbers list<int>, names set<text>, words map<text, text>)",
    "left (id int PRIMARY KEY, v text)",
    "right (id int PRIMARY KEY, v text)",
    "swapped (id int PRIMARY KEY, v text)",
    "timed (id int PRIMARY KEY, v text)",
    "rows (id int PRIMARY KEY, body blob, word text)",
)
MILLIS = 1_700_000_000_000
"""A time as a client gives it that counts milliseconds: for Cassandra, minutes after 1970 began."""


class Kinds(Site):
    """`tag`: the snapshot that is gone back from."""

    tag = "kinds"
    tables: dict[str, list[str]]

    def arguments(self, point: int, **more: Any) -> dict[str, Any]:
        return {**super().arguments(point), "tag": self.tag, "tables": self.tables, **more}

    async def execute(self, *statements: str) -> None:
        session = await self.session()
        for statement in statements:
            await asyncio.to_thread(session.execute, statement)

    async def rows_of(self, table: str, columns: str = "*") -> list[Any]:
        session = await self.session()
        return sorted(await asyncio.to_thread(lambda: list(session.execute(f"SELECT {columns} FROM pit.{table}"))))

    async def snapshot(self, tag: str, tables: list[str]) -> None:
        self.tag, self.tables = tag, {"pit": tables}
        snapshot = {"tag": tag, "keyspaces": {"pit": tables}}
        await self.agent.do("backup", {"snapshot": snapshot, "targets": [self.target]})

    async def restore(self, job: str, **more: Any) -> dict[str, Any]:
        """All phases; their results."""
        arguments = self.arguments(self.point, **more)
        return {kind: await self.order(kind, arguments, job) for kind in (*PHASES, *REPLAY, "pit_clean")}

    async def since(self, before: set[Path]) -> list[Path]:
        """Records of segments that were not there before, oldest first."""
        return sorted(set(await asyncio.to_thread(self.records)) - before)

    def data_of(self, record: Path) -> Path:
        """The largest object of a record's segment."""
        objects = (record.parents[1] / "data" / record.name.partition(".")[0]).rglob("*")
        return max((path for path in objects if path.is_file()), key=lambda path: path.stat().st_size)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kinds]:
    site = Kinds(tmp_path_factory.mktemp("kinds"), places.CASSANDRA_50)
    await site.begin()
    await site.execute(f"CREATE KEYSPACE pit WITH replication = {SIMPLE}")
    await site.execute(*(f"CREATE TABLE pit.{table}" for table in TABLES))
    await site.schema_seen()
    yield site
    await site.agent.stop()
    await site.cluster.kill()


def batch(first: str, second: str) -> str:
    """A logged batch over two tables."""
    return f"BEGIN BATCH {first}; {second}; APPLY BATCH"


def row(table: str, number: int, value: str, time: int | None = None) -> str:
    """An insert, with a time of the client's where one is given."""
    using = f" USING TIMESTAMP {time}" if time is not None else ""
    return f"INSERT INTO pit.{table} (id, v) VALUES ({number}, '{value}'){using}"


def name_of(record: Path) -> str:
    """The id of a record's segment, as it is in the segment's file name."""
    return str(int(record.name.partition(".")[0]))


async def written(site: Kinds) -> int:
    """Every kind of write, before the snapshot, up to the point and after it; the point."""
    await site.execute(
        *["UPDATE pit.counted SET n = n + 1 WHERE id = 1"] * 3,
        "INSERT INTO pit.held (id, numbers, names, words) VALUES (1, [1], {'a'}, {'k': 'old'})",
        "INSERT INTO pit.swapped (id, v) VALUES (1, 'first') IF NOT EXISTS",
        row("timed", 1, "in the snapshot"),
    )
    await site.snapshot("kinds", KINDS)
    await site.execute(
        *["UPDATE pit.counted SET n = n + 1 WHERE id = 1"] * 4,
        "UPDATE pit.counted SET n = n - 2 WHERE id = 2",
        "UPDATE pit.held SET numbers = numbers + [2], names = names + {'b'}, words['k'] = 'new' WHERE id = 1",
        "UPDATE pit.held SET numbers = [0] + numbers WHERE id = 1",
        batch(row("left", 1, "before"), row("right", 2, "before")),
        "UPDATE pit.swapped SET v = 'second' WHERE id = 1 IF v = 'first'",
        row("timed", 2, "millis before", MILLIS),
    )
    await asyncio.sleep(0.05)
    point = now_micros()
    await asyncio.sleep(0.05)
    await site.execute(
        *["UPDATE pit.counted SET n = n + 10 WHERE id = 1"] * 2,
        "UPDATE pit.held SET numbers = numbers + [3], names = names - {'a'}, words['k'] = 'newest' WHERE id = 1",
        batch(row("left", 3, "after"), row("right", 4, "after")),
        # Two tables, two times on either side of the point: other keys make two writes, one key makes one.
        batch(row("left", 5, "straddles", point - 1), row("right", 6, "straddles", point + 1)),
        batch(row("left", 7, "straddles", point - 1), row("right", 7, "straddles", point + 1)),
        "UPDATE pit.swapped SET v = 'third' WHERE id = 1 IF v = 'second'",
        row("timed", 3, "millis after", MILLIS + 1),
        row("timed", 4, "micros at the point", point),
        row("timed", 5, "micros after the point", point + 1),
        row("timed", 6, "nanos before", (point - 1_000_000) * 1_000),
    )
    return point


async def test_each_kind_of_write_comes_back_as_it_is_written_down(site: Kinds) -> None:
    """Promise: counters and collections are those of the point, whatever was in the snapshot already. A batch comes
    back by each write's own time: what it wrote under one key comes or stays out as a whole. Times in other units are
    compared as they are: milliseconds always count as before. A lightweight transaction is in or out by its time, and
    the next one works. What can't be right is warned of."""
    site.point = await written(site)
    found = await site.agent.do("pit_check", site.arguments(site.point), job="kinds", deadline=120.0)
    assert (found["refusals"], found["gaps"]) == ([], []), found
    assert found["counter_tables"] == ["pit.counted"]
    assert found["lwt_tables"] == ["pit.swapped"]
    done = await site.restore("kinds")
    assert done["pit_verify"]["errors"] == []
    assert [(one.id, one.n) for one in await site.rows_of("counted")] == [(1, 7), (2, -2)]
    (held,) = await site.rows_of("held", "numbers, names, words")
    assert (held.numbers, set(held.names), dict(held.words)) == ([0, 1, 2], {"a", "b"}, {"k": "new"})
    assert [(one.id, one.v) for one in await site.rows_of("left")] == [(1, "before"), (5, "straddles")]
    assert [(one.id, one.v) for one in await site.rows_of("right")] == [(2, "before")]
    assert [one.id for one in await site.rows_of("timed", "id")] == [1, 2, 3, 4]
    assert [one.v for one in await site.rows_of("swapped", "v")] == ["second"]
    await site.execute("UPDATE pit.swapped SET v = 'fourth' WHERE id = 1 IF v = 'second'")
    await site.execute("UPDATE pit.counted SET n = n + 1 WHERE id = 1")
    assert [one.v for one in await site.rows_of("swapped", "v")] == ["fourth"]
    assert [one.n for one in await site.rows_of("counted", "n")] == [-2, 8]


async def test_times_that_are_no_microseconds_are_warned_of(site: Kinds) -> None:
    """Promise: a table whose clients count milliseconds is named before anybody relies on the point."""
    await site.execute("TRUNCATE pit.timed", *(row("timed", number, "millis", MILLIS) for number in range(3)))
    await site.snapshot("millis", ["timed"])
    found = await site.agent.do("pit_check", site.arguments(now_micros()), job="millis", deadline=120.0)
    assert any("pit.timed" in one and "microseconds" in one for one in found["warnings"]), found["warnings"]


async def test_over_holes_a_restore_goes_only_with_force_and_says_what_it_left_out(site: Kinds) -> None:
    """Promise: a segment that is missing, and one that is cut in the destination, are named with their times and stop
    the fetch. With force all else comes back, and both are told."""
    await site.snapshot("holes", ["rows"])
    before = set(site.records())
    for start in range(0, 160, 20):
        await site.write("rows", range(start, start + 20))
    await site.execute("DELETE FROM pit.rows WHERE id = 159")
    await asyncio.sleep(0.3)
    site.point = now_micros()

    await site.shipped()
    records = await site.since(before)
    assert len(records) >= 5
    missing, cut = records[1], records[3]
    missing.unlink()
    data = site.data_of(cut)
    data.write_bytes(data.read_bytes()[:-1000])
    found = await site.agent.do("pit_check", site.arguments(site.point), job="holes", deadline=120.0)
    holes = [(name_of(records[0]), name_of(records[2])), (name_of(records[2]), name_of(records[4]))]
    for gap, (after, before_) in zip(found["gaps"], holes, strict=True):
        assert (after in gap["after"], before_ in gap["before"]) == (True, True), found["gaps"]
        assert gap["since"] <= gap["until"] < site.point / 1e6
    assert found["covered_until"] == pytest.approx(found["gaps"][0]["since"])
    refused = await site.refused("pit_fetch", site.arguments(site.point), "holes")
    assert refused["code"] == "log_incomplete"
    done = await site.restore("holes", force=True)
    told = done["pit_cover"]["gaps"]
    assert all(any(after in one["after"] for one in told) for after, _ in holes), told
    there = {one.id for one in await site.rows_of("rows", "id")}
    assert {0, 158} <= there < set(range(159))
