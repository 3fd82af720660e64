"""The schema's history as an agent watches and keeps it: on a disk, with stores in memory."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from agent.cassandra.errors import CassandraUnavailable
from agent.jobs.archiving.order import ArchivingOrder, place_of
from agent.jobs.schema_history.kept import KeptHistory
from agent.jobs.schema_history.watcher import SchemaWatcher
from agent.model.own_state import StateFailed
from agent.model.snapshot import KeyspaceSchema
from agent.plan.schema_history import doubt, in_force
from agent.repository.commit_logs.index import CommitLogs
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, Transient
from agent.wire.archiving import ArchiveArguments, LogTarget
from agent.wire.commands import Target
from agent.wire.node import KeyspaceView, NodeIdentity, RingMember
from tests.fast.storage.memory import MemoryStorage

HOST = "11111111-2222-3333-4444-555555555555"
TARGETS = [LogTarget(Target(name, f"repository-{name}", "cluster-1")) for name in ("near", "far")]


class Node:
    """A node whose schema and ring are what a test says."""

    def __init__(self) -> None:
        self.version = "v1"
        self.tokens = ["1"]
        self.tables = ["t"]
        self.down = False
        self.captured = 0
        self.after_capture: str | None = None

    async def identity(self) -> NodeIdentity:
        if self.down:
            raise CassandraUnavailable("down")
        return NodeIdentity(HOST, "127.0.0.1", "c", "dc1", "r1", self.tokens, "5.0.9", "p", self.version)

    async def ring(self) -> list[RingMember]:
        return [RingMember(HOST, "127.0.0.1", "dc1", "r1", "NORMAL", True, self.tokens, "5.0.9", self.version)]

    async def keyspaces(self) -> dict[str, KeyspaceView]:
        view = KeyspaceView({}, True, {}, {})
        return {"ks": view, "system": view, "system_auth": view}

    async def capture(self, names: Sequence[str]) -> tuple[KeyspaceSchema, ...]:
        assert list(names) == ["ks"]
        self.captured += 1
        schema = KeyspaceSchema("ks", {}, True, (), dict.fromkeys(self.tables, ()), {})
        if self.after_capture is not None:
            self.version, self.after_capture = self.after_capture, None
        return (msgspec.structs.replace(schema, table_ids={table: f"id-{table}" for table in self.tables}),)


class Stores:
    """Two destinations in memory, one of which may be away."""

    def __init__(self) -> None:
        self.stores = {name: MemoryStorage() for name in ("near", "far")}
        self.away: set[str] = set()

    @asynccontextmanager
    async def opened(self, target: Target, waiting: Any = None) -> AsyncIterator[OpenedRepository]:
        if target.destination in self.away:
            raise Transient("away")
        yield OpenedRepository(
            target.destination, self.stores[target.destination], target.repository_id, target.cluster_id, OPEN, 4
        )

    async def has(self, name: str) -> list[str]:
        """The versions that a destination knows, oldest first."""
        opened = OpenedRepository(name, self.stores[name], f"repository-{name}", "cluster-1", OPEN, 4)
        return [record.version for record in await CommitLogs(opened, HOST).schemas()]


class Watched:
    """A node, its stores, and an agent that may be started anew."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.node = Node()
        self.stores = Stores()
        self.now = 1000.0
        self.enabled = True
        self.begin()

    def begin(self) -> None:
        """A process begins."""
        self.kept = KeptHistory(self.state)
        self.kept.load()
        order = ArchivingOrder(ArchiveArguments(True, "/archive", TARGETS), 0.0)

        def ordered() -> ArchivingOrder | None:
            return order if self.enabled else None

        self.watcher = SchemaWatcher(
            self.kept, self.node, self.node.capture, ordered, cast(Any, self.stores), lambda: self.now
        )

    async def looks(self, seconds: float, times: int = 1) -> None:
        """So many looks, `seconds` apart."""
        for _ in range(times):
            self.now += seconds
            await self.watcher.look()


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


async def test_only_what_is_new_is_read_and_kept(watched: Watched) -> None:
    """Promise: a schema is captured once, however often it is looked at, and each change becomes one record."""
    await watched.looks(10.0, 5)
    watched.node.version, watched.node.tables = "v2", ["t", "u"]
    await watched.looks(10.0, 5)
    records = await watched.kept.records()
    assert [(one.version, one.unseen_since, one.first_seen) for one in records] == [
        ("v1", None, 1010.0),
        ("v2", 1050.0, 1060.0),
    ]
    assert watched.node.captured == 2
    assert watched.watcher.seen == ("v2", 1100.0)


async def test_a_ring_that_changed_is_a_record_too(watched: Watched) -> None:
    """Promise: tokens that moved are known even though the schema's version is the same."""
    await watched.looks(10.0)
    watched.node.tokens = ["2"]
    await watched.looks(10.0)
    assert [one.ring[HOST] for one in await watched.kept.records()] == [("1",), ("2",)]


async def test_a_schema_that_changes_while_it_is_read_is_taken_at_the_next_look(watched: Watched) -> None:
    """Promise: no record holds a mixture of two schemas."""
    watched.node.after_capture = "v2"
    await watched.looks(10.0)
    assert await watched.kept.records() == []
    await watched.looks(10.0)
    assert [one.version for one in await watched.kept.records()] == ["v2"]


async def test_an_agent_that_was_away_says_how_long_it_did_not_look(watched: Watched) -> None:
    """Promise: after a crash the time in doubt begins at a look that is on the disk, never later than the last one."""
    await watched.looks(10.0, 10)
    watched.begin()
    watched.now += 3600.0
    watched.node.version, watched.node.tables = "v2", []
    await watched.looks(10.0)
    first, second = await watched.kept.records()
    assert second.unseen_since is not None
    assert first.first_seen <= second.unseen_since <= 1100.0
    assert [change.what for change in doubt([first, second], 3000.0)] == ["dropped"]


async def test_each_destination_gets_everything_also_one_that_was_away(watched: Watched) -> None:
    """Promise: a destination that is away keeps nothing from the other, and has the whole history once it is back, also
    when the agent was started anew meanwhile."""
    watched.stores.away = {"far"}
    await watched.looks(10.0)
    await watched.watcher.tell(TARGETS[0])
    with pytest.raises(Transient):
        await watched.watcher.tell(TARGETS[1])
    watched.node.version = "v2"
    await watched.looks(10.0)
    assert await watched.stores.has("near") == ["v1"]
    watched.begin()
    watched.stores.away = set()
    await watched.looks(10.0)
    for target in TARGETS:
        await watched.watcher.tell(target)
    assert await watched.stores.has("near") == ["v1", "v2"]
    assert await watched.stores.has("far") == ["v1", "v2"]
    assert watched.kept.untold(place_of(TARGETS[0])) == []


async def test_nothing_is_watched_while_nothing_is_archived(watched: Watched) -> None:
    """Promise: without an order the node isn't asked."""
    watched.enabled = False
    watched.node.down = True
    await watched.looks(10.0, 3)
    assert await watched.kept.records() == []


async def test_a_node_that_is_down_is_no_change(watched: Watched) -> None:
    """Promise: while Cassandra is down nothing is recorded, and the time in doubt reaches over it."""
    await watched.looks(10.0)
    watched.node.down = True
    with pytest.raises(CassandraUnavailable):
        await watched.looks(10.0)
    watched.node.down, watched.node.version = False, "v2"
    await watched.looks(10.0)
    assert [one.unseen_since for one in await watched.kept.records()] == [None, 1010.0]


async def test_a_record_that_can_not_be_read_is_an_error(watched: Watched, tmp_path: Path) -> None:
    """Promise: a history with a hole in it is never taken for the whole one."""
    await watched.looks(10.0)
    (path,) = (tmp_path / "archiving" / "schemas").glob("*-v1.json")
    path.write_bytes(b"{")
    with pytest.raises(StateFailed):
        watched.begin()


async def test_what_was_in_force_before_a_time_only_can_be_let_go(watched: Watched) -> None:
    """Promise: trimming keeps what was in force at the time, and forgets what was replaced before it."""
    for version in ("v1", "v2", "v3"):
        watched.node.version = version
        await watched.looks(10.0)
    assert await watched.kept.trim(1019.0) == 0, "v1 may have been in force until v2 was seen"
    assert await watched.kept.trim(1020.0) == 1
    watched.begin()
    assert [one.version for one in await watched.kept.records()] == ["v2", "v3"]


async def test_a_history_that_is_asked_for_reaches_to_now(watched: Watched) -> None:
    """Promise: a change since the last look is known to whoever asks, also when archiving was switched off meanwhile; a
    node that is down is no reason not to answer; where nothing was ever watched nothing begins."""
    watched.enabled = False
    await watched.watcher.look_now()
    assert await watched.kept.records() == []
    watched.enabled = True
    await watched.looks(10.0)
    watched.enabled = False
    watched.now += 5.0
    watched.node.version, watched.node.tables = "v2", []
    await asyncio.gather(watched.watcher.look_now(), watched.watcher.look_now())
    records = await watched.kept.records()
    assert [(one.version, one.unseen_since, one.first_seen) for one in records] == [
        ("v1", None, 1010.0),
        ("v2", 1010.0, 1015.0),
    ]
    assert [change.what for change in doubt(records, 1012.0)] == ["dropped"]
    watched.node.down = True
    await watched.watcher.look_now()
    assert await watched.kept.records() == records


async def test_a_change_while_the_node_is_asked_is_not_dated_before_it(watched: Watched) -> None:
    """Promise: a node that answers slowly tells of a schema that came while it was asked: a point of before the change
    is in doubt, and never taken for one behind it."""
    await watched.looks(10)
    asked_at, identity = watched.now, watched.node.identity

    async def slow() -> NodeIdentity:
        watched.now = max(watched.now, asked_at + 4)
        watched.node.version, watched.node.tables = "v2", ["t", "new"]
        return await identity()

    watched.node.identity = slow  # type: ignore[method-assign]
    await watched.watcher.look()
    records = await watched.kept.records()
    found = in_force(records, asked_at + 2)
    assert found is not None
    assert found.version == "v1"
    assert [change.table for change in doubt(records, asked_at + 2)] == ["new"]
