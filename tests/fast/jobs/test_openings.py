"""Destinations are opened while Cassandra takes the snapshot, and closed whatever becomes of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.cassandra.errors import CassandraUnavailable
from agent.jobs.copying.openings import openings
from agent.model.snapshot import SnapshotInfo
from agent.repository.errors import UnknownDestination
from agent.repository.opened import OpenedRepository, Waiting, silent
from agent.wire.commands import BackupArguments, SnapshotArguments, State, Target
from tests.fast.jobs.agent_in_memory import Agent, Command, Repositories, target
from tests.fast.jobs.node import Node
from tests.fast.storage.memory import MemoryStorage

DEADLINE = 10.0


class Watched(Repositories):
    """Counts what is open; `slow` ones are never open in time."""

    def __init__(self, store: MemoryStorage, slow: str = "") -> None:
        super().__init__({"d1": store, "d2": store})
        self.open: list[str] = []
        self.begun = asyncio.Event()
        self._slow = slow

    @asynccontextmanager
    async def opened(self, target: Target, waiting: Waiting = silent) -> AsyncIterator[OpenedRepository]:
        self.open.append(target.destination)
        self.begun.set()
        try:
            if target.destination == self._slow:
                await asyncio.Event().wait()
            async with super().opened(target, waiting) as repository:
                yield repository
        finally:
            self.open.remove(target.destination)


class Slow(Node):
    """Takes its snapshot only once a destination is being opened."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.begun = asyncio.Event()

    async def take(self, *arguments: Any, **options: Any) -> SnapshotInfo:
        async with asyncio.timeout(DEADLINE):
            await self.begun.wait()
        return await super().take(*arguments, **options)


def command(*destinations: str) -> Command:
    return Command("c1", BackupArguments(SnapshotArguments("t1"), [target(name) for name in destinations]))


async def test_a_destination_is_opened_while_the_snapshot_is_taken(store: MemoryStorage, tmp_path: Path) -> None:
    """Promise: a backup needn't wait for a connection after it waited for Cassandra."""
    node = Slow(tmp_path / "node")
    node.sstable("shop", "orders", 1, 3_000)
    repositories = Watched(store)
    node.begun = repositories.begun
    agent = Agent(node, {}, tmp_path / "state", repositories=repositories)
    outcome = await agent.backup.run(command("d1"))
    agent.close()
    assert outcome.state is State.SUCCESS
    assert repositories.open == []


@pytest.mark.parametrize("slow", ["", "d2"])
async def test_a_snapshot_that_fails_leaves_nothing_open(
    slow: str, node: Node, store: MemoryStorage, tmp_path: Path
) -> None:
    """Promise: no destination stays in use by a backup that has ended, not even one that was never open."""
    repositories = Watched(store, slow)
    node.fail_half_way = CassandraUnavailable("gone")
    agent = Agent(node, {}, tmp_path / "state", repositories=repositories)
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(CassandraUnavailable):
            await agent.backup.run(command("d1", "d2"))
    agent.close()
    assert repositories.open == []


async def test_a_destination_that_cannot_be_opened_is_told_of_when_asked(store: MemoryStorage) -> None:
    """Promise: one that is broken does not end the others' copies, and its own reason comes where it is asked for."""
    repositories = Watched(store)
    async with asyncio.timeout(DEADLINE), openings(repositories, [target("d1"), target("d9")], silent) as under_way:
        assert (await under_way.of(target("d1"))).destination_id == "d1"
        with pytest.raises(UnknownDestination, match="d9"):
            await under_way.of(target("d9"))
        assert repositories.open == ["d1"]
    assert repositories.open == []
