"""The activity log: OpsCenter's parameters, pages read from the state and no more than that, and what goes by age."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordinator.model.activity import ActivityEvent, ActivityQuery
from coordinator.model.destinations import description
from coordinator.model.orders import BackupOrder
from coordinator.model.requests import Request, RequestKind, RequestState, spec_of
from coordinator.opscenter import activity
from coordinator.serving.acting import keep_pruned
from coordinator.store.keeping import KEEP_ACTIVITY_SECONDS
from coordinator.store.migrations import MIGRATIONS
from coordinator.store.sqlite import FILE, SqliteStore
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory
from tests.fast.coordinator.conftest import NOW, Client

C = "/Test_Cluster"
TAG = "opscenter_adhoc_2017-03-17-15-06-09-UTC"


def request(name: str, at: int, **changes: Any) -> Request:
    order = BackupOrder(tag=TAG, time=at)
    made = Request(name, RequestKind.BACKUP, "Test_Cluster", RequestState.RUNNING, at, spec_of(order), tag=TAG)
    return msgspec.structs.replace(made, **changes)


def event(request_id: str, at: int, status: str = "running", tag: str = TAG) -> ActivityEvent:
    return ActivityEvent("Test_Cluster", request_id, "backup", tag, description(None), at, status)


async def ended(store: SqliteStore, name: str, at: int) -> None:
    await store.requests.create(request(name, at), [event(name, at)])
    done = request(name, at, state=RequestState.SUCCESS, finished=float(at + 5))
    await store.requests.finish(done, [], [event(name, at, "success")])


def damage(tmp_path: Path, request_id: str) -> None:
    """Whoever decodes this request's event from now on fails."""
    with sqlite3.connect(tmp_path / "state" / FILE) as connection:
        connection.execute("UPDATE events SET data = 'damaged' WHERE request = ?", (request_id,))
    connection.close()


async def test_a_page_and_a_request_read_their_own_events_only(
    client: Client, cluster: ClusterInMemory, store: SqliteStore, tmp_path: Path
) -> None:
    """Ten thousand older events cost a page, or a request's begin and end, nothing: they are not even decoded."""
    await ended(store, "old", NOW - 100)
    damage(tmp_path, "old")
    begun = await client.post(f"{C}/backups/run", {"keyspaces": ["shop"]})
    await cluster.end(begun)
    for query in ("count=1", f"timestamp={NOW}&reverse=1", "filter_type=backup&count=1&filter_success=1&filter_live=1"):
        told = await client.get(f"{C}/backup-activity?{query}")
        assert [one["request_id"] for one in told] == [begun]
    assert [one.request for one in await store.requests.events_of(begun)] == [begun]


async def test_without_a_count_an_answer_has_its_end(
    client: Client, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest come first, a count that is asked for is kept to."""
    monkeypatch.setattr(activity, "MOST_UNASKED", 2)
    for second in range(4):
        await ended(store, f"r{second}", NOW + second)
    assert [one["request_id"] for one in await client.get(f"{C}/backup-activity")] == ["r3", "r2"]
    assert len(await client.get(f"{C}/backup-activity?count=3")) == 3
    assert await client.get(f"{C}/backup-activity?count=0") == []


async def test_a_state_of_the_first_version_is_read_in_pages_too(tmp_path: Path) -> None:
    """Its events have neither time nor status beside their data; the step to the second version fills them in."""
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    with sqlite3.connect(directory / FILE) as connection:
        for statement in MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute("PRAGMA user_version = 1")
        for number, status in enumerate(("success", "error", "running")):
            kept = event(f"r{number}", NOW + number, status, tag=f"tag{number}")
            connection.execute(
                "INSERT INTO events (request, destination, cluster, type, tag, deleted_at, data)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    kept.request,
                    kept.destination["id"],
                    kept.cluster,
                    kept.type,
                    kept.tag,
                    NOW + 9 if number == 0 else None,
                    msgspec.json.encode(kept),
                ),
            )
    connection.close()
    store = await SqliteStore.open(directory, now=NOW)

    async def page(**query: Any) -> list[str]:
        return [one.tag for one in await store.requests.events("Test_Cluster", ActivityQuery(**query))]

    assert await page(newest_first=True) == ["tag2", "tag1", "tag0"]
    assert await page(newest_first=True, timestamp=NOW + 1) == ["tag1", "tag0"]
    assert await page(successful=True) == ["tag0"]
    assert await page(live=True) == ["tag2"]
    await store.close()


async def test_a_coordinator_that_is_never_stopped_drops_by_age_too(store: SqliteStore) -> None:
    """Not only the next start does."""
    await ended(store, "old", NOW - KEEP_ACTIVITY_SECONDS)
    pruning = asyncio.create_task(keep_pruned(store, 0.001))
    async with asyncio.timeout(20):
        while await store.requests.get("old") is not None:
            continue
    pruning.cancel()
    await asyncio.gather(pruning, return_exceptions=True)


async def test_activity_takes_all_its_parameters(client: Client, cluster: ClusterInMemory) -> None:
    """Newest first; reverse turns the order and timestamp's direction; filters by type, life and success."""
    first = await client.post(f"{C}/backups/run", {"keyspaces": ["shop"]})
    await cluster.end(first)
    cluster.clock = NOW + 10
    second = await client.post(f"{C}/backups/run", {"keyspaces": ["Mixed"]})
    await cluster.end(second, RequestState.ERROR)
    assert [one["event_time"] for one in await client.get(f"{C}/backup-activity?filter_live=1")] == [NOW]
    cluster.clock = NOW + 20
    restored = await client.post(f"{C}/backups/restore/{TAG}")
    await cluster.end(restored)
    cluster.clock = NOW + 30
    _, deleted = await client.ask("DELETE", f"{C}/backups?tag={TAG}")
    await cluster.end(deleted, result={"bytes_freed": 2000})

    async def told(query: str) -> list[tuple[str, int]]:
        return [(one["type"], one["event_time"] - NOW) for one in await client.get(f"{C}/backup-activity{query}")]

    everything = [("delete", 30), ("restore", 20), ("backup", 10), ("backup", 0)]
    assert await told("") == everything
    assert await told("?reverse=1") == everything[::-1]
    assert await told("?count=2") == everything[:2]
    assert await told(f"?timestamp={NOW + 10}") == everything[2:]
    assert await told(f"?timestamp={NOW + 10}&reverse=1") == everything[2::-1]
    assert await told("?filter_type=restore") == [("restore", 20)]
    assert await told("?filter_live=1") == []
    assert await told("?filter_success=1") == [("delete", 30), ("restore", 20), ("backup", 0)]
    second_tag = "opscenter_adhoc_2017-03-17-15-06-10-UTC"
    assert await told(f"?first_backup_id={second_tag}") == everything[2:]
    events = await client.get(f"{C}/backup-activity?filter_type=backup")
    assert [event["deleted_at"] for event in events] == [None, NOW + 35]
