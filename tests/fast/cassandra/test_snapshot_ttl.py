"""What time-to-live Cassandra is given with a snapshot."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.cassandra.settings import CassandraSettings, SpaceSettings
from agent.wire.commands import SnapshotArguments
from agent.wire.node import NodeIdentity
from tests.fast.cassandra.directory_control import DirectoryControl
from tests.fast.cassandra.schemaless import SchemalessSnapshots

IDENTITY = NodeIdentity("h", "127.0.0.1", "c", "dc1", "r1", ["0"], "5.0.9", "Murmur3Partitioner", "v")


@pytest.mark.parametrize(
    ("least", "keep", "copy_rate", "wanted"),
    [(100, False, 1.0, "200"), (100, False, 1e15, "100"), (100, True, 1.0, "None"), (0, False, 1.0, "None")],
)
async def test_the_snapshot_of_a_slow_copy_lives_longer(
    tmp_path: Path, least: int, keep: bool, copy_rate: float, wanted: str
) -> None:
    """Promise (design §5): twice the time that the bytes of its own tables take, where that is more than the setting;
    an on-server backup never ends by itself."""
    control = DirectoryControl(tmp_path / "data")
    (control.directory("shop", "orders") / "nb-1-big-Data.db").write_bytes(b"x" * 100)
    (control.directory("shop", "others") / "nb-1-big-Data.db").write_bytes(b"x" * 1000)

    async def data() -> tuple[str, ...]:
        return (str(tmp_path / "data"),)

    async def commitlog() -> str:
        return str(tmp_path)

    async def identity() -> NodeIdentity:
        return IDENTITY

    nothing: Any = None
    settings = CassandraSettings(space=SpaceSettings(backup_free=0.0), snapshot_ttl_seconds=least)
    view: Any = SimpleNamespace(identity=identity)
    places: Any = SimpleNamespace(every=data, renew=data, commitlog=commitlog)
    snapshots = SchemalessSnapshots(settings, control, nothing, view, nothing, places, tmp_path / "state")
    await snapshots.take(SnapshotArguments("t1", keep=keep), "c1", copy_rate=copy_rate)
    assert control.calls == [("snapshot", "t1", wanted)]
