"""Leftovers when Cassandra is killed and started: nothing goes that is still to be replayed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.cassandra.commit_log.archive_command import forget_failure
from agent.cassandra.errors import CassandraUnavailable
from agent.jobs.archiving.looking import Look
from agent.jobs.archiving.seeing import NOT_ARCHIVED
from agent.jobs.archiving.standing import view_of
from agent.plan.log_windows import gaps
from tests.fast.jobs.archiving_site import ArchivingSite
from tests.fast.storage.memory import MemoryStorage


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[ArchivingSite]:
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage()})
    yield site
    await site.stop()


async def with_leftovers(site: ArchivingSite) -> list[str]:
    """Two segments whose archiving failed, and that are in the archive now: the agent is stopped."""
    await site.begin(keep=True)
    site.archive.rename(site.directory / "away")
    names = [site.segment(), site.segment()]
    await site.until(lambda: set(names) <= set(site.archiver.seen.failed))
    await site.stop()
    (site.directory / "away").rename(site.archive)
    for name in names:
        assert await site.archiver.leftovers.archive_one(site.log.directory / name, str(site.archive)) == ""
    return names


def begin_life(site: ArchivingSite) -> None:
    """Cassandra was killed, and is started: it has read nothing of the log that it finds."""
    site.log.now += 60
    site.log.lives += 1
    site.log.active = int(site.log.now * 1000)
    for number in (site.log.active, site.log.active + 1):
        site.log._make(number)


@pytest.mark.parametrize("answers", [False, True])
async def test_a_flush_of_a_later_life_frees_nothing_of_the_one_before(site: ArchivingSite, *, answers: bool) -> None:
    """Promise: what was seen closed before Cassandra was killed stays for its replay, though it is archived and the new
    process has flushed: that has not read it yet. In the new life it goes after a look and a flush of its own."""
    names = await with_leftovers(site)
    leftovers, life = site.archiver.leftovers, (await site.archiver.node.life()).generation
    seen = site.archiver.looked()
    assert set(names) <= set(seen.closed)
    begin_life(site)
    site.up = answers
    if answers:
        assert await leftovers.tidy(seen, life) == []
    else:
        with pytest.raises(CassandraUnavailable):
            await leftovers.tidy(seen, life)
    assert site.flushes == 1
    assert all((site.log.directory / name).exists() for name in names)
    site.up = True
    await leftovers.tidy(site.archiver.looked(), (await site.archiver.node.life()).generation)
    assert site.flushes == 2
    assert not any((site.log.directory / name).exists() for name in names)


async def test_nothing_is_given_up_in_the_midst_of_a_replay(site: ArchivingSite) -> None:
    """Promise: what was flushed and waits for its half minute is not given up, nor told as lost, once Cassandra has
    another life: it may be reading it. Then it waits for a flush and half a minute of that life."""
    names = await with_leftovers(site)
    leftovers, life = site.archiver.leftovers, (await site.archiver.node.life()).generation
    for name in names:
        (site.archive / name).unlink()
    leftovers._bound = 0
    leftovers._flushed = dict.fromkeys(site.archiver.looked().closed, site.log.now)
    seen = site.archiver.looked()
    begin_life(site)
    assert await leftovers.tidy(seen, life) == []
    assert (site.flushes, site.archiver.ledger.known.losses) == (0, ())
    for name in names:  # where the command could note nothing
        forget_failure(site.program, name)
    assert await leftovers.tidy(site.archiver.looked(), site.log.lives) == []
    assert (site.flushes, site.archiver.ledger.known.losses) == (1, ())
    assert all((site.log.directory / name).exists() for name in names)


async def test_few_leftovers_wait_until_a_flush_is_due(site: ArchivingSite) -> None:
    """Promise: all tables are flushed every five minutes at most for what takes little room."""
    await with_leftovers(site)
    leftovers, life = site.archiver.leftovers, site.log.lives
    await leftovers.tidy(site.archiver.looked(), life)
    assert site.flushes == 1
    site.archive.rename(site.directory / "away")
    late = site.log.directory / site.segment()
    (site.directory / "away").rename(site.archive)
    assert await leftovers.archive_one(late, str(site.archive)) == ""
    for seconds, flushes in ((0, 1), (300, 2)):
        site.log.now += seconds
        await leftovers.tidy(site.archiver.looked(), life)
        assert (site.flushes, late.exists()) == (flushes, flushes == 1)


async def test_the_life_is_asked_for_before_the_look(site: ArchivingSite) -> None:
    """Promise: a Cassandra that is killed and started while the agent archives what waits keeps all of its log."""
    names = await with_leftovers(site)
    (site.archive / names[1]).unlink()
    archive_one = site.archiver.leftovers.archive_one

    async def slow(segment: Path, directory: str) -> str:
        begin_life(site)
        return await archive_one(segment, directory)

    site.archiver.leftovers.archive_one = slow  # type: ignore[method-assign]
    site.archiver._next.clear()
    await site.archiver.turn()
    assert all((site.log.directory / name).exists() for name in names)


async def test_what_cassandra_leaves_is_known_after_a_restart_of_the_agent(site: ArchivingSite) -> None:
    """Promise: what the command was never called for and the agent archived goes from Cassandra's directory, too, when
    the agent is killed in between, as soon as it was archived; no note of the command tells of it."""
    await site.begin()
    site.log.program = site.directory / "noexec" / "archive-commitlog"
    names = [site.segment(), site.segment()]
    await site.stop()
    leftovers = site.archiver.leftovers
    seen = site.archiver.looked()
    leftovers._closed_at = dict.fromkeys(seen.closed, site.log.now - 31)
    archive = leftovers.archive

    async def cut(look: Look, directory: str) -> int:
        await archive(look, directory)
        raise asyncio.CancelledError

    leftovers.archive = cut  # type: ignore[method-assign]
    site.archiver._next.clear()
    with pytest.raises(asyncio.CancelledError):
        await site.archiver.turn()
    await site.restart()
    await site.shipped(*names)
    assert all((site.log.directory / name).exists() for name in names)
    site.archiver._next.clear()
    await site.until(lambda: bool(site.flushes))
    site.log.now += 31
    site.archiver._next.clear()
    await site.until(lambda: not any((site.log.directory / name).exists() for name in names))
    assert site.archiver.ledger.known.losses == ()


async def test_what_cassandra_leaves_is_archived_before_a_stop_just_after_the_agents_start(site: ArchivingSite) -> None:
    """Promise: Cassandra deletes it at its next start; what an earlier process of the agent knew as left is not looked
    at for half a minute first."""
    await site.begin(keep=True)
    site.log.program = site.directory / "noexec" / "archive-commitlog"
    names = [site.segment(), site.segment()]
    for name in names:
        (site.archive / name).mkdir()  # in the agent's way, too
    await site.stop()
    seen = site.archiver.looked()
    site.archiver.leftovers._closed_at = dict.fromkeys(seen.closed, site.log.now - 31)
    site.archiver._next.clear()
    await site.archiver.turn()
    for name in names:
        (site.archive / name).rmdir()
        forget_failure(site.program, name)
    await site.restart()
    await site.archiver.before_stop()
    assert all((site.archive / name).is_file() for name in names)


async def test_what_waits_only_since_it_was_looked_at_is_archived_at_the_next_look(site: ArchivingSite) -> None:
    """Promise: a segment that becomes due between the look and the archiving is not called the command for before it is
    known as left: it would pass for one that Cassandra is archiving, and wait for ten minutes."""
    await site.begin(keep=True)
    site.log.program = site.directory / "noexec" / "archive-commitlog"
    names = [site.segment(), site.segment()]
    await site.until(lambda: set(names) <= site.archiver.ledger.known.segments.keys())
    await site.stop()
    leftovers, seen = site.archiver.leftovers, site.archiver.looked()
    leftovers._closed_at = dict.fromkeys(seen.closed, site.log.now - 29)
    leftovers.watch(seen)
    site.log.now += 2
    assert await leftovers.archive(seen, str(site.archive)) == 0
    assert not {*names} & site.archiver.looked().offered
    leftovers.watch(site.archiver.looked())
    assert await leftovers.archive(seen, str(site.archive)) == len(names)


async def next_life(site: ArchivingSite) -> str:
    """Cassandra is started again, and its first segment was seen while it archives; its name."""
    site.log.now += 10
    site.log.start()
    name = site.log.path(site.log.active).name
    await site.until(lambda: name in site.archiver.ledger._saved.segments)
    return name


async def switched_off(site: ArchivingSite) -> None:
    site.log.now += 10
    await site.order(enabled=False, targets=[])
    await site.until(lambda: not site.archiver.ledger._saved.in_force)


@pytest.mark.parametrize("killed", [False, True])
async def test_switched_off_a_life_that_archives_still_follows(site: ArchivingSite, *, killed: bool) -> None:
    """Promise: what Cassandra archived from its start on follows the life before, though its first segment is closed
    only after archiving was switched off: no gap, neither in the destination nor by what is on the node, also for an
    agent that is killed in between."""
    await site.begin()
    await site.shipped(site.segment())
    first = await next_life(site)
    await switched_off(site)
    if killed:
        await site.restart()
        await site.until(lambda: first in site.archiver.seen.live)

    async def is_down() -> bool:
        return True

    (own,) = [one for one in await site.archiver.own_log(is_down).records() if one.name == first]
    assert own.follows
    assert site.segment() == first
    await site.shipped(first)
    assert site.archiver.ledger.known.losses == ()
    assert gaps(await site.records("d1"), await site.logs("d1").losses()) == []


async def test_a_life_without_archiving_is_a_gap_though_the_one_before_is_closed_late(site: ArchivingSite) -> None:
    """Promise: between what was seen before archiving was switched off and what comes once it is on again segments may
    be missing; node and destination tell one gap with one end: the start of the life that archives again."""
    await site.begin()
    await site.shipped(site.segment())
    last = await next_life(site)
    await switched_off(site)
    assert site.segment() == last
    await site.until(lambda: site.has(last, "d1"))
    ahead = site.log.path(site.log.active)
    await site.until(lambda: ahead.name in site.archiver.seen.live)
    assert site.log.offer(ahead)  # Cassandra ends, and what it had is archived
    await site.until(lambda: site.has(ahead.name, "d1"))
    for path in site.log.directory.iterdir():
        path.unlink()
    site.log.now += 10
    site.log.start()
    site.segment(b"of a life that archives nothing", archives=False)
    site.log.now += 10
    await site.order()
    site.log.now += 10
    for path in site.log.directory.iterdir():
        path.unlink()
    first = await next_life(site)
    begun = site.log.now
    assert site.segment() == first
    await site.shipped(first)
    await site.until(lambda: not site.shipper("d1").has_work())
    (gap,) = gaps(await site.records("d1"), await site.logs("d1").losses())
    assert (gap.after, gap.before, gap.until, gap.reason) == (ahead.name, first, begun, NOT_ARCHIVED)
    (told,) = (await view_of(site.archiver)).gaps
    assert told == gap
