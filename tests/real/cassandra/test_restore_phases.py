"""Every phase of a restore on real nodes of 5.0 and 4.1, from an on-server backup."""

import asyncio
import os
from typing import Any

import msgspec
import pytest
from cassandra.cluster import Session

from agent.cassandra.errors import CassandraError
from agent.jobs.restore.errors import DamagedOnServer, StatementRefused
from agent.model.refusals import ImportHasBegun
from agent.wire.commands import Kind, RestoreArguments
from agent.wire.results import PreflightResult
from tests.cluster.scratch import ScratchCluster
from tests.real.cassandra.rig import Rig

SIMPLE = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
TABLES = {"Back": ["Tab", "based", "counted"], "back_empty": []}


class Story:
    """A keyspace with one of everything, its rows, and a restore's phases in order."""

    def __init__(self, rig: Rig, session: Session, *, sai: bool) -> None:
        self.rig = rig
        self.session = session
        self.sai = sai

    def make(self) -> None:
        run = self.session.execute
        for name in ('"Back"', "back_empty"):
            run(f"DROP KEYSPACE IF EXISTS {name}")
            run(f"CREATE KEYSPACE {name} WITH replication = {SIMPLE}")
        run('CREATE TYPE "Back"."Inner" (zip int)')
        run('CREATE TYPE "Back".address (street text, i frozen<"Inner">)')
        run('CREATE TABLE "Back"."Tab" (id int PRIMARY KEY, "V" text, a frozen<address>, gone int)')
        run('CREATE INDEX "ByV" ON "Back"."Tab" ("V")')
        run('CREATE TABLE "Back".counted (id int PRIMARY KEY, c counter)')
        run('CREATE TABLE "Back".based (id int PRIMARY KEY, v int, l list<text>)')
        if self.sai:
            run("CREATE INDEX by_sai ON \"Back\".based (v) USING 'sai'")
        self.make_view()
        for number in range(60):
            run(
                f'INSERT INTO "Back"."Tab" (id, "V", a, gone) VALUES '
                f"({number}, 'v{number % 10}', {{street: 's', i: {{zip: {number}}}}}, 1)"
            )
            run(f'UPDATE "Back".counted SET c = c + {number} WHERE id = {number}')
            run(f"INSERT INTO \"Back\".based (id, v, l) VALUES ({number}, {number % 7}, ['a', 'b']) USING TTL 100000")
        run('ALTER TABLE "Back"."Tab" DROP gone')
        run('DELETE FROM "Back".based WHERE id = 3')

    def make_view(self) -> None:
        self.session.execute(
            'CREATE MATERIALIZED VIEW "Back"."View" AS SELECT * FROM "Back".based '
            "WHERE v IS NOT NULL AND id IS NOT NULL PRIMARY KEY (v, id)"
        )

    def rows(self) -> dict[str, list[str]]:
        asked = {
            "Tab": 'SELECT id, "V", a, writetime("V") FROM "Back"."Tab"',
            "based": 'SELECT id, v, l, writetime(v) FROM "Back".based',
            "counted": 'SELECT * FROM "Back".counted',
            "view": 'SELECT id, v, l FROM "Back"."View"',
            "index": 'SELECT id FROM "Back"."Tab" WHERE "V" = \'v5\'',
        }
        if self.sai:
            asked["sai"] = 'SELECT id FROM "Back".based WHERE v = 5'
        return {name: sorted(str(row) for row in self.session.execute(text)) for name, text in asked.items()}

    async def restore(self, job: str, arguments: RestoreArguments) -> PreflightResult:
        rig = self.rig
        preflight = (await rig.run(Kind.PREFLIGHT, arguments, job)).result
        assert isinstance(preflight, PreflightResult)
        assert preflight.refusals == []
        dropping: dict[str, list[str]] = {}
        for view in preflight.live_views:
            dropping.setdefault(view.keyspace, []).append(view.name)
        views = {(view.keyspace, view.name): view for view in (*preflight.backup_views, *preflight.live_views)}
        await rig.run(Kind.FETCH, arguments, job)
        await rig.run(Kind.DROP_VIEWS, msgspec.structs.replace(arguments, views=dropping), job)
        if arguments.truncate:
            await rig.run(Kind.TRUNCATE, arguments, job)
        await rig.run(Kind.SCHEMA, arguments, job)
        await rig.run(Kind.IMPORT, arguments, job)
        making = msgspec.structs.replace(arguments, statements=[view.statement for view in views.values()])
        await rig.run(Kind.CREATE_VIEWS, making, job)
        await rig.run(Kind.CHECK, arguments, job)
        await rig.run(Kind.CLEAN, arguments, job)
        return preflight


@pytest.fixture
async def story(rig: Rig, either: ScratchCluster) -> Story:
    """The keyspaces, their rows and the backup `kept` of them."""
    session = await either.session_one(either.nodes[0])
    made = Story(rig, session, sai=either.version.startswith("5"))
    made.make()
    await rig.keep("kept", {"Back": [], "back_empty": []})
    return made


@pytest.fixture(autouse=True)
async def nothing_left(either: ScratchCluster) -> Any:
    """No test leaves staging behind."""
    yield
    left = [path for path in either.nodes[0].directory.rglob("held") if path.is_dir()]
    assert left == []


async def test_truncated_and_changed_tables_come_back_as_they_were(rig: Rig, story: Story) -> None:
    """Rows, write times, counters, deleted rows, indexes (also SAI on 5.0) and a view, over two data directories."""
    before = story.rows()
    story.session.execute('TRUNCATE "Back".counted')
    story.session.execute('INSERT INTO "Back".based (id, v) VALUES (999, 5)')
    story.session.execute('DELETE FROM "Back"."Tab" WHERE id = 1')
    arguments = await rig.arguments("kept", TABLES, truncate=True, batch_sstables=1)
    preflight = await story.restore("job-1", arguments)
    assert [view.name for view in preflight.live_views] == ["View"]
    assert preflight.missing_keyspaces == []
    assert preflight.differences == []
    assert preflight.views_enabled
    assert story.rows() == before
    await rig.keep("after", {"Back": []})
    await rig.node.snapshots.clear("after")
    assert story.rows() == before


async def test_dropped_keyspaces_come_back_with_everything_in_them(rig: Rig, story: Story) -> None:
    """Types in their order, a dropped column, indexes, the view, and a keyspace without tables."""
    before = story.rows()
    for name in ('"Back"', "back_empty"):
        story.session.execute(f"DROP KEYSPACE {name}")
    preflight = await story.restore("job-2", await rig.arguments("kept", TABLES))
    assert preflight.missing_keyspaces == ["Back", "back_empty"]
    assert story.rows() == before
    assert "back_empty" in await rig.node.view.keyspaces()


async def test_one_dropped_table_comes_back_and_the_others_are_left_alone(rig: Rig, story: Story) -> None:
    """The others keep what was written since the backup."""
    before = story.rows()
    story.session.execute('DROP MATERIALIZED VIEW "Back"."View"')
    story.session.execute('DROP TABLE "Back".based')
    story.session.execute('UPDATE "Back".counted SET c = c + 1 WHERE id = 1')
    ids = (await rig.node.view.keyspaces())["Back"].tables
    preflight = await story.restore("job-3", await rig.arguments("kept", {"Back": ["based"]}))
    assert preflight.missing_tables == {"Back": ["based"]}
    after = story.rows()
    assert {name: after[name] for name in ("based", "view")} == {name: before[name] for name in ("based", "view")}
    assert after["counted"] != before["counted"]
    now = (await rig.node.view.keyspaces())["Back"].tables
    assert {name: now[name] for name in ids} == ids


async def test_a_table_that_differs_is_replaced_when_asked(rig: Rig, story: Story) -> None:
    """Preflight shows both; a type that differs is replaced with its table."""
    before = story.rows()
    run = story.session.execute
    run('DROP TABLE "Back"."Tab"')
    run('DROP TYPE "Back".address')
    run('CREATE TYPE "Back".address (other int)')
    run('CREATE TABLE "Back"."Tab" (id int PRIMARY KEY, "V" int, a frozen<address>)')
    arguments = await rig.arguments("kept", {"Back": ["Tab"]}, replace={"Back": ["Tab"]})
    preflight = await story.restore("job-4", arguments)
    (difference,) = preflight.differences
    assert difference.name == "Tab"
    assert "street" in difference.backup
    assert "other" in difference.live
    assert story.rows() == before


async def test_truncate_after_the_import_began_is_refused_and_removes_nothing(rig: Rig, story: Story) -> None:
    """The phase of a coordinator that came too late."""
    before = story.rows()
    arguments = await rig.arguments("kept", {"Back": ["counted"]}, truncate=True)
    for kind in (Kind.PREFLIGHT, Kind.FETCH, Kind.TRUNCATE, Kind.IMPORT):
        await rig.run(kind, arguments, "job-5")
    with pytest.raises(ImportHasBegun):
        await rig.run(Kind.TRUNCATE, arguments, "job-5")
    assert story.rows() == before
    await rig.run(Kind.CLEAN, arguments, "job-5")


async def test_a_damaged_snapshot_is_found_before_anything_is_changed(
    rig: Rig, story: Story, either: ScratchCluster
) -> None:
    """A flipped byte in a Data.db, whether the file's time tells or not: fetching fails, the table is as it was."""
    before = story.rows()
    found = await rig.node.snapshots.inventory("kept", {"Back": ["counted"]})
    path = next(file.path for file in found[0].files if file.name.endswith("-Data.db"))
    taken = os.stat(path)
    times = (taken.st_atime_ns, taken.st_mtime_ns)
    with open(path, "r+b") as file:
        content = file.read()
        file.seek(0)
        file.write(bytes([content[0] ^ 1]) + content[1:])
    arguments = await rig.arguments("kept", {"Back": ["counted"]}, truncate=True)
    await rig.run(Kind.PREFLIGHT, arguments, "job-6")
    with pytest.raises(DamagedOnServer, match="was written since"):
        await rig.run(Kind.FETCH, arguments, "job-6")
    os.utime(path, ns=times)
    with pytest.raises(DamagedOnServer, match="CRC-32"):
        await rig.run(Kind.FETCH, arguments, "job-6")
    with open(path, "r+b") as file:  # it is the live table's file too
        file.write(content)
    os.utime(path, ns=times)
    await rig.run(Kind.CLEAN, arguments, "job-6")
    assert story.rows() == before


async def test_views_that_were_dropped_come_back_from_the_notes(rig: Rig, story: Story) -> None:
    """A restore that is given up after the drop: without statements the agent makes what it noted."""
    before = story.rows()
    arguments = await rig.arguments("kept", {"Back": ["based"]}, views={"Back": ["View"]})
    await rig.run(Kind.DROP_VIEWS, arguments, "job-7")
    assert not (await rig.node.view.keyspaces())["Back"].views
    made = await rig.run(Kind.CREATE_VIEWS, arguments, "job-7")
    assert made.result.done == ["Back.View"]  # type: ignore[attr-defined]
    async with asyncio.timeout(60):
        while story.rows()["view"] != before["view"]:  # noqa: ASYNC110 the last updates of a build are asynchronous
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "statement", ["DROP KEYSPACE system_auth", 'CREATE MATERIALIZED VIEW "a"."b" AS SELECT 1; DROP TABLE x.y', ""]
)
async def test_only_views_are_made_where_views_are_asked_for(rig: Rig, statement: str) -> None:
    """The coordinator's statements are no way to run anything else."""
    arguments = RestoreArguments("t", "f07c0f1d-962d-4981-b44f-35682d1a3fe8", {}, statements=[statement])
    with pytest.raises(StatementRefused):
        await rig.run(Kind.CREATE_VIEWS, arguments, "job-8")


async def test_preflight_names_everything_that_speaks_against_it(rig: Rig, story: Story) -> None:
    """One refusal does not hide the next."""
    asked = {"Back": ["nowhere"], "unknown": ["t"], "system": ["local"], "system_auth": ["roles"]}
    arguments = await rig.arguments("kept", asked, truncate=True)
    result = (await rig.run(Kind.PREFLIGHT, arguments, "job-9")).result
    assert isinstance(result, PreflightResult)
    codes = sorted(str(refusal["code"]) for refusal in result.refusals)
    assert codes.count("keyspace_refused") == 2
    assert codes.count("not_in_backup") >= 2
    await rig.run(Kind.CLEAN, arguments, "job-9")


async def test_a_failed_import_leaves_its_reason(rig: Rig, story: Story) -> None:
    """The table went away between SCHEMA and IMPORT."""
    arguments = await rig.arguments("kept", {"Back": ["counted"]})
    await rig.run(Kind.PREFLIGHT, arguments, "job-10")
    await rig.run(Kind.FETCH, arguments, "job-10")
    story.session.execute('DROP TABLE "Back".counted')
    with pytest.raises(CassandraError) as caught:
        await rig.run(Kind.IMPORT, arguments, "job-10")
    assert caught.value.code in ("import_failed", "table_not_found")
    await rig.run(Kind.SCHEMA, arguments, "job-11")
    assert (await rig.run(Kind.IMPORT, arguments, "job-10")).result.imported["Back"]["counted"] > 0  # type: ignore[attr-defined]
    await rig.run(Kind.CLEAN, arguments, "job-10")
