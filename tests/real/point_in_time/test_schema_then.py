"""The schema as it was at a point, made by PIT_TABLES on a real node, whatever happened to it since."""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agent.cassandra.cql_text import statements
from agent.cassandra.schema_compare import dropped_columns
from agent.jobs.point_in_time.point_errors import NameTaken
from agent.jobs.restore.errors import TypeInUse
from agent.model.snapshot import KeyspaceSchema
from tests.cluster import places
from tests.cluster.scratch import ScratchCluster
from tests.real.cassandra.rig import Rig, settings_for
from tests.real.point_in_time.schema_rig import Dying, Killed, SchemaThen

SIMPLE = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
MADE = f"CREATE KEYSPACE {{}} WITH replication = {SIMPLE}"
T = "CREATE TABLE {}.t (k int, c int, v text, s int static, PRIMARY KEY (k, c))"
Make = Callable[[str], SchemaThen]
Fields = Mapping[str, tuple[tuple[str, str], ...]]
"""Type → (name, type) of fields."""

pytestmark = pytest.mark.long


@pytest.fixture(params=["50", "41"])
def either(request: pytest.FixtureRequest) -> ScratchCluster:
    """One node of Cassandra 5.0, then one of 4.1."""
    cluster = request.getfixturevalue(f"one_node_{request.param}")
    assert isinstance(cluster, ScratchCluster)
    return cluster


@pytest_asyncio.fixture
async def make(either: ScratchCluster, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes keyspaces of the test's own."""
    rig = Rig(settings_for(either.nodes[0]), tmp_path / "state")
    session = await either.session_one(either.nodes[0])
    made: list[str] = []

    def one(name: str) -> SchemaThen:
        made.append(name)
        case = SchemaThen(rig, session, name)
        case.run("DROP KEYSPACE IF EXISTS {}", MADE)
        return case

    yield one
    for name in made:
        session.execute(f'DROP KEYSPACE IF EXISTS "{name}"')
    await rig.close()


def shape(schema: KeyspaceSchema | None, *tables: str) -> dict[str, Any]:
    """What must be as it was: ids, columns, types, indexes, and the statement that makes the table."""
    assert schema is not None
    found: dict[str, Any] = {"types": schema.types, "replication": schema.replication}
    for table in tables:
        texts = {one.name: one.statement for one in schema.objects if one.kind == "table"}
        indexes = sorted(one.statement for one in schema.objects if one.kind == "index" and one.base == table)
        options = statements(texts[table])[0].partition(") WITH ID")[2]
        found[table] = (schema.table_ids[table], schema.columns[table], options, indexes)
    return found


async def is_then(case: SchemaThen, *tables: str, job: str = "job-1", kept: Fields | None = None, **how: Any) -> None:
    """Brings the tables back and compares; a second run of the job changes nothing. `kept`: fields that types got
    since, which the log has and Cassandra would not start without."""
    await case.bring_back(tables, job=job, **how)
    found, then = await case.live(), shape(case.then, *tables)
    then["types"] = {name: (*fields, *(kept or {}).get(name, ())) for name, fields in then["types"].items()}
    assert shape(found, *tables) == then
    await case.bring_back(tables, job=job, **how)
    assert await case.live() == found


async def test_what_was_dropped_or_made_again_is_as_it_was(make: Make) -> None:
    """Promise: a dropped table, a dropped keyspace and a table made again come back with the ids, columns, indexes and
    types of the point; names in capitals too."""
    case = make("dropped_table")
    case.run(T, "CREATE INDEX by_v ON {}.t (v)", 'CREATE TABLE {}."Other" ("K" int PRIMARY KEY, v text)')
    await case.note()
    case.run("DROP TABLE {}.t", 'DROP TABLE {}."Other"')
    await is_then(case, "Other", "t", job="job-1")

    case = make("DroppedKeyspace")
    case.run("CREATE TYPE {}.inner (a int)", "CREATE TYPE {}.outer (i frozen<inner>, b text)")
    case.run("CREATE TABLE {}.t (k int PRIMARY KEY, o frozen<outer>, l list<int>)", "CREATE INDEX full_l ON {}.t (l)")
    await case.note()
    case.run("DROP KEYSPACE {}")
    await is_then(case, "t", job="job-2")

    case = make("made_again")
    case.run(T, "CREATE INDEX by_v ON {}.t (v)")
    await case.note()
    case.run(
        "DROP TABLE {}.t", "CREATE TABLE {}.t (k int PRIMARY KEY, w blob)", "CREATE TABLE {}.later (k int PRIMARY KEY)"
    )
    await case.note(now=True)
    await is_then(case, "t", job="job-3")
    live = await case.live()
    assert live is not None
    assert "later" in live.columns, "what nobody asked for stays"


async def test_changed_columns_are_as_they_were_and_later_ones_readable(make: Make) -> None:
    """Promise: added, dropped and re-added columns are undone, and each column that the log may hold later is known as
    dropped, also a counter; a table with the same id and other columns is made again."""
    case = make("added_column")
    case.run(T, "CREATE TABLE {}.n (k int PRIMARY KEY, a counter)")
    await case.note()
    case.run("ALTER TABLE {}.t ADD w map<text, int>", "ALTER TABLE {}.n ADD b counter")
    await case.note(now=True)
    await is_then(case, "n", "t", job="job-1")
    live = await case.live()
    assert live is not None
    assert [sorted(dropped_columns(live, table)) for table in ("t", "n")] == [["w"], ["b"]]

    case = make("dropped_column")
    case.run(T, "ALTER TABLE {}.t ADD old int", "ALTER TABLE {}.t DROP old")
    await case.note()
    case.run("ALTER TABLE {}.t DROP v")
    await case.note(now=True)
    await is_then(case, "t", job="job-2")

    case = make("same_id")
    case.run(T)
    await case.note()
    assert case.then is not None
    case.run("DROP TABLE {}.t", f"CREATE TABLE {{}}.t (k int PRIMARY KEY, w int) WITH id = {case.then.table_ids['t']}")
    await case.note(now=True)
    await is_then(case, "t", job="job-3")


async def test_a_column_that_was_dropped_and_added_again_shows_its_old_cells(make: Make) -> None:
    """Promise: a column dropped after the point and added again looks the same, but Cassandra hides its cells of before
    the drop: the table is made again, and a cell of before can be read."""
    case = make("column_again")
    case.run(T)
    await case.note()
    case.run("ALTER TABLE {}.t DROP v", "ALTER TABLE {}.t ADD v text")
    await case.note(now=True)
    await is_then(case, "t")
    case.run("INSERT INTO {}.t (k, c, v) VALUES (1, 1, 'x') USING TIMESTAMP 1000")
    assert [row.v for row in case.rows("SELECT v FROM {}.t")] == ["x"]


async def test_indexes_and_views_are_as_they_were(make: Make, either: ScratchCluster) -> None:
    """Promise: an index made or dropped since is undone, whatever its kind; a named view goes; one of another name that
    came since is refused until it is named."""
    kinds = [""] if either.nodes[0].spec.version == places.CASSANDRA_41 else ["", "USING 'sai'"]
    for number, kind in enumerate(kinds):
        case = make(f"indexes_{number}")
        case.run(T, "CREATE TABLE {}.u (k int PRIMARY KEY, v text)", f"CREATE INDEX one ON {{}}.t (v) {kind}")
        await case.note()
        case.run("DROP INDEX {}.one", f"CREATE INDEX two ON {{}}.u (v) {kind}")
        await case.note(now=True)
        await is_then(case, "t", "u", job=f"job-{number}")

    case = make("views")
    where = "WHERE k IS NOT NULL AND c IS NOT NULL PRIMARY KEY (c, k)"
    view = f"CREATE MATERIALIZED VIEW {{}}.by_c AS SELECT * FROM {{}}.t {where}"
    case.run(T.replace(" s int static,", ""), view)
    await case.note()
    case.run("DROP MATERIALIZED VIEW {}.by_c", view.replace("by_c", "again_c"), "ALTER TABLE {}.t ADD w int")
    await case.note(now=True)
    await is_then(case, "t", job="job-views", views=["again_c"])


async def test_types_are_as_they_were(make: Make) -> None:
    """Promise: a type that was changed or dropped since is as it was, but for fields that it got since, also where its
    table is gone; one that something else uses is refused before anything is dropped."""
    case = make("types")
    case.run("CREATE TYPE {}.p (a int)", "CREATE TABLE {}.t (k int PRIMARY KEY, p p, l list<frozen<p>>)")
    await case.note()
    case.run("ALTER TYPE {}.p ADD b text")
    await case.note(now=True)
    await is_then(case, "t", job="job-1", kept={"p": (("b", "text"),)})

    case = make("types_of_a_gone_table")
    case.run("CREATE TYPE {}.p (a int)", "CREATE TABLE {}.t (k int PRIMARY KEY, p frozen<p>)")
    await case.note()
    case.run("DROP TABLE {}.t", "DROP TYPE {}.p", "CREATE TYPE {}.p (x text)")
    await case.note(now=True)
    await is_then(case, "t", job="job-2")

    case = make("types_in_use")
    case.run("CREATE TYPE {}.p (a int)", "CREATE TABLE {}.t (k int PRIMARY KEY, p frozen<p>)")
    await case.note()
    case.run("DROP TABLE {}.t", "DROP TYPE {}.p", "CREATE TYPE {}.p (x text)")
    case.run("CREATE TABLE {}.u (k int PRIMARY KEY, p frozen<p>)", T)
    await case.note(now=True)
    found = await case.live()
    with pytest.raises(TypeInUse):
        await case.bring_back(["t"], job="job-3")
    assert await case.live() == found


async def test_a_name_that_something_else_has_by_now_is_refused_first(make: Make) -> None:
    """Promise: where a table's name, or its index's, belongs to a view or to another table's index by now, nothing is
    dropped."""
    case = make("names")
    case.run(T, "CREATE TABLE {}.u (k int PRIMARY KEY, v text)", "CREATE INDEX i ON {}.t (v)")
    await case.note()
    case.run("DROP INDEX {}.i", "CREATE INDEX i ON {}.u (v)", "ALTER TABLE {}.t ADD w int")
    await case.note(now=True)
    found = await case.live()
    with pytest.raises(NameTaken):
        await case.bring_back(["t"], job="job-1")
    assert await case.live() == found
    await is_then(case, "t", "u", job="job-2")

    case = make("names_of_views")
    case.run(T, "CREATE TABLE {}.u (k int PRIMARY KEY, v int)")
    await case.note()
    case.run("DROP TABLE {}.t")
    case.run(
        "CREATE MATERIALIZED VIEW {}.t AS SELECT * FROM {}.u WHERE k IS NOT NULL AND v IS NOT NULL PRIMARY KEY (v, k)"
    )
    await case.note(now=True)
    with pytest.raises(NameTaken):
        await case.bring_back(["t"], job="job-3")


async def test_a_job_killed_between_statements_ends_as_one_that_was_not(make: Make) -> None:
    """Promise: after a kill between two statements the same command brings everything to what it was. Every such moment
    is tried in tests/fast/point_in_time/test_tables_cut.py."""
    for sent in (2, 5):
        case = make("killed")
        case.run("CREATE TYPE {}.p (a int)", "CREATE TABLE {}.t (k int PRIMARY KEY, v text, old int, p frozen<p>)")
        case.run("ALTER TABLE {}.t DROP old", "CREATE INDEX one ON {}.t (v)", "CREATE TABLE {}.u (k int PRIMARY KEY)")
        await case.note()
        case.run("ALTER TYPE {}.p ADD b int", "ALTER TABLE {}.t ADD w int", "DROP TABLE {}.u")
        await case.note(now=True)
        with pytest.raises(Killed):
            await case.bring_back(["t", "u"], job=f"job-{sent}", dying=Dying(sent))
        await is_then(case, "t", "u", job=f"job-{sent}", kept={"p": (("b", "int"),)})
