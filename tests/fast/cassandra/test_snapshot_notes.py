"""What is noted of the agent's own snapshots."""

from pathlib import Path

from agent.cassandra.protocol import OwnSnapshot
from agent.cassandra.snapshot_notes import SnapshotNotes
from agent.model.snapshot import SnapshotInfo
from agent.wire.node import NodeIdentity

NODE = NodeIdentity("h1", "127.0.40.1", "test", "dc1", "r1", ["1"], "5.0.9", "Murmur3", "v1")


def info(tag: str, *, kept: bool) -> SnapshotInfo:
    return SnapshotInfo(tag, "adhoc", kept, 2.0, NODE, (), {}, ("/data",))


def test_snapshots_are_listed_without_a_look_into_what_was_taken(tmp_path: Path) -> None:
    """Promise: who asks for the node twice a minute doesn't have every schema of every snapshot read, megabytes each;
    nor does one that can't be read hide the others."""
    notes = SnapshotNotes(tmp_path)
    notes.begin("half", "c1", 1.0, made_by="m", kept=False)
    notes.begin("kept", "c2", 2.0, made_by="", kept=True)
    notes.complete(info("kept", kept=True))
    assert notes.info("kept") == info("kept", kept=True)
    (tmp_path / "kept" / "snapshot.json").write_bytes(b"{damaged")
    half, kept = OwnSnapshot("half", "c1", 1.0, False, "m"), OwnSnapshot("kept", "c2", 2.0, True, "", kept=True)
    assert notes.all() == (half, kept)
    assert [notes.find(tag) for tag in ("half", "kept", "none")] == [half, kept, None]
    assert notes.info("half") is None
