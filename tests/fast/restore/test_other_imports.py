"""A batch of another restore that its agent did not see the end of has ended before a FETCH succeeds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.cassandra.errors import ImportFailed
from agent.cassandra.staging import make_directory
from agent.jobs.restore.errors import ImportRunning
from agent.jobs.restore.fetch import FetchJob
from agent.jobs.restore.import_held import ImportJob
from agent.jobs.restore.notes import BatchLine
from agent.jobs.restore.phases import restore_jobs
from agent.jobs.restore.unended_batches import unended
from agent.wire.commands import Kind, RestoreArguments
from tests.fast.restore.backup_in_memory import HOST
from tests.fast.restore.context import Context
from tests.fast.restore.latest_first import LatestFirst, OneTable, until
from tests.fast.restore.test_replaced_jobs import SSTABLES, Site

ARGUMENTS = RestoreArguments("tag", HOST, {"ks": ["t"]}, batch_sstables=1)


class Crowded(Site):
    """A node whose Cassandra lets the latest import in first."""

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(tmp_path)
        self.cassandra = LatestFirst(self.data[0])
        self.node.control = self.control = self.cassandra
        self.node.view = OneTable(self.node.cql)

    def begin_import(self, job: str) -> asyncio.Task[object]:
        return asyncio.create_task(ImportJob(self.tools).run(Context(ARGUMENTS, job)))

    async def killed_with_two_batches(self) -> None:
        """The agent is gone while Cassandra imports a batch of the older restore, and another one waits there."""
        cassandra = self.cassandra
        await self.fetch("old")
        cassandra.slow = True
        importing = self.begin_import("old")
        await until(lambda: (len(cassandra.begun), cassandra.waiting) == (1, 1))
        await killed(importing)

    async def all_in_but_the_last_cut(self) -> None:
        """After `killed_with_two_batches` an import was sent again: it has all in, and Cassandra, which let its batches
        in first, is at the second of the cut ones."""
        cassandra = self.cassandra
        await until(lambda: cassandra.waiting == 3)
        for begun, waiting in ((2, 2), (3, 2), (4, 1), (5, 1)):
            cassandra.go.release()
            await until(lambda reached=(begun, waiting): (len(cassandra.begun), cassandra.waiting) == reached)  # type: ignore[misc]

    def links(self, job: str) -> list[Path]:
        """The Data files that stand in batches."""
        return sorted(path for path in self.data[0].parent.rglob(f"{job}/import/*/*/*/*-Data.db"))

    async def open_batches(self, job: str) -> list[int]:
        return sorted(line.number for line in unended(await self.notes(job).batches()))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Crowded]:
    site = Crowded(tmp_path)
    yield site
    await site.node.close()


async def killed(task: asyncio.Task[object]) -> None:
    """The agent is gone in the midst of it."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("held", [False, True], ids=["fetched now", "fetched before"])
async def test_a_fetch_ends_after_every_batch_that_another_restore_left(site: Crowded, held: bool) -> None:
    """Promise: rows of the older restore never land after the newer one's truncate, and no batch is cut in its midst:
    no node's fetch succeeds while Cassandra imports a batch of it, or has yet to, however it orders those that wait."""
    cassandra = site.cassandra
    if held:
        await site.fetch("new")
    await site.killed_with_two_batches()
    noted = await site.notes("old").last_noted()
    fetching = asyncio.create_task(site.fetch("new"))
    await until(lambda: cassandra.waiting == 2)
    cassandra.go.release()
    await until(lambda: (len(cassandra.begun), cassandra.waiting) == (2, 1))
    assert not fetching.done()
    cassandra.go.release()
    await asyncio.wait_for(fetching, 10)
    assert cassandra.cut == []
    assert [bool(files) for files in cassandra.ended] == [True, False, True, False, False, False]
    assert site.links("old") == []
    assert await site.open_batches("old") == []
    assert site.notes("old").import_begun()
    assert await site.notes("old").last_noted() == noted
    calls = len(cassandra.ended)
    await site.fetch("new")
    assert len(cassandra.ended) == calls


async def test_a_batch_that_reaches_cassandra_later_finds_no_files(site: Crowded) -> None:
    """Promise: what hung in a socket or a stopped nodetool brings nothing in after the newer restore's fetch."""
    await site.fetch("old")
    site.cassandra.deaf = True
    importing = site.begin_import("old")
    await until(lambda: len(site.links("old")) == 2)
    await killed(importing)
    site.cassandra.deaf = False
    late = [path.parent for path in site.links("old")]
    await site.fetch("new")
    for directory in late:
        with pytest.raises(ImportFailed):
            await site.cassandra.import_sstables("ks", "t", [directory])
    assert site.cassandra.data_files("ks", "t") == []


async def test_a_fetch_waits_for_nobody_when_every_batch_ended(site: Crowded) -> None:
    """Promise: it costs no import."""
    await site.fetch("old")
    await site.bring_in("old")
    before = len(site.control.calls)
    await site.fetch("new")
    assert len(site.control.calls) == before


async def test_batches_of_tables_that_are_not_restored_are_left_alone(site: Crowded) -> None:
    """Promise: the links of a batch go only when its own table was waited for; of the others Cassandra may be at
    them, and how they ended stays unknown."""
    await site.fetch("old")
    [root, _] = await site.notes("old").staging()
    for number, table in enumerate(("t", "u"), 7):
        await site.notes("old").put_batch(BatchLine(number, "ks", table, [(0, "nb-1-big")], done=False))
        (make_directory(root, ("import", str(number), "ks", table)) / "nb-1-big-Data.db").write_bytes(b"data")
    await site.fetch("new")
    assert [path.parent.name for path in site.links("old")] == ["u"]
    assert await site.open_batches("old") == [8]


async def test_a_fetch_that_only_merges_does_not_wait_for_a_restore_that_goes_on(site: Crowded) -> None:
    """Promise: an import of hours that goes on, cancelled or not, holds up no other restore that empties nothing; it
    sees the end of its batches itself."""
    await site.killed_with_two_batches()
    site.unfinished["old"] = ["import-1"]
    async with site.tools.in_use.alone("old"):
        await asyncio.wait_for(site.fetch("new"), 10)
    assert len(site.links("old")) == 2
    assert await site.open_batches("old") == [1, 2]


@pytest.mark.parametrize("emptied", [None, ["ks"], ["other"]])
async def test_a_fetch_that_empties_is_refused_while_that_restore_goes_on(
    site: Crowded, emptied: list[str] | None
) -> None:
    """Promise: it neither waits for hours nor lets the tables be emptied under an import; merged keyspaces are not
    counted."""
    await site.killed_with_two_batches()
    site.unfinished["old"] = ["import-1"]
    arguments = msgspec.structs.replace(ARGUMENTS, truncate=True, truncate_keyspaces=emptied)
    async with site.tools.in_use.alone("old"):
        fetching = asyncio.wait_for(FetchJob(site.tools).run(Context(arguments, "new")), 10)
        if emptied == ["other"]:
            await fetching
        else:
            with pytest.raises(ImportRunning) as caught:
                await fetching
            assert (caught.value.retry, caught.value.fields["job"]) == ("later", "old")
    assert await site.open_batches("old") == [1, 2]


@pytest.mark.parametrize("held", ["to be imported", "between two batches", "not all yet", "of other tables"])
async def test_a_fetch_that_empties_is_refused_while_another_restore_may_import(site: Crowded, held: str) -> None:
    """Promise: no batch that the other one begins later brings rows into an emptied table, though none is open just
    now. A restore that can't import yet, or only into other tables, is in nobody's way."""
    await site.fetch("old")
    notes = site.notes("old")
    match held:
        case "between two batches":
            await notes.put_batch(BatchLine(1, "ks", "t", [(0, "nb-1-big")], done=False))
            await notes.put_batch(BatchLine(1, "ks", "t", [(0, "nb-1-big")], done=True))
            await notes.forget_fetched()
        case "not all yet":
            await notes.forget_fetched()
        case "of other tables":
            asked = await notes.asked()
            assert asked is not None
            await notes.put_asked(msgspec.structs.replace(asked, tables={"ks": ["u"]}))
    site.unfinished["old"] = ["command-1"]
    fetching = FetchJob(site.tools).run(Context(msgspec.structs.replace(ARGUMENTS, truncate=True), "new"))
    if held in ("not all yet", "of other tables"):
        await fetching
    else:
        with pytest.raises(ImportRunning) as caught:
            await fetching
        assert caught.value.fields == {"job": "old", "tables": ["ks.t"]}


@pytest.mark.parametrize("truncate", [False, True])
async def test_a_fetch_waits_for_no_import_that_comes_at_the_last_moment(site: Crowded, truncate: bool) -> None:
    """Promise: an import that is accepted while the fetch notes that it waits for earlier batches goes on by itself: it
    is not waited for, and nothing is emptied under it."""
    await site.killed_with_two_batches()
    context = Context(msgspec.structs.replace(ARGUMENTS, truncate=truncate), "new")
    really = context.stages.enter
    async with AsyncExitStack() as importing:

        async def enter(stage: str, data: Any = None) -> None:
            await really(stage, data)
            if stage == "waiting for the import of old":
                site.unfinished["old"] = ["import-1"]
                await importing.enter_async_context(site.tools.in_use.alone("old"))

        context.stages.enter = enter  # type: ignore[method-assign]
        fetching = asyncio.wait_for(FetchJob(site.tools).run(context), 10)
        if truncate:
            with pytest.raises(ImportRunning):
                await fetching
        else:
            await fetching
    assert site.unfinished["old"] == ["import-1"]
    assert await site.open_batches("old") == [1, 2]


async def test_a_restore_that_is_taken_up_again_begins_no_batch_meanwhile(site: Crowded) -> None:
    """Promise: none is forgotten that was not waited for."""
    cassandra = site.cassandra
    await site.killed_with_two_batches()
    fetching = asyncio.create_task(site.fetch("new"))
    await until(lambda: cassandra.waiting == 2)
    taken_up = asyncio.ensure_future(restore_jobs(site.tools)[Kind.IMPORT](Context(ARGUMENTS, "old")))
    await asyncio.wait({taken_up}, timeout=0.2)
    cassandra.slow = False
    cassandra.go.release()
    await asyncio.wait_for(asyncio.gather(fetching, taken_up), 10)
    assert [bool(files) for files in cassandra.ended[:6]] == [True, False, True, False, False, False]
    assert len(cassandra.ended) == 6 + len(SSTABLES)
    assert await site.open_batches("old") == []


@pytest.mark.parametrize("goes_on", ["import", "fetch"])
async def test_a_batch_that_later_ones_overtook_is_waited_for(site: Crowded, goes_on: str) -> None:
    """Promise: sent again, an import removes the links of earlier batches when Cassandra is through with them, though
    it let the later ones in first; killed just before that, it leaves them to be waited for: by its next command, or by
    the restore that comes instead."""
    cassandra = site.cassandra
    await site.killed_with_two_batches()
    first = site.begin_import("old")
    await site.all_in_but_the_last_cut()
    assert not first.done()
    await killed(first)
    following = site.begin_import("old") if goes_on == "import" else asyncio.create_task(site.fetch("new"))
    await until(lambda: cassandra.waiting == 2)
    cassandra.go.release()
    await asyncio.wait_for(following, 10)
    assert cassandra.cut == []
    assert len(cassandra.begun) == 2 + len(SSTABLES)
    assert await site.open_batches("old") == []
    assert site.links("old") == []
