"""The coordinator's state survives restarts, keeps what ended as it ended, and keeps secrets to its user."""

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.wire.commands import Counts, Kind
from agent.wire.destinations import MASK, LocalSettings, S3Settings
from coordinator.model.activity import ActivityEvent
from coordinator.model.commands import PostedCommand
from coordinator.model.destinations import Destination, attributes_of, description
from coordinator.model.orders import BackupOrder, Copy
from coordinator.model.requests import NodePart, Request, RequestKind, RequestState, order_of, spec_of
from coordinator.model.tags import is_tag, tag_of
from coordinator.store.database import StoreFailed, StoreTooNew
from coordinator.store.protocol import Store
from coordinator.store.sqlite import FILE, KEEP_ACTIVITY_SECONDS, KEEP_DETAILS_SECONDS, SqliteStore
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


async def test_what_was_written_is_there_after_a_crash(store: SqliteStore, tmp_path: Path) -> None:
    """Killed with -9 at any time, the coordinator finds request, order, steps, commands, fence and destination."""
    kept: Store = store
    posted = PostedCommand(
        "c1", "r1", "http://127.0.70.1:61621", "h1", "127.0.70.1", "snapshot", Kind.SNAPSHOT, {"tag": TAG}, 1, NOW
    )
    place = Destination("d1", "Test_Cluster", S3Settings(path="bucket", access_secret="s3cret"), 1, "repo", "cluster")
    await kept.requests.create(request(), [event()])
    await kept.requests.record_step("r1", "truncated", {"by": "h1"})
    await kept.commands.put([posted])
    await kept.destinations.put(place)
    await kept.values.put("seen", {"a1": 7})
    assert await kept.commands.next_fence("r1") == 1

    again = await reopened(store, tmp_path)
    try:
        found = await again.requests.find(state=RequestState.RUNNING)
        assert found == [request()]
        assert order_of(found[0]) == BackupOrder(tag=TAG, time=int(NOW), keyspaces={"shop": []}, copies=[Copy("d1", 5)])
        assert await again.requests.step("r1", "truncated") == {"by": "h1"}
        assert await again.requests.step("r1", "imported") is None
        assert await again.commands.of("r1") == [posted]
        assert await again.commands.next_fence("r1") == 2
        assert await again.commands.next_fence("r2") == 1
        assert await again.destinations.get("Test_Cluster", "d1") == place
        assert await again.values.get("seen") == {"a1": 7}
        assert await again.requests.events("Test_Cluster") == [event()]
    finally:
        await again.close()


async def test_a_request_ends_once(store: SqliteStore) -> None:
    """The first terminal form stays, whoever comes late."""
    await store.requests.create(request(), [event()])
    part = NodePart("127.0.70.1", "h1", "c1", RequestState.SUCCESS, progress={"d1": {"shop": {"a": Counts(1, 1)}}})
    ended = request(state=RequestState.SUCCESS, finished=NOW + 1)
    await store.requests.finish(ended, [part], [event(status="success")])
    await store.requests.finish(request(state=RequestState.ERROR, finished=NOW + 2), [], [event(status="error")])
    await store.requests.update(request(message="late"))
    assert await store.requests.get("r1") == ended
    assert await store.requests.parts("r1") == [part]
    assert [one.status for one in await store.requests.events("Test_Cluster")] == ["success"]


async def test_creating_a_request_twice_changes_nothing(store: SqliteStore) -> None:
    """A retried create does not throw back a request that has gone on."""
    await store.requests.create(request(), [event()])
    await store.requests.finish(request(state=RequestState.SUCCESS, finished=NOW), [], [event(status="success")])
    await store.requests.create(request(), [event()])
    found = await store.requests.get("r1")
    assert found is not None
    assert found.state is RequestState.SUCCESS
    assert (await store.requests.events("Test_Cluster"))[0].status == "success"


async def test_a_cancel_is_not_lost_in_an_update(store: SqliteStore) -> None:
    """The orchestrator may write its older view of the request after a person asked to stop it."""
    await store.requests.create(request())
    asked = await store.requests.ask_cancel("r1", force=False)
    assert asked is not None
    assert asked.cancel == "asked"
    await store.requests.update(request(message="going on"))
    forced = await store.requests.ask_cancel("r1", force=True)
    assert forced is not None
    assert (forced.cancel, forced.message) == ("force", "going on")
    weaker = await store.requests.ask_cancel("r1", force=False)
    assert weaker is not None
    assert weaker.cancel == "force"
    await store.requests.finish(request(state=RequestState.CANCELLED, finished=NOW))
    assert await store.requests.ask_cancel("nobody", force=False) is None


async def test_tags_are_given_once_per_cluster(store: SqliteStore, tmp_path: Path) -> None:
    """Backups begun in one second get tags of following seconds; other clusters have their own."""
    given = await asyncio.gather(*(store.requests.claim_tag("c", "adhoc", int(NOW)) for _ in range(3)))
    assert [tag for tag, _ in given] == [
        f"opscenter_adhoc_2017-03-17-15-06-{second}-UTC" for second in ("09", "10", "11")
    ]
    assert [at for _, at in given] == [int(NOW), int(NOW) + 1, int(NOW) + 2]
    again = await reopened(store, tmp_path)
    assert (await again.requests.claim_tag("c", "adhoc", int(NOW)))[1] == int(NOW) + 3
    assert (await again.requests.claim_tag("other", "adhoc", int(NOW)))[0] == TAG
    await again.close()


def test_a_tag_tells_its_time() -> None:
    """The time of OpsCenter's own example, both ways, and tags that tell none."""
    assert tag_of("adhoc", 1_334_857_272) == "opscenter_adhoc_2012-04-19-17-41-12-UTC"
    for odd in ("", ".hidden", "-option", "a/b", "a\0", "a" * 201, "ä"):
        assert not is_tag(odd)


async def test_a_step_can_be_replaced(store: SqliteStore) -> None:
    """A phase reads back what it has done last, of its own request."""
    await store.requests.record_step("r1", "first", {"n": 1})
    await store.requests.record_step("r1", "second", {})
    await store.requests.record_step("r1", "first", {"n": 2})
    assert await store.requests.step("r1", "first") == {"n": 2}
    assert await store.requests.step("r1", "second") == {}
    assert await store.requests.step("r2", "first") is None


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


async def test_an_older_revision_of_a_destination_changes_nothing(store: SqliteStore) -> None:
    """Two updates that cross end with the newer settings."""
    newer = Destination("d1", "c", LocalSettings("/b"), 2, "repo", "cluster")
    await store.destinations.put(newer)
    await store.destinations.put(msgspec.structs.replace(newer, revision=1, settings=LocalSettings("/a")))
    assert await store.destinations.all("c") == [newer]
    assert await store.destinations.get("other", "d1") is None
    assert await store.destinations.remove("c", "d1")
    assert not await store.destinations.remove("c", "d1")


async def test_a_deleted_backup_is_marked_in_the_activity(store: SqliteStore) -> None:
    """Only the event of that place is marked, once, and the request's end doesn't clear it."""
    place = Destination("d1", "Test_Cluster", LocalSettings("/b"), 1, "repo", "cluster")
    await store.requests.create(request(), [event(), event(destination=place)])
    await store.requests.mark_deleted("Test_Cluster", TAG, "d1", 5)
    await store.requests.mark_deleted("Test_Cluster", TAG, "d1", 9)
    await store.requests.finish(request(state=RequestState.SUCCESS), [], [event(destination=place, status="success")])
    told = {one.destination["id"]: one.deleted_at for one in await store.requests.events("Test_Cluster")}
    assert told == {"OPSC_ON_SERVER": None, "d1": 5}


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


async def test_details_of_old_requests_are_dropped_and_the_request_stays(store: SqliteStore, tmp_path: Path) -> None:
    """The state doesn't grow for ever with what nobody reads any more."""
    await store.requests.create(request(), [event()])
    await store.requests.record_step("r1", "first", {})
    await store.requests.finish(
        request(state=RequestState.SUCCESS, finished=NOW), [NodePart("a", "h", "c", RequestState.SUCCESS)]
    )
    again = await reopened(store, tmp_path, NOW + KEEP_DETAILS_SECONDS + 1)
    assert await again.requests.parts("r1") == []
    assert await again.requests.step("r1", "first") is None
    assert await again.requests.get("r1") is not None
    assert len(await again.requests.events("Test_Cluster")) == 1
    await again.close()


async def test_destinations_go_with_the_end_of_a_request_and_only_once(store: SqliteStore) -> None:
    """In the transaction that ends it: a request that runs finds its destination, whatever dies in between."""
    place = Destination("d1", "Test_Cluster", LocalSettings("/b"), 1, "repo", "cluster")
    await store.requests.create(request())
    for each in (place, msgspec.structs.replace(place, id="d2"), msgspec.structs.replace(place, cluster="other")):
        await store.destinations.put(each)
    ended = request(state=RequestState.SUCCESS, finished=NOW)
    await store.requests.finish(ended, forget=["d1"])
    await store.requests.finish(ended, forget=["d2"])
    assert [each.id for each in await store.destinations.all("Test_Cluster")] == ["d2"]
    assert await store.destinations.get("other", "d1") is not None


@pytest.mark.parametrize("name", ["job", "resumable_job"])
async def test_steps_of_a_job_stay_as_long_as_a_later_request_uses_them(
    store: SqliteStore, tmp_path: Path, name: str
) -> None:
    """The steps of a restore stand under its first request, however long ago that one ended."""
    restore = request(kind=RequestKind.RESTORE, spec={"tag": TAG})
    await store.requests.create(restore)
    await store.requests.record_step("r1", "truncated", {})
    await store.requests.finish(msgspec.structs.replace(restore, state=RequestState.ERROR, finished=NOW))
    later = msgspec.structs.replace(restore, id="r2", result={name: "r1"})
    await store.requests.create(later)
    again = await reopened(store, tmp_path, NOW + KEEP_DETAILS_SECONDS + 1)
    assert await again.requests.step("r1", "truncated") == {}
    await again.requests.finish(msgspec.structs.replace(later, state=RequestState.ERROR, finished=NOW + 100))
    again = await reopened(again, tmp_path, NOW + KEEP_DETAILS_SECONDS + 50)
    assert await again.requests.step("r1", "truncated") == {}
    again = await reopened(again, tmp_path, NOW + KEEP_DETAILS_SECONDS + 101)
    assert await again.requests.step("r1", "truncated") is None
    await again.close()


async def test_steps_of_a_point_that_stopped_stay_as_long_as_it_can_be_gone_on_with(
    store: SqliteStore, tmp_path: Path
) -> None:
    """Promise: nodes may be stopped by it: sent again after months, it still knows which, and its fence is higher."""
    point = request(kind=RequestKind.POINT_IN_TIME, spec={"pit_micros": 5})
    await store.requests.create(point)
    await store.requests.record_step("r1", "stopping", {})
    await store.commands.next_fence("r1")
    await store.requests.finish(
        msgspec.structs.replace(point, state=RequestState.ERROR, finished=NOW, result={"resumable_job": "r1"})
    )
    again = await reopened(store, tmp_path, NOW + KEEP_ACTIVITY_SECONDS - 1)
    assert await again.requests.step("r1", "stopping") == {}
    assert await again.commands.next_fence("r1") == 2
    await again.prune(NOW + KEEP_ACTIVITY_SECONDS + 1)
    assert await again.requests.get("r1") is None
    assert await again.requests.step("r1", "stopping") is None
    await again.close()


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


async def test_a_cancelled_caller_leaves_a_whole_transaction(store: SqliteStore) -> None:
    """A task that dies while it writes harms neither its own record nor the next writer."""
    writing = asyncio.create_task(store.requests.create(request(), [event()]))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await store.requests.create(request("r2"))
    assert [one.id for one in await store.requests.find(cluster="Test_Cluster", tag=TAG)] == ["r1", "r2"]
