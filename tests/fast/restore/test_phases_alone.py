"""Phases of one restore never overlap, whatever lanes they come from; those of different restores do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.cassandra.node import CassandraNode
from agent.cassandra.settings import CassandraSettings
from agent.jobs.restore.notes import RestoreNotes
from agent.jobs.restore.phases import restore_jobs
from agent.jobs.restore.tools import RestoreTools
from agent.model.job import Job
from agent.wire.commands import Kind, RestoreArguments
from tests.fast.restore.backup_in_memory import HOST, BackupInMemory
from tests.fast.restore.context import Context


class SlowBackup(BackupInMemory):
    """A backup whose destination answers when it is let."""

    def __init__(self) -> None:
        super().__init__(["nb-1-big"])
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()

    @asynccontextmanager
    async def opened(
        self, arguments: Any, waiting: Any = None, *, indexes: bool = False
    ) -> AsyncIterator[BackupInMemory]:
        self.asked.set()
        await self.answer.wait()
        yield self


@pytest.fixture
async def backup() -> SlowBackup:
    return SlowBackup()


@pytest.fixture
async def phases(tmp_path: Path, backup: SlowBackup) -> AsyncIterator[dict[Kind, Job]]:
    (tmp_path / "data" / "system").mkdir(parents=True)
    node = CassandraNode(CassandraSettings(data_directories=(str(tmp_path / "data"),)), tmp_path / "state")
    yield restore_jobs(RestoreTools(node, backup, tmp_path / "state"))
    await node.close()


def _context(job: str) -> Context:
    return Context(RestoreArguments("tag", HOST, {"ks": ["t"]}), job)


async def test_a_clean_waits_for_the_fetch_of_its_restore_and_for_no_other(
    phases: dict[Kind, Job], backup: SlowBackup, tmp_path: Path
) -> None:
    """What it removed while the fetch went on would be brought anew, and stay."""
    fetch = asyncio.ensure_future(phases[Kind.FETCH](_context("one")))
    await asyncio.wait_for(backup.asked.wait(), 10)
    clean = asyncio.ensure_future(phases[Kind.CLEAN](_context("one")))
    await asyncio.wait_for(phases[Kind.CLEAN](_context("two")), 10)
    assert not clean.done()
    backup.answer.set()
    await asyncio.wait_for(asyncio.gather(fetch, clean), 10)
    assert [path.name for path in tmp_path.rglob("*-Data.db")] == []
    assert await RestoreNotes(tmp_path / "state", "one").fetched() is None
