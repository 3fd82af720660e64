"""Archiving beside files that are none of this log: what a restore to a point gave back to Cassandra, and false copies
whose segments Cassandra has deleted."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from agent.cassandra.commit_log.errors import ArchivingRefused
from agent.jobs.archiving.errors import ArchiveCopyDiffers
from tests.fast.jobs.archiving_site import ArchivingSite
from tests.fast.jobs.toy_log import SIZE, header, section
from tests.fast.storage.memory import MemoryStorage

MINUTE = 60.0


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[ArchivingSite]:
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage()})
    yield site
    await site.stop()


async def looked_again(site: ArchivingSite) -> None:
    """The agent has gone through all that it does in turn."""
    before = site.archiver.seen
    site.archiver._next.clear()
    await site.until(lambda: site.archiver.seen is not before)
    before = site.archiver.seen
    await site.until(lambda: site.archiver.seen is not before)


async def test_segments_that_were_given_back_are_not_archived_again(site: ArchivingSite) -> None:
    """Promise: old segments that lie closed in Cassandra's directory for minutes, as in a long replay, are neither
    archived nor told as waiting: they would stand in the archive twice, in the wrong place of the log."""
    await site.begin()
    await site.shipped(site.segment())
    site.log.now += 10
    site.log.start()
    site.up = False  # no client is let in, nor the agent
    base = int((site.log.now - 10 * 3600) * 1000)
    given_back = []
    for number in range(base, base + 5):
        path = site.log.directory / f"CommitLog-7-{number}.log"
        path.write_bytes((header(number) + section(number, len(header(number)), [b"x"])).ljust(SIZE, b"\0"))
        os.utime(path, (number / 1000, number / 1000))
        given_back.append(path.name)
    await looked_again(site)
    assert set(given_back) <= set(site.archiver.seen.closed)
    site.log.now += 5 * MINUTE
    await looked_again(site)
    assert site.archiver.leftovers.waiting(site.archiver.seen) == []
    assert not any((site.archive / name).exists() or site.has(name, "d1") for name in given_back)
    assert all((site.log.directory / name).exists() for name in given_back)


async def test_a_false_copy_stays_one_when_cassandra_deletes_the_segment(site: ArchivingSite) -> None:
    """Promise: after Cassandra's next start, which deletes what could not be archived, other bytes of its name are
    still told and not shipped; the segment is a loss."""
    await site.begin(keep=True)
    await site.until(lambda: site.log.path(site.log.active).name in site.archiver.seen.live)
    active = site.log.path(site.log.active)
    (site.archive / active.name).write_bytes(b"other".ljust(active.stat().st_size, b"\0"))
    name = site.segment(delete=False)
    assert name == active.name
    site.archiver._next.clear()
    await site.until(lambda: name in site.archiver.seen.false)
    site.log.now += MINUTE
    site.log.start()
    active.unlink(missing_ok=True)
    await site.until(lambda: any(one.after < name < one.before for one in site.archiver.ledger.known.losses))
    for _ in range(3):
        await looked_again(site)
    assert site.archiver.trouble is not None
    assert site.archiver.trouble.code == "archive_copy_differs"
    assert not site.has(name, "d1")
    assert name not in {one.name for one in await site.records("d1")}


async def test_a_false_copy_is_known_though_no_agent_was_there(site: ArchivingSite) -> None:
    """Promise: what the archive command noted counts after Cassandra deleted its own, for as long as the other bytes
    are there; the segment is told as lost, once."""
    await site.begin()
    first = site.segment()
    await site.shipped(first)
    await site.stop()
    active = site.log.path(site.log.active)
    other = site.archive / active.name
    other.write_bytes(b"other".ljust(active.stat().st_size, b"\0"))
    assert site.segment() == active.name
    site.log.now += MINUTE
    site.log.start()
    assert not active.exists()
    await site.restart()
    await site.until(lambda: bool(site.archiver.ledger.known.losses))
    for _ in range(3):
        await looked_again(site)
    assert [loss.after for loss in site.archiver.ledger.known.losses] == [first]
    assert set(site.archiver.seen.false) == {active.name}
    assert not site.has(active.name, "d1") if site.archiver.ledger.get(active.name) else True
    assert active.name not in {one.name for one in await site.records("d1")}
    other.unlink()
    await looked_again(site)
    assert (site.archiver.trouble, site.archiver.node.differing()) == (None, [])


async def test_a_false_copy_keeps_out_its_own_segment_alone(site: ArchivingSite) -> None:
    """Promise: younger segments that could not be archived are archived by the agent; the check of a restore to a
    point says what stops it before it has dropped a table, and a stop of Cassandra is refused with the segment and in
    the archive command's own words."""
    await site.begin(keep=True)
    await site.stop()
    taken = site.archive / site.log.path(site.log.active).name
    taken.write_bytes(b"other".ljust(SIZE, b"\0"))
    false = site.segment()
    site.archive.rename(site.directory / "away")
    younger = [site.segment() for _ in range(3)]
    (site.directory / "away").rename(site.archive)
    await site.restart()
    await site.until(lambda: false in site.archiver.seen.false and site.archiver.ledger.known.in_force)
    for _ in range(2):
        await looked_again(site)
    assert set(younger) <= set(site.archiver.seen.archived)
    with pytest.raises(ArchiveCopyDiffers) as checked:
        await site.archiver.refuse_unarchived()
    assert checked.value.fields["segments"] == [false]
    with pytest.raises(ArchivingRefused, match=f"{false} can't be put .* other content"):
        await site.archiver.before_stop()
    assert str(taken) in str(checked.value)
    (site.log.directory / false).unlink()  # Cassandra's next start: nothing waits any more, and no stop is refused
    await site.archiver.refuse_unarchived()
    await site.archiver.before_stop()


async def test_a_false_copy_in_a_former_directory_keeps_no_segment_out_of_the_present_one(site: ArchivingSite) -> None:
    """Promise: the segment is archived as soon as the present directory takes it, and no restore is refused for the
    other file, which is told by its path meanwhile, and is not shipped."""
    await site.begin(keep=True)
    order = site.archiver.order
    assert order is not None
    (former := site.directory / "former").mkdir()
    false = former / site.log.path(site.log.active).name
    false.write_bytes(b"other".ljust(SIZE, b"\0"))
    await site.archiver.orders.put(msgspec.structs.replace(order, former=(str(former),)))
    (in_its_way := site.archive / false.name).mkdir()
    assert site.segment() == false.name
    await site.until(lambda: false.name in site.archiver.seen.false)
    await looked_again(site)
    assert str(false) in str(site.archiver.trouble)
    in_its_way.rmdir()
    await site.until((site.archive / false.name).is_file)  # once it is known as left
    assert (site.archive / false.name).read_bytes() != false.read_bytes()
    await site.archiver.refuse_unarchived()
    await site.until(lambda: site.has(false.name, "d1"))
    await site.until(lambda: site.archiver.trouble is None)
