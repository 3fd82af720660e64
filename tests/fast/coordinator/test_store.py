"""The coordinator's state survives restarts, keeps what ended as it ended, and keeps secrets to its user."""

import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.wire.destinations import MASK, S3Settings
from coordinator.model.activity import ActivityEvent
from coordinator.model.destinations import Destination, attributes_of, description
from coordinator.model.orders import BackupOrder, Copy
from coordinator.model.requests import Request, RequestKind, RequestState, spec_of
from coordinator.model.tags import is_tag, tag_of
from coordinator.store.database import StoreFailed, StoreTooNew
from coordinator.store.sqlite import FILE, SqliteStore
from tests.cluster.large_cluster import LargeCluster

NOW = 1_489_763_169.0
TAG = "opscenter_adhoc_2017-03-17-15-06-09-UTC"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "state", now=NOW)
    yield opened
    await opened.close()


async def reopened(store: SqliteStore, tmp_path: Path, now: float = NOW) -> SqliteStore:
    """The state as a fresh process finds it while the first one still has the file open, as after kill -9."""
    return await SqliteStore.open(tmp_path / "state", now=now)


def request(name: str = "r1", **changes: Any) -> Request:
    order = BackupOrder(tag=TAG, time=int(NOW), keyspaces={"shop": []}, copies=[Copy("d1", 5)])
    made = Request(name, RequestKind.BACKUP, "Test_Cluster", RequestState.RUNNING, NOW, spec_of(order), tag=TAG)
    return msgspec.structs.replace(made, **changes)


def event(request_id: str = "r1", destination: Destination | None = None, status: str = "running") -> ActivityEvent:
    return ActivityEvent("Test_Cluster", request_id, "backup", TAG, description(destination), int(NOW), status)


def test_a_tag_tells_its_time() -> None:
    """The time of OpsCenter's own example, both ways, and tags that tell none."""
    assert tag_of("adhoc", 1_334_857_272) == "opscenter_adhoc_2012-04-19-17-41-12-UTC"
    for odd in ("", ".hidden", "-option", "a/b", "a\0", "a" * 201, "ä"):
        assert not is_tag(odd)


async def test_steps_that_belong_together_are_all_kept_or_none(store: SqliteStore, tmp_path: Path) -> None:
    """Promise: whatever breaks off the write, none of them stands beside what the others were before."""
    await store.requests.record_steps("r1", {"first": {"n": 1}, "second": {"n": 1}})
    with sqlite3.connect(tmp_path / "state" / FILE) as connection:
        connection.execute(
            "CREATE TRIGGER broken BEFORE UPDATE ON steps WHEN NEW.name = 'second' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    connection.close()
    with pytest.raises(StoreFailed):
        await store.requests.record_steps("r1", {"first": {"n": 2}, "second": {"n": 2}})
    assert [await store.requests.step("r1", name) for name in ("first", "second")] == [{"n": 1}, {"n": 1}]


async def test_a_large_step_takes_little_room_and_reads_the_same(store: SqliteStore, tmp_path: Path) -> None:
    """A backup's scope holds its plan, which grows with the cluster; it is kept for thirty days."""
    large = {"plan": msgspec.to_builtins(LargeCluster(20, 256, 5).plan())}
    await store.requests.record_step("r1", "scope", large)
    await store.requests.record_step("r1", "small", {"a": 1})
    assert await store.requests.step("r1", "scope") == large
    assert await store.requests.step("r1", "small") == {"a": 1}
    with sqlite3.connect(tmp_path / "state" / FILE) as connection:
        [(kept,), (plain,)] = connection.execute("SELECT data FROM steps ORDER BY sequence")
    connection.close()
    assert len(kept) < len(msgspec.json.encode(large)) * 0.6
    assert plain == b'{"a":1}'


async def test_the_state_is_readable_by_its_user_only(store: SqliteStore, tmp_path: Path) -> None:
    """Secrets at rest stand in files of mode 0600 (I9), the write-ahead log included."""
    await store.destinations.put(Destination("d1", "c", S3Settings(path="b", access_secret="s3cret"), 1, "r", "c"))
    files = list((tmp_path / "state").iterdir())
    assert any(b"s3cret" in file.read_bytes() for file in files)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_secrets_are_masked_for_people() -> None:
    """Neither listing nor activity shows a secret; an empty one stays empty."""
    place = Destination("d1", "c", S3Settings(path="b", access_key="AK", access_secret="s3cret"), 1, "r", "c")
    assert attributes_of(place.settings)["access_secret"] == MASK
    assert attributes_of(place.settings)["session_token"] == ""
    assert "s3cret" not in str(description(place))


async def test_a_later_releases_state_is_refused(store: SqliteStore, tmp_path: Path) -> None:
    """An old program never writes into a state it doesn't understand."""
    with sqlite3.connect(tmp_path / "state" / FILE) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreTooNew):
        await reopened(store, tmp_path)


async def test_a_damaged_state_is_a_named_error(tmp_path: Path) -> None:
    """A file that is no database is said to be one that can't be used, and is left alone."""
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(StoreFailed):
        await SqliteStore.open(tmp_path, now=NOW)
    assert (tmp_path / FILE).read_bytes().startswith(b"no database")


async def test_a_directory_that_cannot_be_made_is_trouble_of_the_store(tmp_path: Path) -> None:
    """Promise: work that waits for its store waits for this too, and doesn't end by it."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreFailed, match="state can't be used"):
        await SqliteStore.open(tmp_path / "file" / "state", now=NOW)


async def test_a_file_that_was_closed_is_trouble_of_the_store(tmp_path: Path) -> None:
    """Promise: who still asks a store that is thrown away gets the error that work waits by."""
    closed = await SqliteStore.open(tmp_path / "state", now=NOW)
    await closed.close()
    with pytest.raises(StoreFailed, match="closed"):
        await closed.requests.get("r1")
    with pytest.raises(StoreFailed, match="closed"):
        await closed.requests.create(request())
