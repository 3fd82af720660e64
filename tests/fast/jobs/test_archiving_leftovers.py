"""Archiving while the archive directory is full, away or not what it should be: nothing is lost, or it is told."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.cassandra.commit_log.archive_command import MARK, failures_of, is_installed, offers
from agent.cassandra.commit_log.errors import ArchivingRefused
from agent.jobs.archiving.errors import ArchiveUnread
from agent.jobs.archiving.shipper import Shipper
from agent.jobs.archiving.standing import view_of
from agent.pipeline.segments import SegmentBytes
from agent.plan.log_windows import gaps, runs
from agent.storage.protocol import Transient
from agent.storage.threads import Workers
from agent.wire.archiving import LogTarget
from agent.wire.commands import Target
from agent.wire.destinations import ON_SERVER
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Faults
from tests.fast.jobs.archiving_site import ArchivingSite
from tests.fast.storage.memory import MemoryStorage


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[ArchivingSite]:
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage()})
    yield site
    await site.stop()


async def test_a_full_archive_is_swept_when_there_is_room(site: ArchivingSite) -> None:
    """Promise: what the archive command could not archive is archived by the agent, is no gap, and goes from
    Cassandra's directory only after a flush."""
    await site.begin()
    site.archive.rename(site.directory / "away")
    names = [site.segment() for _ in range(2)]
    await site.until(lambda: set(names) <= set(site.archiver.seen.failed))
    assert (await view_of(site.archiver)).unarchived_bytes > 0
    assert all(site.log.directory.joinpath(name).exists() for name in names)
    (site.directory / "away").rename(site.archive)
    site.archiver._next.clear()
    await site.shipped(*names)
    site.archiver._next.clear()
    await site.until(lambda: not any(site.log.directory.joinpath(name).exists() for name in names))
    assert site.flushes >= 1
    records = await site.records("d1")
    assert [one.name for one in records if one.name in names] == names
    assert len(runs(records)) == 1
    assert (await view_of(site.archiver)).gaps == []


async def test_the_check_of_a_restore_tells_of_an_archive_that_takes_nothing(site: ArchivingSite) -> None:
    """Promise: a segment that waits for room refuses a restore to a point before it has dropped a table, as it would
    refuse the stop after it; once there is room neither does."""
    await site.begin(keep=True)
    in_its_way = site.archive / site.log.path(site.log.active).name  # as if the directory were full
    in_its_way.mkdir()
    name = site.segment()
    await site.until(lambda: name in site.archiver.seen.failed)
    with pytest.raises(ArchivingRefused, match=f"has not taken 1 closed segment, 65,536 bytes, from {name} on"):
        await site.archiver.refuse_unarchived()
    with pytest.raises(ArchivingRefused, match=f"{name} can't be put"):
        await site.archiver.before_stop()
    in_its_way.rmdir()
    await site.archiver.before_stop()
    await site.archiver.refuse_unarchived()


async def test_an_archive_that_takes_nothing_is_told_with_its_reason(site: ArchivingSite) -> None:
    """Promise: whoever asks how archiving stands is told which directory takes no segment, why, and to make room; once
    it takes them nothing is told any more."""
    await site.begin(keep=True)
    in_its_way = [site.archive / site.log.path(site.log.active + number).name for number in range(2)]
    for path in in_its_way:
        path.mkdir()  # as if the directory were full
    names = [site.segment(), site.segment()]
    await site.until(lambda: set(names) <= site.archiver.seen.failed)
    site.archiver._next.clear()

    def with_reason() -> bool:
        return site.archiver.trouble is not None and f"{in_its_way[0]} is " in site.archiver.trouble.message

    await site.until(with_reason)
    told = (await view_of(site.archiver)).trouble
    assert told is not None
    assert told["code"] == "archiving_refused"
    message = str(told["message"])
    assert f"{site.archive} has not taken 2 closed segments, 131,072 bytes, from {names[0]} on: " in message
    assert str(told["todo"]).startswith("Make room in the named directory")
    for path in in_its_way:
        path.rmdir()
    site.archiver._next.clear()
    await site.until(lambda: site.archiver.trouble is None)


async def test_a_leftover_whose_name_is_taken_by_other_bytes_stays(site: ArchivingSite) -> None:
    """Promise: a file of the same name and size in the archive is no copy: it is told, not shipped, nor replaced, and
    the segment is not deleted for it; once it is moved away the segment itself goes out."""
    await site.begin(keep=True)
    await site.until(lambda: site.log.path(site.log.active).name in site.archiver.seen.live)
    taken = site.archive / site.log.path(site.log.active).name
    other = b"other".ljust(site.log.path(site.log.active).stat().st_size, b"\0")
    await site.stop()
    taken.write_bytes(other)
    name = site.segment()
    assert name == taken.name
    await site.restart()
    await site.until(lambda: site.archiver.trouble is not None)
    assert site.archiver.trouble is not None
    assert (site.archiver.trouble.code, site.archiver.trouble.fields["segments"]) == ("archive_copy_differs", [name])
    seen = site.archiver.looked()
    assert (name in seen.failed, name in seen.closed, name in seen.archived) == (True, True, False)
    assert await site.archiver.leftovers.tidy(seen, site.log.lives) == []
    assert not site.has(name, "d1")
    assert (taken.read_bytes(), (site.log.directory / name).exists()) == (other, True)
    assert (await view_of(site.archiver)).unarchived_bytes == len(other)
    taken.rename(site.directory / "moved-away")
    site.archiver._next.clear()
    await site.until(lambda: site.has(name, "d1"))
    site.archiver._next.clear()
    await site.until(lambda: not (site.log.directory / name).exists())
    assert site.archiver.trouble is None


async def test_a_leftover_that_was_shipped_goes_only_for_the_same_bytes(site: ArchivingSite) -> None:
    """Promise: what a destination has under its name, of the same size and time, is compared by its digest."""
    await site.begin()
    name = site.segment(b"what was shipped")
    await site.shipped(name)
    await site.stop()
    record = next(one for one in await site.records("d1") if one.name == name)
    whole = await site.content("d1", record, site.directory / "read")
    path = site.log.directory / name
    for body, gone in ((whole[:-1] + b"x", False), (whole, True)):
        path.write_bytes(body)
        os.utime(path, (record.closed_at, record.closed_at))
        (failures_of(site.program) / name).touch()
        await site.archiver.leftovers.tidy(site.archiver.looked(), site.log.lives)
        assert path.exists() != gone


async def test_leftovers_over_the_bound_are_given_up_and_told(site: ArchivingSite) -> None:
    """Promise: Cassandra's directory stays under its bound; what goes is told as a gap, here and in the destination,
    after a flush; what came before and after is two windows."""
    site.leftover_bytes = 3 * 64 * 1024
    site.archiver = site._agent()
    await site.begin()
    first = site.segment()
    await site.shipped(first)
    site.archive.rename(site.directory / "away")
    names = [site.segment() for _ in range(6)]
    await site.until(lambda: set(names) <= set(site.archiver.seen.failed))
    site.archiver._next.clear()
    await site.until(lambda: sum(site.log.directory.joinpath(name).exists() for name in names) == 3)
    assert site.flushes >= 1
    assert [site.log.directory.joinpath(name).exists() for name in names] == [False] * 3 + [True] * 3
    (site.directory / "away").rename(site.archive)
    site.archiver._next.clear()
    await site.shipped(*names[3:])
    losses = await site.logs("d1").losses()
    assert len(losses) == 3
    records = await site.records("d1")
    (gap,) = gaps(records, losses)
    assert (gap.after, gap.before) == (first, names[3])
    assert "leftover_bytes" in gap.reason
    assert len((await view_of(site.archiver)).gaps) == 3


async def test_what_the_command_was_never_called_for_is_archived_by_the_agent(site: ArchivingSite) -> None:
    """Promise: where Cassandra can't execute the command nothing is noted: the agent archives what stays closed, and
    deletes it only when Cassandra has left it for a while after a flush."""
    await site.begin()
    site.log.program = site.directory / "noexec" / "archive-commitlog"
    names = [site.segment() for _ in range(2)]
    await site.until(lambda: set(names) <= set(site.archiver.leftovers._closed_at) or _again(site))
    assert not any((site.archive / name).exists() for name in names)
    site.log.now += 31
    site.archiver._next.clear()
    await site.shipped(*names)
    await site.until(lambda: bool(site.flushes) or _again(site))
    assert all((site.log.directory / name).exists() for name in names)
    site.log.now += 31
    await site.until(lambda: not any((site.log.directory / name).exists() for name in names) or _again(site))
    assert (await view_of(site.archiver)).gaps == []


async def test_the_bound_holds_where_nothing_can_be_noted(site: ArchivingSite) -> None:
    """Promise: without the archive and without a note of it the oldest are given up all the same, and told; not before
    Cassandra has left them for a while after a flush."""
    site.leftover_bytes = 64 * 1024
    site.archiver = site._agent()
    await site.begin()
    site.log.program = site.directory / "noexec" / "archive-commitlog"
    failures_of(site.program).rmdir()
    for number in range(site.log.active, site.log.active + 3):
        (site.archive / site.log.path(number).name).mkdir()
    names = [site.segment() for _ in range(3)]
    await site.until(lambda: set(names) <= set(site.archiver.leftovers._closed_at) or _again(site))
    site.log.now += 31
    await site.until(lambda: bool(site.flushes) or _again(site))
    assert all((site.log.directory / name).exists() for name in names)
    site.log.now += 31
    await site.until(lambda: not (site.log.directory / names[1]).exists() or _again(site))
    assert [(site.log.directory / name).exists() for name in names] == [False, False, True]
    assert len((await view_of(site.archiver)).gaps) == 2


async def test_a_segment_whose_volume_went_while_it_was_read_is_shipped_later(site: ArchivingSite) -> None:
    """Promise: a file that vanishes under the shipper is tried again as soon as it is there, the same as before."""
    await site.begin(keep=True, targets=[])
    name = site.segment()
    await site.until(lambda: (one := site.archiver.ledger.get(name)) is not None and one.previous is not None)
    workers, target = Workers(2, "ship"), LogTarget(Target("d1", REPOSITORY, CLUSTER))
    segments = SegmentBytes(workers, lambda: site.log.now)
    shipper = Shipper(target, site.repositories, segments, site.archiver.ledger, lambda: site.archiver.seen)
    try:
        pair = next(pair for pair in shipper.pending() if pair[0].name == name)
        async with site.archiver._turn:
            site.archive.rename(site.directory / "away")
            await shipper._ship(site.logs("d1"), *pair)
            assert name not in [one.name for one, _ in shipper.pending()]
            (site.directory / "away").rename(site.archive)
        await site.until(lambda: name in [one.name for one, _ in shipper.pending()])
    finally:
        await workers.close()


async def test_what_was_offered_and_is_nowhere_is_lost(site: ArchivingSite) -> None:
    """Promise: the command's note tells of a segment that came and went while no agent looked; it is told once."""
    await site.begin()
    first = site.segment()
    await site.shipped(first)
    await site.stop()
    gone = site.segment()
    (site.archive / gone).unlink()
    last = site.segment()
    assert offers(site.program)[-2:] == [gone, last]
    await site.restart()
    await site.shipped(last)
    await site.until(lambda: bool(site.archiver.ledger.known.losses))
    for _ in range(4):
        await site.archiver.turn()
    (loss,) = site.archiver.ledger.known.losses
    assert (loss.after, loss.before) == (first, last)
    assert offers(site.program) == []


async def test_a_command_that_is_gone_is_put_back(site: ArchivingSite) -> None:
    """Promise: a Cassandra that calls the command finds it again."""
    await site.begin()
    site.program.unlink()
    site.archiver._next.clear()
    await site.until(lambda: is_installed(site.program))
    await site.until(lambda: site.archiver.ledger.known.in_force)


def _again(site: ArchivingSite) -> bool:
    """Have the next look do all that it does now and then."""
    site.archiver._next.clear()
    return False


async def test_an_archive_that_is_away_is_no_loss(site: ArchivingSite) -> None:
    """Promise: segments that wait there are not told as lost while its volume isn't mounted, in how many looks ever;
    the view tells why nothing goes on; they are shipped when it is back."""
    await site.begin(keep=True)
    site.stores["d1"]._hook = Faults()
    site.stores["d1"]._hook.fail = {"put": Transient("away"), "list": Transient("away")}
    name = site.segment()
    await site.until(lambda: site.archiver.ledger.get(name) is not None)
    site.archive.rename(site.directory / "unmounted")
    await site.until(lambda: site.archiver.trouble is not None)
    for _ in range(4):
        await site.archiver.turn()
    view = await view_of(site.archiver)
    assert view.trouble is not None
    assert view.trouble["code"] == "archive_unread"
    assert view.gaps == []
    (site.directory / "unmounted").rename(site.archive)
    site.stores["d1"]._hook.fail = {}
    await site.until(lambda: site.has(name, "d1"))
    assert (await view_of(site.archiver)).trouble is None


async def test_the_mount_point_of_an_archive_that_is_away_is_not_empty(site: ArchivingSite) -> None:
    """Promise: what waits in the archive directory is not told as lost, nothing is put into the mount point, and the
    order given once more is refused, until the volume is back; another node's directory is left alone, too."""
    await site.begin(keep=True, targets=[])
    names = [site.segment() for _ in range(2)]
    await site.until(lambda: all(site.archiver.ledger.get(name) is not None for name in names))
    away = site.directory / "unmounted"
    site.archive.rename(away)
    site.archive.mkdir()
    await site.until(lambda: site.archiver.trouble is not None)
    waits = site.segment()
    for _ in range(3):
        await site.archiver.turn()
    view = await view_of(site.archiver)
    assert view.trouble is not None
    assert "is its volume mounted?" in str(view.trouble["message"])
    assert view.gaps == []
    assert (view.places[ON_SERVER].error or {})["code"] == "archive_unread"
    with pytest.raises(ArchiveUnread):
        await site.archiver.kept.records()
    with pytest.raises(ArchivingRefused, match="mount its volume"):
        await site.order(keep=True, targets=[])
    assert list(site.archive.iterdir()) == []
    (site.archive / MARK).write_text("h2")
    await site.archiver.turn()
    assert site.archiver.seen.unread.endswith("belongs to the node h2")
    (site.archive / MARK).unlink()
    site.archive.rmdir()
    away.rename(site.archive)
    site.archiver._next.clear()
    await site.until(lambda: (site.archive / waits).exists())
    assert (await view_of(site.archiver)).gaps == []
