"""Promise (I8): a snapshot that Cassandra makes after nobody waits for it any more is still the agent's, and goes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.cassandra.errors import (
    CassandraUnavailable,
    NodetoolFailed,
    NodetoolKilled,
    NodetoolTimeout,
    SnapshotExists,
    SnapshotMissing,
)
from agent.cassandra.settings import CassandraSettings, SpaceSettings
from agent.wire.commands import SnapshotArguments
from agent.wire.node import Tables
from kit.errors import HelenusError
from tests.fast.cassandra.directory_control import DirectoryControl
from tests.fast.cassandra.schemaless import SchemalessSnapshots


class LateControl(DirectoryControl):
    """Its snapshot calls fail with `failure`, and are carried out when `late` is called."""

    failure: HelenusError = NodetoolTimeout("it did not end")

    async def snapshot(self, tag: str, tables: Tables, ttl_seconds: int | None) -> None:
        self.asked = (tag, tables, ttl_seconds)
        raise self.failure

    async def late(self) -> None:
        await super().snapshot(*self.asked)


@pytest.fixture
def now() -> list[float]:
    return [1_000.0]


@pytest.fixture
def control(tmp_path: Path) -> LateControl:
    control = LateControl(tmp_path / "data")
    (control.directory("shop", "orders") / "nb-1-big-Data.db").write_bytes(b"x" * 100)
    return control


@pytest.fixture
def snapshots(tmp_path: Path, control: LateControl, now: list[float]) -> SchemalessSnapshots:
    return started(tmp_path, control, now)


def started(tmp_path: Path, control: LateControl, now: list[float]) -> SchemalessSnapshots:
    """As an agent that starts has them: it knows what is on disk."""

    async def data() -> tuple[str, ...]:
        return (str(tmp_path / "data"),)

    async def commitlog() -> str:
        return str(tmp_path)

    places: Any = SimpleNamespace(every=data, renew=data, commitlog=commitlog)
    nothing: Any = None
    settings = CassandraSettings(space=SpaceSettings(backup_free=0.0))
    return SchemalessSnapshots(settings, control, nothing, nothing, nothing, places, tmp_path / "state", lambda: now[0])


@pytest.mark.parametrize(
    "failure",
    [NodetoolTimeout("it did not end"), NodetoolKilled("by a signal"), CassandraUnavailable("no answer")],
)
async def test_a_snapshot_that_comes_after_the_time_out_is_owned_and_cleared(
    snapshots: SchemalessSnapshots, control: LateControl, now: list[float], failure: HelenusError
) -> None:
    """Promise: a snapshot of unknown outcome stays the agent's until it can't come any more, and is cleared."""
    control.failure = failure
    with pytest.raises(type(failure)):
        await snapshots.take(SnapshotArguments("t1"), "c1")
    with pytest.raises(CassandraUnavailable, match="may still"):
        await snapshots.clear("t1")
    assert [one.tag for one in await snapshots.ours()] == ["t1"]
    await control.late()
    assert await snapshots.exists("t1")
    now[0] += 601.0
    await snapshots.clear("t1")
    assert not await snapshots.exists("t1")
    assert await snapshots.ours() == ()


async def test_an_agent_that_was_started_anew_knows_which_call_was_never_answered(
    snapshots: SchemalessSnapshots, control: LateControl, now: list[float], tmp_path: Path
) -> None:
    """Forgotten at once, the snapshot would come when nobody owns up to it any more."""
    with pytest.raises(NodetoolTimeout):
        await snapshots.take(SnapshotArguments("t1"), "c1")
    again = started(tmp_path, control, now)
    with pytest.raises(CassandraUnavailable, match="may still"):
        await again.clear("t1")
    await control.late()
    now[0] += 601.0
    again = started(tmp_path, control, now)
    await again.clear("t1")
    assert not await again.exists("t1")
    assert not list((tmp_path / "state" / "on-server").iterdir())


async def test_a_refused_snapshot_leaves_no_note(snapshots: SchemalessSnapshots, control: LateControl) -> None:
    """Promise: a snapshot that Cassandra refused is not owed."""
    control.failure = NodetoolFailed("no such table")
    with pytest.raises(NodetoolFailed):
        await snapshots.take(SnapshotArguments("t1"), "c1")
    assert await snapshots.ours() == ()


async def test_a_success_that_made_nothing_sends_one_to_the_settings(
    snapshots: SchemalessSnapshots, control: LateControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a nodetool that is none, or of another node, says it was fine; nobody is sent to look for who cleared a
    snapshot that never was. Nothing is owed."""

    async def nothing(tag: str, tables: Tables, ttl_seconds: int | None) -> None:
        """As /bin/true does."""

    monkeypatch.setattr(control, "snapshot", nothing)
    with pytest.raises(SnapshotMissing, match="no directory of it") as caught:
        await snapshots.take(SnapshotArguments("t1"), "c1")
    assert "cassandra.nodetool.command" in caught.value.todo
    assert await snapshots.ours() == ()


async def test_a_snapshot_that_lacks_only_a_table_was_changed(
    snapshots: SchemalessSnapshots, control: LateControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: where Cassandra did make a snapshot the settings are not blamed."""

    async def another(tag: str, tables: Tables, ttl_seconds: int | None) -> None:
        """Of another table only."""
        await DirectoryControl.snapshot(control, tag, {"shop": ["others"]}, ttl_seconds)

    monkeypatch.setattr(control, "snapshot", another)
    with pytest.raises(SnapshotMissing, match=r"among them shop\.orders") as caught:
        await snapshots.take(SnapshotArguments("t1"), "c1")
    assert "cassandra.nodetool" not in caught.value.todo


async def test_what_an_earlier_try_of_the_same_backup_left_goes_before_the_next(
    snapshots: SchemalessSnapshots, control: LateControl, now: list[float]
) -> None:
    """Once it can't come any more; until then the next try is told to wait, and another backup that it is taken."""
    with pytest.raises(NodetoolTimeout):
        await snapshots.take(SnapshotArguments("t1", made_by="m1"), "c1")
    with pytest.raises(CassandraUnavailable, match="may still"):
        await snapshots.take(SnapshotArguments("t1", made_by="m1"), "c2")
    with pytest.raises(SnapshotExists):
        await snapshots.take(SnapshotArguments("t1", made_by="m2"), "c3")
    now[0] += 601.0
    control.failure = NodetoolFailed("no such table")
    with pytest.raises(NodetoolFailed):
        await snapshots.take(SnapshotArguments("t1", made_by="m1"), "c2")
    assert await snapshots.ours() == ()
