"""Archiving that was ordered by an agent of before there were marks, and goes on under one that wants them; marks of
other nodes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from agent.cassandra.commit_log.archive_command import MARK, is_installed
from agent.cassandra.commit_log.archive_directory import owner_of
from agent.jobs.archiving.errors import ArchiveUnread
from agent.jobs.archiving.standing import view_of
from tests.fast.jobs.archiving_site import ArchivingSite
from tests.fast.jobs.test_archiving_given_back import looked_again
from tests.fast.storage.memory import MemoryStorage


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[ArchivingSite]:
    """Ordered, and archiving, without a mark: the agent is stopped."""
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage()})
    await site.begin()
    await site.stop()
    (site.archive / MARK).unlink()
    assert site.archiver.order is not None
    await site.archiver.orders.put(msgspec.structs.replace(site.archiver.order, mark=""))
    yield site
    await site.stop()


def without_mark(site: ArchivingSite) -> None:
    """The command as it was then: it wants no mark."""
    text = site.program.read_text()
    site.program.write_text(text.replace('[ "$purpose" = archived ] && [ ! -e', '[ "$purpose" = never ] && [ ! -e'))
    assert not is_installed(site.program)


async def test_the_directory_has_its_mark_before_the_command_wants_it(site: ArchivingSite) -> None:
    """Promise: the first start of an agent that puts the newer command marks the directory too: archiving goes on."""
    without_mark(site)
    await site.restart()
    await site.until(lambda: is_installed(site.program))
    assert owner_of(site.archive) == "h1"
    await site.shipped(site.segment())
    assert site.archiver.trouble is None
    assert site.archiver.seen.failed == frozenset()


async def test_the_command_stays_as_it_is_until_the_node_is_known(site: ArchivingSite) -> None:
    """Promise: with the ledger lost and Cassandra silent nobody can say whose the directory is: the command of before,
    which archives without a mark, is not replaced."""
    without_mark(site)
    (site.state / "archiving" / "ledger.json").unlink()
    site.up = False
    await site.restart()
    before = site.program.read_text()
    site.archiver.ledger.change(in_force=True)
    for _ in range(3):
        site.archiver._next.clear()
        await site.archiver.turn()
    assert (site.program.read_text(), owner_of(site.archive)) == (before, "")
    site.up = True
    site.archiver._next.clear()
    await site.until(lambda: is_installed(site.program))
    assert owner_of(site.archive) == "h1"


async def test_a_mark_that_never_was_is_missed(site: ArchivingSite) -> None:
    """Promise: where the command wants a mark and none is there, that is told, and refuses a stop of Cassandra; the
    order given once more makes it."""
    await site.restart()
    await site.until(lambda: site.archiver.trouble is not None)
    assert site.archiver.trouble is not None
    assert site.archiver.trouble.code == "archive_unread"
    with pytest.raises(ArchiveUnread):
        await site.archiver.before_stop()
    await site.order()
    await site.until(lambda: site.archiver.trouble is None)
    assert await asyncio.to_thread(owner_of, site.archive) == "h1"


async def test_a_former_directory_that_is_another_nodes_by_now_is_empty(site: ArchivingSite) -> None:
    """Promise: what lies there is neither shipped as this node's log nor removed, and refuses no restore; with the mark
    of a host id that this node had, or without one, it is still its own."""
    (site.archive / MARK).write_text("h1")
    (former := site.directory / "former").mkdir()
    (former / MARK).write_text("h2")
    assert site.archiver.order is not None
    await site.archiver.orders.put(msgspec.structs.replace(site.archiver.order, former=(str(former),)))
    theirs = former / f"CommitLog-7-{site.log.active - 5_000_000}.log"
    theirs.write_bytes(site.log.path(site.log.active).read_bytes())
    await site.restart()
    await site.shipped(site.segment())
    await site.archiver.refuse_unarchived()
    assert theirs.name not in site.archiver.seen.there
    assert theirs.name not in {one.name for one in await site.records("d1")}
    assert theirs.exists()
    one = next(iter(site.archiver.ledger.known.segments.values()))
    site.archiver.ledger.put(msgspec.structs.replace(one, host_id="h2"))
    assert theirs.name in site.archiver.looked().there
    site.archiver.ledger.put(one)
    (former / MARK).unlink()
    assert theirs.name in site.archiver.looked().there


async def test_once_archiving_is_off_its_directory_may_go(site: ArchivingSite) -> None:
    """Promise: what is left there is still shipped; then nobody misses it, or its mark, and what another node has there
    by now is none of this node's."""
    await site.restart()
    await site.order()
    await site.until(lambda: site.archiver.ledger.known.in_force)
    await site.order(enabled=False)
    await site.shipped(site.segment())
    (site.archive / MARK).unlink()
    site.archive.rmdir()
    await looked_again(site)
    assert (site.archiver.trouble, (await view_of(site.archiver)).trouble) == (None, None)
    site.archive.mkdir()
    (site.archive / MARK).write_text("h2")
    theirs = site.archive / f"CommitLog-7-{site.log.active - 5_000_000}.log"
    theirs.write_bytes(site.log.path(site.log.active).read_bytes())
    await looked_again(site)
    assert site.archiver.trouble is None
    assert theirs.name not in site.archiver.seen.there
