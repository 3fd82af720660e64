"""Snapshots on real nodes of 5.0 and 4.1: taken, listed, cleared, refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cassandra.cluster import Session

from agent.cassandra.errors import (
    CassandraError,
    KeyspaceNotFound,
    NotEnoughSpace,
    SchemaChanged,
    SnapshotExists,
    SnapshotMissing,
    TableNotFound,
)
from agent.cassandra.node import CassandraNode
from agent.cassandra.settings import SpaceSettings
from agent.pipeline.reading import read_run
from agent.plan.sstables import parse
from agent.plan.toc import may_grow
from agent.wire.commands import SnapshotArguments
from tests.cluster.places import CASSANDRA_41
from tests.cluster.scratch import ScratchCluster
from tests.real.cassandra.rig import Rig, settings_for

SIMPLE = "{'class': 'SimpleStrategy', 'replication_factor': 1}"


@pytest.fixture
async def session(either: ScratchCluster) -> Session:
    """A session with two keyspaces: `Snap`, with mixed-case names, an index and a view, and an empty one."""
    session = await either.session_one(either.nodes[0])
    for name in ('"Snap"', "snap_empty"):
        session.execute(f"DROP KEYSPACE IF EXISTS {name}")
        session.execute(f"CREATE KEYSPACE {name} WITH replication = {SIMPLE}")
    session.execute('CREATE TABLE "Snap"."Tab" (id int PRIMARY KEY, "V" text)')
    session.execute('CREATE TABLE "Snap".plain (id int PRIMARY KEY, v int)')
    session.execute('CREATE INDEX "ByV" ON "Snap"."Tab" ("V")')
    session.execute(
        'CREATE MATERIALIZED VIEW "Snap"."View" AS SELECT * FROM "Snap".plain '
        "WHERE v IS NOT NULL AND id IS NOT NULL PRIMARY KEY (v, id)"
    )
    for number in range(50):
        session.execute(f'INSERT INTO "Snap"."Tab" (id, "V") VALUES ({number}, \'v{number}\')')
        session.execute(f'INSERT INTO "Snap".plain (id, v) VALUES ({number}, {number})')
    return session


async def test_a_snapshot_holds_what_was_written_and_no_views(rig: Rig, session: Session) -> None:
    """Flushed first, over all data directories, mixed-case names as they are; an empty keyspace is taken as such."""
    info = await rig.node.snapshots.take(SnapshotArguments("first", {"Snap": [], "snap_empty": []}), "c1")
    assert info.tables == {"Snap": ["Tab", "plain"], "snap_empty": []}
    assert {schema.name for schema in info.schema} == {"Snap", "snap_empty"}
    found = await rig.node.snapshots.inventory("first")
    assert [table.table for table in found] == ["Tab", "plain"]
    names = [file.name for file in found[0].files]
    assert any((component := parse(name)) is not None and component.is_data for name in names)
    assert any(name.startswith(".ByV/") for name in names)
    ids = next(schema for schema in info.schema if schema.name == "Snap").table_ids
    assert found[0].table_id == ids["Tab"].replace("-", "")
    assert (await rig.node.snapshots.held_alone("first")).files == sum(len(table.files) for table in found)
    await rig.node.snapshots.clear("first")
    assert not await rig.node.snapshots.exists("first")
    assert await rig.node.snapshots.ours() == ()


async def test_an_index_that_is_made_since_changes_what_a_snapshot_holds_and_not_what_is_stored(
    one_node_50: ScratchCluster, tmp_path: Path
) -> None:
    """Promise: Cassandra writes the index into the TOC.txt of the snapshot too, which is a hard link; a copy that is
    under way stores what that held when it was listed."""
    session = await one_node_50.session_one(one_node_50.nodes[0])
    session.execute('DROP KEYSPACE IF EXISTS "Grown"')
    session.execute(f'CREATE KEYSPACE "Grown" WITH replication = {SIMPLE}')
    session.execute('CREATE TABLE "Grown".plain (id int PRIMARY KEY, v int)')
    session.execute('INSERT INTO "Grown".plain (id, v) VALUES (1, 1)')
    rig = Rig(settings_for(one_node_50.nodes[0]), tmp_path / "state")
    await rig.node.snapshots.take(SnapshotArguments("grown", {"Grown": []}), "c1")
    (table,) = await rig.node.snapshots.inventory("grown")
    (toc,) = [file for file in table.files if may_grow(file.name)]
    before = Path(toc.path).read_bytes()
    session.execute("CREATE INDEX by_v ON \"Grown\".plain (v) USING 'sai'")
    async with asyncio.timeout(60):  # it is emptied first
        while Path(toc.path).stat().st_size <= toc.size:  # noqa: ASYNC110 - a file sets no event
            await asyncio.sleep(0.1)
    assert Path(toc.path).stat().st_ino == toc.inode
    read = bytearray(toc.size)
    read_run(toc, 0, memoryview(read), table.files)
    assert bytes(read) == before
    await rig.node.snapshots.clear("grown")
    await rig.close()


async def test_all_means_every_keyspace_but_traces(rig: Rig, session: Session, either: ScratchCluster) -> None:
    """Also the system's own, for they belong to a whole backup, wherever the node keeps them: on two disks with the
    others (5.0), or in a directory of their own (4.1). All is there that Cassandra's own lists name."""
    info = await rig.node.snapshots.take(SnapshotArguments("whole"), "c1")
    assert {"system", "system_auth", "system_schema", "Snap", "snap_empty"} <= set(info.tables)
    assert not {"system_traces", "system_views", "system_virtual_schema"} & set(info.tables)
    found = await rig.node.snapshots.inventory("whole")
    assert len(info.data_directories) == 2
    volumes = {file.volume for table in found if table.keyspace == "system_schema" for file in table.files}
    assert volumes == {1 if either.nodes[0].spec.version == CASSANDRA_41 else 0}
    await rig.node.snapshots.clear("whole")
    assert not await rig.node.snapshots.exists("whole")


async def test_the_same_command_gets_the_same_snapshot_and_another_is_refused(rig: Rig, session: Session) -> None:
    """A command that is resumed takes nothing twice; a tag is one backup's for ever."""
    arguments = SnapshotArguments("again", {"Snap": ["plain"]})
    info = await rig.node.snapshots.take(arguments, "c1")
    assert await rig.node.snapshots.take(arguments, "c1") == info
    with pytest.raises(SnapshotExists):
        await rig.node.snapshots.take(arguments, "c2")
    await rig.node.snapshots.clear("again")


async def test_a_snapshot_of_somebody_else_is_neither_taken_nor_cleared(
    rig: Rig, session: Session, either: ScratchCluster
) -> None:
    """Nothing that a person made is ever removed."""
    await either.nodes[0].nodetool("snapshot", "-t", "theirs", "Snap")
    with pytest.raises(SnapshotExists):
        await rig.node.snapshots.take(SnapshotArguments("theirs", {"Snap": []}), "c1")
    with pytest.raises(SnapshotExists):
        await rig.node.snapshots.clear("theirs")
    assert await rig.node.snapshots.exists("theirs")
    assert await rig.node.snapshots.ours() == ()
    await either.nodes[0].nodetool("clearsnapshot", "-t", "theirs")


async def test_a_snapshot_that_was_cut_is_taken_again_by_its_command(rig: Rig, session: Session) -> None:
    """Killed between Cassandra's answer and the note: what is there is ours, goes, and comes back whole."""
    arguments = SnapshotArguments("cut", {"Snap": []})
    notes = rig.node.snapshots._notes
    notes.begin("cut", "c1", 1.0, made_by="", kept=False)
    await rig.node.control.snapshot("cut", {"Snap": ["plain"]}, None)
    assert [(one.tag, one.complete) for one in await rig.node.snapshots.ours()] == [("cut", False)]
    info = await rig.node.snapshots.take(arguments, "c1")
    assert info.tables == {"Snap": ["Tab", "plain"]}
    await rig.node.snapshots.clear("cut")


@pytest.mark.parametrize(
    ("keyspaces", "error"), [({"nowhere": []}, KeyspaceNotFound), ({"Snap": ["View"]}, TableNotFound)]
)
async def test_what_is_not_there_is_an_error_and_leaves_nothing(
    rig: Rig, session: Session, keyspaces: dict[str, list[str]], error: type[Exception]
) -> None:
    """Zero is an error."""
    with pytest.raises(error):
        await rig.node.snapshots.take(SnapshotArguments("wrong", keyspaces), "c1")
    assert await rig.node.snapshots.ours() == ()
    assert not await rig.node.snapshots.exists("wrong")


async def test_a_schema_that_keeps_changing_ends_the_snapshot(rig: Rig, session: Session) -> None:
    """Tried three times, cleared each time, then an error; once it is quiet it works."""
    control = rig.node.snapshots._control
    tries = []

    class Changing:
        async def snapshot(self, tag: str, tables: Any, ttl_seconds: int | None) -> None:
            tries.append(tag)
            await control.snapshot(tag, tables, ttl_seconds)
            session.execute(f"ALTER TABLE \"Snap\".plain WITH comment = 'change {len(tries)}'")

        def __getattr__(self, name: str) -> Any:
            return getattr(control, name)

    rig.node.snapshots._control = Changing()
    with pytest.raises(SchemaChanged):
        await rig.node.snapshots.take(SnapshotArguments("restless", {"Snap": []}), "c1")
    assert len(tries) == 3
    assert not await rig.node.snapshots.exists("restless")
    rig.node.snapshots._control = control
    assert (await rig.node.snapshots.take(SnapshotArguments("restless", {"Snap": []}), "c1")).tag == "restless"
    await rig.node.snapshots.clear("restless")


async def test_too_little_room_refuses_the_backup_by_name(either: ScratchCluster, rig: Rig) -> None:
    """A snapshot pins data: under the watermark none is taken."""
    node = CassandraNode(settings_for(either.nodes[0], space=SpaceSettings(backup_free=100.0)), rig.state)
    with pytest.raises(NotEnoughSpace) as caught:
        await node.snapshots.take(SnapshotArguments("full", {"system": []}), "c1")
    assert caught.value.fields["volumes"]
    await node.close()


async def test_a_snapshot_that_somebody_cleared_is_missing(rig: Rig, session: Session, either: ScratchCluster) -> None:
    """An inventory never comes back short."""
    await rig.node.snapshots.take(SnapshotArguments("gone", {"Snap": []}), "c1")
    await either.nodes[0].nodetool("clearsnapshot", "-t", "gone")
    with pytest.raises(SnapshotMissing):
        await rig.node.snapshots.inventory("gone")
    await rig.node.snapshots.clear("gone")
    assert await rig.node.snapshots.ours() == ()


async def test_a_temporary_snapshot_expires_by_itself_and_a_kept_one_never(
    rig: Rig, session: Session, either: ScratchCluster
) -> None:
    """TTL as Cassandra notes it."""
    await rig.node.snapshots.take(SnapshotArguments("temporary", {"Snap": ["plain"]}), "c1")
    await rig.node.snapshots.take(SnapshotArguments("kept", {"Snap": ["plain"]}, keep=True), "c2")
    listed = await either.nodes[0].nodetool("listsnapshots")
    columns = {line.split()[0]: line.split() for line in listed.splitlines() if line.startswith(("temporary", "kept"))}
    assert columns["temporary"][-1].endswith("Z") or "Z" in columns["temporary"][-2]
    assert len([word for word in columns["kept"] if word.endswith("Z")]) == 1
    assert len([word for word in columns["temporary"] if word.endswith("Z")]) == 2
    for tag in ("temporary", "kept"):
        await rig.node.snapshots.clear(tag)


async def test_cassandra_says_why_a_control_call_failed(rig: Rig, session: Session) -> None:
    """The same facts have the same codes, whatever the version."""
    await rig.node.control.snapshot("twice", {"Snap": ["plain"]}, None)
    with pytest.raises(SnapshotExists):
        await rig.node.control.snapshot("twice", {"Snap": ["plain"]}, None)
    with pytest.raises(TableNotFound):
        await rig.node.control.snapshot("other", {"Snap": ["nowhere"]}, None)
    await rig.node.control.clear_snapshot("twice")
    await rig.node.control.clear_snapshot("never_there")
    (member,) = (await rig.node.control.members()).values()
    assert (member.up, member.state) == (True, "NORMAL")
    with pytest.raises(CassandraError):
        await rig.node.cql.rows("SELECT nothing FROM system.local")
