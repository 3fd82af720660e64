"""Archiving when something breaks: kills, full archives, logs that differ, segments that vanish."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from agent.cassandra.commit_log.archive_command import MARK
from agent.cassandra.commit_log.errors import ArchivingRefused
from agent.jobs.archiving.errors import ArchiveUnread
from agent.jobs.archiving.ledger import Ledger, Stamp
from agent.jobs.archiving.looking import Look, SeenFile
from agent.jobs.archiving.seeing import END_UNKNOWN, NOT_ARCHIVED, VANISHED, Sights
from agent.jobs.archiving.standing import view_of
from agent.plan.log_windows import gaps
from tests.fast.jobs.agent_in_memory import Crash, Faults
from tests.fast.jobs.archiving_site import ArchivingSite
from tests.fast.storage.memory import MemoryStorage


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[ArchivingSite]:
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage()})
    yield site
    await site.stop()


@pytest.mark.parametrize("at", range(1, 14))
async def test_a_kill_before_any_operation_of_the_store_loses_and_doubles_nothing(tmp_path: Path, at: int) -> None:
    """Promise: killed there, the file is on the node until the destination lists the segment; the next process ends it;
    each segment is there once, whole, and off the node."""
    faults = Faults()
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage(hook=faults)})
    try:
        await site.begin()
        early = site.segment()
        await site.shipped(early)
        faults.begin(at)
        body_of = {}
        site.log.write(b"what must not be lost")
        body_of[site.log.path(site.log.active).name] = site.log.path(site.log.active).read_bytes()
        name = site.segment()
        await site.until(
            lambda: faults.count >= at or (site.archiver.ledger.get(name) is not None and site.has(name, "d1"))
        )
        await site.stop()
        faults.begin(None)
        if (site.archive / name).exists() is False:
            assert name in [one.name for one in await site.records("d1")]
        await site.restart()
        await site.shipped(name)
        found = await site.records("d1")
        assert [one.name for one in found if one.name in (early, name)] == [early, name]
        assert gaps(found) == []
        content = await site.content("d1", found[-1], tmp_path / "read")
        assert content.startswith(body_of[name].rstrip(b"\0"))
    finally:
        await site.stop()


async def test_a_ledger_that_is_lost_costs_a_look_and_nothing_else(site: ArchivingSite) -> None:
    """Promise: what is listed already is compared and not put again; the files go from the node."""
    await site.begin(keep=True)
    names = [site.segment() for _ in range(3)]
    await site.until(lambda: all(site.has(name, "d1") for name in names))
    await site.stop()
    before = dict(site.stores["d1"]._objects)
    (site.state / "archiving" / "ledger.json").unlink()
    await site.restart()
    await site.order()
    await site.shipped(*names)
    assert before.items() <= site.stores["d1"]._objects.items()
    assert {key for key in site.stores["d1"]._objects if "/segments/" in key} == {
        key for key in before if "/segments/" in key
    }


async def test_segments_that_were_seen_before_the_node_told_its_name_are_shipped(site: ArchivingSite) -> None:
    """Promise: with the ledger lost and Cassandra down, what is archived goes out once it is known whose it is."""
    await site.begin()
    await site.stop()
    name = site.segment(b"one")
    (site.state / "archiving" / "ledger.json").unlink(missing_ok=True)
    site.up = False
    await site.restart()
    await site.until(lambda: site.archiver.ledger.get(name) is not None)
    await site.stop()
    site.up = True
    await site.restart()
    await site.shipped(name)
    assert name in [one.name for one in await site.records("d1")]


async def test_nothing_goes_from_the_node_while_a_destination_is_begun_anew(site: ArchivingSite) -> None:
    """Promise: a destination whose shipping ended by a fault is still one that must have each segment."""
    await site.begin()
    places = site.archiver.places
    names = places.names
    order = site.archiver.order
    assert order is not None
    async with site.archiver._turn:
        _, task = places._shippers[names[0]]
        task.cancel()
        await asyncio.wait([task])
        await places.follow(order.arguments.targets)
        assert sorted(places.names) == sorted(names)


async def test_a_segment_that_is_there_with_other_content_is_refused(site: ArchivingSite) -> None:
    """Promise: a node that was wiped and got the same host id, or a copy of a machine: neither copy is touched, the
    place tells which segment, the others go on, and the file stays on the node."""
    await site.begin()
    site.log.write(b"the first log")
    name = site.segment()
    await site.shipped(name)
    kept = dict(site.stores["d1"]._objects)
    other = bytearray(await site.content("d1", (await site.records("d1"))[-1], site.directory / "r"))
    other[-1] ^= 1
    (site.archive / name).write_bytes(other)
    later = site.segment()
    await site.shipped(later)
    await site.until(lambda: site.shipper("d1").error is not None)
    error = (await view_of(site.archiver)).places["d1"].error
    assert error is not None
    assert error["code"] == "log_segment_differs"
    assert name in str(error["fields"])
    assert kept.items() <= site.stores["d1"]._objects.items()
    assert (site.archive / name).read_bytes() == bytes(other)
    assert (await view_of(site.archiver)).places["d1"].waiting_segments == 1


async def test_a_segment_that_vanishes_is_told(site: ArchivingSite) -> None:
    """Promise: one that held writes and is nowhere any more is a gap between its neighbours, also after a restart of
    the agent; it is told once."""
    await site.begin()
    first = site.segment()
    await site.shipped(first)
    site.log.write(b"soon gone")
    await site.until(
        lambda: (
            (one := site.archiver.ledger._saved.segments.get(site.log.path(site.log.active).name)) is not None
            and one.held_data
        )
    )
    await site.stop()
    site.segment(archives=False)
    await site.restart()
    last = site.segment()
    await site.shipped(last)
    await site.until(lambda: bool(site.archiver.ledger.known.losses))
    for _ in range(3):
        await site.archiver.turn()
    (loss,) = site.archiver.ledger.known.losses
    assert (loss.after, loss.before, loss.reason) == (first, last, VANISHED)
    (gap,) = gaps(await site.records("d1"), await site.logs("d1").losses())
    (told,) = (await view_of(site.archiver)).gaps
    assert gap == told
    assert (gap.after, gap.before, gap.until) == (first, last, loss.until)


async def test_the_lost_end_of_a_life_is_told(site: ArchivingSite) -> None:
    """Promise: what Cassandra wrote and lost while no agent was there, unseen and never offered, is a gap from the last
    segment of that life to the start of the next one, in the node's own view and in the destination."""
    await site.begin()
    await site.shipped(site.segment())
    await site.stop()
    last = site.segment(b"archived while nobody looked")
    site.log.write(b"in the segment that was seen empty, and that is lost with the volume")
    for path in site.log.directory.iterdir():
        path.unlink()
    site.log.now += 10
    site.log.start()
    begun = site.log.now
    first = site.segment(b"of the next life")
    await site.restart()
    await site.shipped(last, first)
    (loss,) = site.archiver.ledger.known.losses
    assert (loss.after, loss.before, loss.until, loss.reason) == (last, first, begun, END_UNKNOWN)
    await site.until(lambda: not site.shipper("d1").has_work())
    (gap,) = gaps(await site.records("d1"), await site.logs("d1").losses())
    assert (gap.after, gap.before, gap.reason) == (last, first, END_UNKNOWN)


async def test_a_write_that_left_the_files_time_as_it_was_is_seen(site: ArchivingSite) -> None:
    """Promise: a mapped page that was not written out yet changes no modification time: an archived segment counts as
    empty only by what is in it then."""
    await site.begin()
    await site.until(lambda: site.log.path(site.log.active).name in site.archiver.seen.live)
    name, at = site.log.path(site.log.active).name, site.log.now
    await site.stop()
    site.log.write(b"just before the kill")
    assert site.log.path(site.log.active).stat().st_mtime == at
    site.log.now += 10
    site.log.start()
    await site.archiver.turn()
    known = site.archiver.ledger.get(name)
    assert known is not None
    assert known.held_data
    await site.restart()


async def test_a_life_that_was_not_archived_is_a_gap(site: ArchivingSite) -> None:
    """Promise: while its properties were somebody else's, segments may have gone: what comes after is not said to
    follow what came before."""
    await site.begin()
    first = site.segment()
    await site.shipped(first)
    kept = site.properties.read_bytes()
    site.properties.write_text("archive_command=\n")
    await site.until(lambda: not site.archiver.ledger.known.in_force)
    site.segment(archives=False)
    site.properties.write_bytes(kept)
    site.log.now += 10
    site.log.start()
    last = site.segment()
    await site.shipped(last)
    (gap, *_) = gaps(await site.records("d1"), await site.logs("d1").losses())
    assert gap.after >= first
    assert NOT_ARCHIVED in gap.reason or "not known" in gap.reason or "missing" in gap.reason


async def test_a_former_archive_that_can_not_be_read_keeps_no_cassandra_from_a_restart(
    site: ArchivingSite, tmp_path: Path
) -> None:
    """Promise: what Cassandra is stopped with goes to the present directory; a restore to a point, which needs all of
    the log, is refused all the same."""
    await site.begin()
    former = tmp_path / "former"
    former.write_bytes(b"no directory")
    order = site.archiver.order
    assert order is not None
    await site.archiver.orders.put(msgspec.structs.replace(order, former=(str(former),)))
    await site.archiver.before_stop()
    with pytest.raises(ArchiveUnread, match="former"):
        await site.archiver.refuse_unarchived()


async def test_no_cassandra_is_stopped_whose_archive_is_not_there(site: ArchivingSite) -> None:
    """Promise: without its volume neither a restart nor a restore to a point begins, for what Cassandra is stopped with
    would go nowhere; a segment that can't be archived is refused in the archive command's own words."""
    await site.begin()
    await site.archiver.before_stop()
    mark = site.archive / MARK
    kept = mark.read_bytes()
    mark.unlink()
    with pytest.raises(ArchiveUnread, match="is its volume mounted"):
        await site.archiver.before_stop()
    with pytest.raises(ArchiveUnread):
        await site.archiver.refuse_unarchived()
    segment = site.log.path(site.log.active)
    with pytest.raises(ArchivingRefused, match="Is the volume mounted"):
        await site.archiver.archive(segment)
    mark.write_bytes(kept)
    await site.archiver.before_stop()
    await site.archiver.refuse_unarchived()


async def test_a_crash_between_listing_and_removal_keeps_the_file_until_it_is_known(site: ArchivingSite) -> None:
    """Promise: removal follows the ledger, and the ledger a listing: with a ledger of before the shipping the file is
    compared once more and then goes."""
    await site.begin()
    name = site.segment()
    await site.until(lambda: site.archiver.ledger.get(name) is not None)
    kept = (site.archive / name).read_bytes() if (site.archive / name).exists() else None
    await site.shipped(name)
    if kept is not None:
        (site.archive / name).write_bytes(kept)  # offered once more by a start of Cassandra
        await site.shipped(name)
    assert [one.name for one in await site.records("d1")].count(name) == 1


def test_ten_thousand_segments_that_wait_are_seen_in_one_look(tmp_path: Path) -> None:
    """Promise: an agent that comes back to an archive of days gets through it in a moment: in one run, none lost."""
    names = [f"CommitLog-7-{1_750_000_000_000 + number}.log" for number in range(10_000)]
    files = {name: SeenFile(tmp_path / name, Stamp(64, 1_750_000_000 * 10**9 + at)) for at, name in enumerate(names)}
    ledger = Ledger(tmp_path)
    look = Look({}, files, frozenset(), 0)
    for _ in range(2):
        assert Sights(ledger).see(look, dict.fromkeys(names, True), "h1", True, 1_750_000_100.0) == []
    assert sum(one.follows for one in ledger.known.segments.values()) == 9_999


def test_a_crash_is_a_crash() -> None:
    """Promise: no part of the agent takes the tests' kill for an error of its own."""
    assert not issubclass(Crash, Exception)
