"""From when on a place is said to have every write: never earlier than it has."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from agent.cassandra.commit_log.archive_command import forget_failure
from agent.jobs.archiving.seeing import END_UNKNOWN, NOT_ARCHIVED
from agent.jobs.archiving.standing import view_of
from agent.plan.log_windows import SnapshotPoint, gaps, windows
from agent.plan.segment_names import parse_segment
from agent.wire.archiving import LogGap, LogPlace, LogTarget
from agent.wire.commands import Target
from agent.wire.destinations import ON_SERVER
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY
from tests.fast.jobs.archiving_site import ArchivingSite
from tests.fast.storage.memory import MemoryStorage


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[ArchivingSite]:
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage()})
    yield site
    await site.stop()


async def ordered(site: ArchivingSite, **changes: object) -> None:
    """Archiving is on for the next life: the one that runs archives nothing, and its first segment is discarded."""
    site.log.start()
    site.run()
    site.log.now += 10
    await site.order(**changes)
    site.segment(b"of a life that archives nothing", archives=False)


async def started(site: ArchivingSite) -> float:
    """Cassandra is started ten seconds later and archives; when."""
    site.log.now += 10
    site.log.start()
    await site.until(lambda: site.archiver.ledger.known.in_force)
    return site.log.now


async def told(site: ArchivingSite, place: str = "d1") -> LogPlace:
    return (await view_of(site.archiver)).places[place]


async def reached(site: ArchivingSite, taken: float, floor: int) -> list[list[float]]:
    """Points to which the place brings a snapshot of that time, by the rules of a check. `floor`: the newest segment
    that was closed then."""
    point = SnapshotPoint(taken, taken, site.log.path(floor).name)
    return windows([point], await site.records("d1"), await site.logs("d1").losses())


async def test_what_was_written_before_it_archived_is_not_said_to_be_there(site: ArchivingSite) -> None:
    """Promise: Cassandra drains for the restart with which archiving begins, and leaves one empty segment, whose time
    is from before the last writes that went to the one in front of it: the log is there from the next start on."""
    await ordered(site)
    site.segment(b"of the same life", archives=False)
    site.log.path(site.log.active + 1).unlink()  # only what would be written to next is left
    begun = await started(site)
    await site.shipped(site.segment())
    assert (await told(site)).safe_since == begun


async def test_what_a_killed_life_discarded_before_it_archived_is_not_said_to_be_there(site: ArchivingSite) -> None:
    """Promise: Cassandra is killed before the start with which archiving begins; of its life only the segments are
    there that it had not discarded: the log is there from the moment at which the first of them was taken into use. A
    snapshot of then is brought to any later point."""
    await ordered(site)
    begun, first = site.log.now, site.log.active
    site.log.write(b"in what is left")
    site.log.now += 10
    await started(site)
    await site.shipped(site.segment())
    place = await told(site)
    assert place.safe_since == begun > first / 1000
    assert gaps(await site.records("d1"), await site.logs("d1").losses()) == []
    assert await reached(site, begun, first - 1) == [[begun, place.safe_until]]
    assert await reached(site, begun - 1, first - 2) == []


async def test_a_hole_in_what_a_killed_life_left_parts_it(site: ArchivingSite) -> None:
    """Promise: Cassandra discards its segments in any order: what is before one that it discarded doesn't count."""
    await ordered(site)
    site.segment(b"held by a table that was not flushed", archives=False, delete=False)
    hole = site.segment(b"all of it flushed", archives=False)
    begun = site.log.now
    site.log.write(b"the newest")
    site.log.now += 5
    await started(site)
    await site.shipped(site.segment())
    place = await told(site)
    assert place.safe_since == begun
    (gap,) = gaps(await site.records("d1"), await site.logs("d1").losses())
    named = parse_segment(hole)
    assert named is not None
    assert (gap.after, gap.before) == (named.neighbour(-1).file_name, named.neighbour(1).file_name)


async def test_logs_on_the_server_begin_as_late(site: ArchivingSite) -> None:
    """Promise: what is kept on the node is not said to reach further back than what is in a destination."""
    await ordered(site, keep=True)
    begun = site.log.now
    site.log.write(b"in what is left")
    await started(site)
    name = site.segment()
    await site.until(lambda: site.has(name, "d1"))
    assert (await told(site, ON_SERVER)).safe_since == begun == (await told(site)).safe_since


async def test_after_a_loss_it_begins_behind_what_is_lost(site: ArchivingSite) -> None:
    """Promise: a segment that is lost in the midst of a life: the log is there from the one behind it on, not from that
    life's beginning."""
    await site.begin()
    await site.shipped(site.segment())
    site.archive.rename(site.directory / "away")
    lost = site.segment()
    await site.until(lambda: lost in site.archiver.seen.failed)
    begun = site.log.now
    (site.log.directory / lost).unlink()
    forget_failure(site.program, lost)
    (site.directory / "away").rename(site.archive)
    await site.until(lambda: bool(site.archiver.ledger.known.losses))
    await site.shipped(site.segment())
    assert (await told(site)).safe_since == begun


@pytest.mark.parametrize(("killed", "reason"), [(False, NOT_ARCHIVED), (True, END_UNKNOWN)])
async def test_a_life_in_which_it_was_off_is_missing_to_its_end(
    site: ArchivingSite, *, killed: bool, reason: str
) -> None:
    """Promise: switched off and on again: the gap goes on to the end of the life that did not archive, or, where that
    was killed, to the first of its segments that it had not discarded; not to that life's beginning."""
    await site.begin()
    last = site.segment()
    await site.shipped(last)
    site.log.now += 10
    await site.order(enabled=False, targets=[])
    await site.until(lambda: not site.archiver.ledger.known.in_force)
    if killed:
        site.log.write(b"the last before it was off")
        site.log.path(site.log.active + 1).unlink()
    site.log.now += 10
    site.log.start()
    site.segment(b"of a life that archives nothing", archives=False)
    await site.order()
    begun = site.log.now
    if killed:
        site.log.write(b"in what is left")
    else:
        site.log.path(site.log.active + 1).unlink()
    started_at = await started(site)
    await site.shipped(site.segment())
    place = await told(site)
    assert place.safe_since == (begun if killed else started_at)
    (gap,) = gaps(await site.records("d1"), await site.logs("d1").losses())
    assert (gap.until, gap.reason) == (place.safe_since, reason)
    (known,) = site.archiver.ledger.known.losses
    assert msgspec.convert(msgspec.to_builtins(known), LogGap) == gap


async def test_a_destination_that_is_added_begins_with_what_was_being_written(tmp_path: Path) -> None:
    """Promise: a destination that is added in the midst of a segment has all from the moment on at which that one was
    taken into use, however late it is closed."""
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage(), "d2": MemoryStorage()})
    try:
        await site.begin(targets=[LogTarget(Target("d1", REPOSITORY, CLUSTER))])
        early = site.segment()
        await site.until(lambda: not (site.archive / early).exists())
        taken = site.log.now
        await site.until(lambda: site.log.path(site.log.active + 1).name in site.archiver.ledger.known.segments)
        site.log.now += 10
        await site.order()
        async with site.archiver._turn:
            late = site.segment()
            site.log.now += 10
            site.log.write(b"before anybody looks")
        await site.shipped(late)
        assert (await told(site, "d2")).safe_since == taken
    finally:
        await site.stop()


async def test_a_life_that_archives_counts_from_its_start_though_nobody_looked(site: ArchivingSite) -> None:
    """Promise: behind an end that is not known the log is there from the next start on, also when the agent comes back
    much later."""
    await site.begin()
    await site.shipped(site.segment())
    await site.stop()
    site.log.write(b"the last that is known of it")
    site.log.path(site.log.active + 1).unlink()
    begun = await started(site)
    first = site.segment()
    site.log.now += 10
    site.log.write(b"before anybody looks")
    await site.restart()
    await site.shipped(first)
    place = await told(site)
    assert place.safe_since == begun
    (gap,) = gaps(await site.records("d1"), await site.logs("d1").losses())
    assert (gap.until, gap.reason) == (begun, END_UNKNOWN)
