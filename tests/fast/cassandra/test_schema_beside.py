"""Promise (I5): the schema of a backup is that of its snapshot, although both are asked for side by side."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from agent.cassandra import snapshots as module
from agent.cassandra.errors import KeyspaceNotFound, SchemaChanged
from agent.cassandra.settings import CassandraSettings, SpaceSettings
from agent.cassandra.snapshots import NodeSnapshots
from agent.model.snapshot import KeyspaceSchema
from agent.wire.commands import SnapshotArguments
from agent.wire.node import KeyspaceView, NodeIdentity
from tests.fast.cassandra.directory_control import DirectoryControl

IDENTITY = NodeIdentity("h", "127.0.0.1", "c", "dc1", "r1", ["0"], "5.0.9", "Murmur3Partitioner", "v0")
SHOP = KeyspaceSchema("shop", {}, True, (), {}, {})


class Cassandra:
    """A node with one table, whose schema may get another version."""

    def __init__(self, directory: Path) -> None:
        self.control = DirectoryControl(directory / "data")
        (self.control.directory("shop", "orders") / "nb-1-big-Data.db").write_bytes(b"x")
        self.version = 0

        async def data() -> tuple[str, ...]:
            return (str(directory / "data"),)

        async def commitlog() -> str:
            return str(directory)

        async def settled(seconds: float) -> str:
            return f"v{self.version}"

        async def identity() -> NodeIdentity:
            return msgspec.structs.replace(IDENTITY, schema_version=f"v{self.version}")

        async def keyspaces() -> dict[str, KeyspaceView]:
            return {"shop": KeyspaceView({}, True, {"orders": "0"}, {})}

        nothing: Any = None
        view: Any = SimpleNamespace(identity=identity, keyspaces=keyspaces)
        places: Any = SimpleNamespace(every=data, renew=data, commitlog=commitlog)
        agreement: Any = SimpleNamespace(settled=settled)
        settings = CassandraSettings(space=SpaceSettings(backup_free=0.0), snapshot_ttl_seconds=0)
        self.snapshots = NodeSnapshots(settings, self.control, nothing, view, agreement, places, directory / "state")


@pytest.mark.parametrize("changes", [1, 3])
async def test_a_schema_that_changes_while_it_is_asked_for_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: int
) -> None:
    """Promise: an answer that comes after the snapshot, and after a change, is noticed: the snapshot is taken again, at
    most three times."""
    cassandra = Cassandra(tmp_path)
    asked = 0

    async def slow(cql: Any, keyspaces: Any) -> tuple[KeyspaceSchema, ...]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)  # its snapshot is there by then, with everything that does not need the answer
        assert sum(call[0] == "snapshot" for call in cassandra.control.calls) == asked
        cassandra.version += asked <= changes
        return (SHOP,)

    monkeypatch.setattr(module, "capture_schema", slow)
    taking = cassandra.snapshots.take(SnapshotArguments("t1", keep=True), "c1")
    if changes == 3:
        with pytest.raises(SchemaChanged):
            await taking
        assert await cassandra.snapshots.ours() == ()
        assert not await cassandra.snapshots.exists("t1")
    else:
        info = await taking
        assert (info.node.schema_version, info.schema, asked) == ("v1", (SHOP,), 2)


async def test_a_keyspace_that_goes_while_it_is_asked_for_makes_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: the snapshot of the first try is cleared, and nothing is left running."""
    cassandra = Cassandra(tmp_path)
    answers: list[KeyspaceNotFound | None] = [KeyspaceNotFound("there is no keyspace shop", keyspace="shop"), None]

    async def capture(cql: Any, keyspaces: Any) -> tuple[KeyspaceSchema, ...]:
        error = answers.pop(0)
        if error is not None:
            raise error
        return (SHOP,)

    monkeypatch.setattr(module, "capture_schema", capture)
    info = await cassandra.snapshots.take(SnapshotArguments("t1", keep=True), "c1")
    assert info.schema == (SHOP,)
    assert [call[0] for call in cassandra.control.calls] == ["snapshot", "clear", "snapshot"]
