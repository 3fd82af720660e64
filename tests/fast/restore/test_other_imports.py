"""A batch of another restore that its agent did not see the end of has ended before a FETCH succeeds."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from agent.cassandra.node_view import NodeView
from agent.jobs.import_held import ImportJob
from agent.jobs.replaced_jobs import undecided
from agent.wire.commands import RestoreArguments
from agent.wire.node import KeyspaceView
from tests.fast.cassandra.directory_control import DirectoryControl
from tests.fast.restore.backup_in_memory import HOST
from tests.fast.restore.context import Context
from tests.fast.restore.test_replaced_jobs import SSTABLES, Killed, Site


class OneAtATime(DirectoryControl):
    """As Cassandra: one import of a table after the other, and none from a directory that isn't there. `slow`: what the
    next import that finds files waits for in its midst; `ended`: imports in the order in which they ended."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self.slow: asyncio.Event | None = None
        self.begun = asyncio.Event()
        self.ended: list[tuple[str, ...]] = []
        self._importer = asyncio.Lock()

    async def import_sstables(self, keyspace: str, table: str, directories: Sequence[Path]) -> str:
        async with self._importer:
            found = sorted(path.name for directory in directories for path in directory.iterdir())
            if found and self.slow is not None:
                self.begun.set()
                await self.slow.wait()
            said = await super().import_sstables(keyspace, table, directories)
            self.ended.append(tuple(found))
            return said


class Tables(NodeView):
    """One table."""

    async def keyspaces(self) -> dict[str, KeyspaceView]:
        return {"ks": KeyspaceView({}, True, {"t": "1"}, {})}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    site.node.control = site.control = OneAtATime(site.data[0])
    site.node.view = Tables(site.node.cql)
    yield site
    await site.node.close()


async def left_in_mid_batch(site: Site) -> None:
    """The agent was killed while a batch of the older restore was being imported."""

    def killed(name: str) -> None:
        raise Killed

    await site.fetch("old")
    site.control.before_data = killed
    with pytest.raises(BaseExceptionGroup):
        await ImportJob(site.tools).run(Context(RestoreArguments("tag", HOST, {"ks": ["t"]}), "old"))
    site.control.before_data = lambda name: None


@pytest.mark.parametrize("held", [False, True], ids=["fetched now", "fetched before"])
async def test_a_fetch_ends_after_the_batch_that_another_restore_left(site: Site, held: bool) -> None:
    """Promise: rows of the older restore never land after the newer one's truncate, for no node's fetch succeeds while
    Cassandra is still importing a batch of it; a batch that Cassandra had not begun by then finds no files."""
    control = site.control
    assert isinstance(control, OneAtATime)
    if held:
        await site.fetch("new")
    await left_in_mid_batch(site)
    noted = await site.notes("old").last_noted()
    [batch] = {path.parent for path in site.data[0].parent.rglob("import/*/ks/t/*-Data.db")}
    control.slow = asyncio.Event()
    in_cassandra = asyncio.create_task(control.import_sstables("ks", "t", [batch]))
    await asyncio.wait_for(control.begun.wait(), 10)
    fetching = asyncio.create_task(site.fetch("new"))
    done, _ = await asyncio.wait({fetching}, timeout=0.3)
    assert not done
    control.slow.set()
    await asyncio.wait_for(asyncio.gather(in_cassandra, fetching), 10)
    assert [bool(files) for files in control.ended] == [True, False, False]
    assert not batch.exists()
    assert undecided(await site.notes("old").batches()) == []
    assert site.notes("old").import_begun()
    assert await site.notes("old").last_noted() == noted
    calls = len(control.calls)
    await site.fetch("new")
    assert len(control.calls) == calls
    assert len(control.data_files("ks", "t")) <= len(SSTABLES)


async def test_a_fetch_waits_for_nobody_when_every_batch_ended(site: Site) -> None:
    """Promise: it costs no import."""
    await site.fetch("old")
    await site.bring_in("old")
    before = len(site.control.calls)
    await site.fetch("new")
    assert len(site.control.calls) == before
