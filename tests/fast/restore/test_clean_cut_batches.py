"""CLEAN of a restore whose batches nobody saw the end of: Cassandra may still be moving their files."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.cassandra.errors import CassandraUnavailable
from agent.cassandra.node_view import NodeView
from agent.jobs.restore_errors import StagingLeft
from agent.wire.node import KeyspaceView
from tests.fast.restore.latest_first import until
from tests.fast.restore.test_other_imports import Crowded


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
