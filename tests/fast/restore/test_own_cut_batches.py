"""IMPORT and CLEAN of a restore some of whose batches nobody saw the end of: Cassandra may still be at them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.cassandra.errors import CassandraUnavailable
from agent.cassandra.node_view import NodeView
from agent.jobs.restore.errors import ImportStopped, StagingLeft
from agent.jobs.restore.import_held import ImportJob
from agent.model.job import Outcome
from agent.wire.node import KeyspaceView
from tests.fast.restore.context import Context
from tests.fast.restore.latest_first import until
from tests.fast.restore.test_other_imports import ARGUMENTS, Crowded
from tests.fast.restore.test_replaced_jobs import SSTABLES


class Away(NodeView):
    """A Cassandra that doesn't answer."""

    async def keyspaces(self) -> dict[str, KeyspaceView]:
        raise CassandraUnavailable("Cassandra is away")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Crowded]:
    site = Crowded(tmp_path)
    yield site
    await site.node.close()


async def test_a_clean_removes_nothing_before_cassandra_is_through_with_every_batch(site: Crowded) -> None:
    """Promise: it takes no files away from under a batch, which would leave some in the table's directory that
    Cassandra loads when it starts again."""
    cassandra = site.cassandra
    await site.killed_with_two_batches()
    cleaning = asyncio.create_task(site.clean("old"))
    await until(lambda: cleaning.done() or cassandra.waiting == 2)
    assert len(site.links("old")) == 2
    cassandra.go.release()
    await until(lambda: (len(cassandra.begun), cassandra.waiting) == (2, 1))
    assert not cleaning.done()
    cassandra.go.release()
    await asyncio.wait_for(cleaning, 10)
    assert cassandra.cut == []
    assert [bool(files) for files in cassandra.ended] == [True, False, True, False, False, False]
    assert await site.open_batches("old") == []
    assert list(site.data[0].parent.rglob("old")) == []


async def test_a_clean_leaves_all_of_it_where_cassandra_can_not_be_asked(site: Crowded) -> None:
    """Promise: it names what is left and why, and the restore is not used up: sent again, CLEAN removes it."""
    await site.killed_with_two_batches()
    answers, site.node.view = site.node.view, Away(site.node.cql)
    with pytest.raises(StagingLeft, match="Cassandra is away") as caught:
        await site.clean("old")
    staged = [str(root.path) for root in await site.notes("old").staging()]
    assert list(caught.value.fields["left"]) == staged  # type: ignore[call-overload]
    assert len(site.links("old")) == 2
    await site.notes("old").refuse_when_finished()
    site.node.view = answers
    site.cassandra.slow = False
    site.cassandra.go.release()
    assert (await asyncio.wait_for(site.clean("old"), 10)).done == staged
    assert site.cassandra.cut == []


async def all_in_but_the_last_cut(site: Crowded) -> tuple["asyncio.Task[Outcome]", Context]:
    """An import that was sent again and waits for what was cut before."""
    await site.killed_with_two_batches()
    context = Context(ARGUMENTS, "old")
    importing = asyncio.create_task(ImportJob(site.tools).run(context))
    await site.all_in_but_the_last_cut()
    return importing, context


async def test_an_import_says_that_it_waits_for_batches_that_were_cut(site: Crowded) -> None:
    """Promise: who looks at the command for hours sees what it does, not a batch that has long been in."""
    importing, context = await all_in_but_the_last_cut(site)
    assert context.stages.current == "waiting for batches that were cut"
    site.cassandra.go.release()
    await asyncio.wait_for(importing, 10)
    fresh = Context(ARGUMENTS, "old")
    await ImportJob(site.tools).run(fresh)
    assert "waiting for batches that were cut" not in fresh.stages.entered


async def test_a_forced_stop_ends_the_wait_for_batches_that_were_cut(site: Crowded) -> None:
    """Promise: it ends after the running one, says what is in, and what was not waited for to the end stays unknown,
    so that the next import waits for it."""
    importing, context = await all_in_but_the_last_cut(site)
    context.stop_requested = True
    site.cassandra.go.release()
    with pytest.raises(ImportStopped) as caught:
        await asyncio.wait_for(importing, 10)
    assert caught.value.fields["imported"] == {"ks": {"t": len(SSTABLES)}}
    assert await site.open_batches("old") == [1, 2]
    assert [bool(files) for files in site.cassandra.ended][-2:] == [True, False]
    await ImportJob(site.tools).run(Context(ARGUMENTS, "old"))
    assert await site.open_batches("old") == []
