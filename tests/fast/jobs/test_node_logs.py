"""The node's own part of its log, as a restore reads it."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.cassandra.commit_log.errors import SegmentUnreadable
from agent.jobs.archiving import node_logs
from agent.jobs.archiving.ledger import Known
from agent.jobs.archiving.looking import look
from agent.jobs.archiving.node_logs import OwnLog, place_file
from agent.model.commit_log import SchemaRecord
from agent.pipeline.errors import TargetUnwritable
from agent.plan.log_windows import chosen, runs
from agent.plan.replay_set import clock_steps
from agent.plan.segment_names import segment_id
from tests.cluster.log_segments import entry, name_of, segment
from tests.fast.jobs.archiving_site import ArchivingSite
from tests.fast.storage.memory import MemoryStorage


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[ArchivingSite]:
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage()})
    yield site
    await site.stop()


async def test_own_log_goes_on_where_the_destination_ends(site: ArchivingSite, tmp_path: Path) -> None:
    """Promise: with what is shipped it is one run; while Cassandra is up what it may still write to is not whole, once
    it is down all are; segments come as links of the same bytes."""
    await site.begin()
    shipped = site.segment()
    await site.shipped(shipped)
    site.archive.rename(tmp_path / "away")
    closed = site.segment()
    site.log.write(b"the newest write")
    await site.until(lambda: site.archiver.ledger.get(site.log.path(site.log.active).name) is not None)
    down = False

    async def is_down() -> bool:
        return down

    own = site.archiver.own_log(is_down)
    up = {one.name: one for one in await own.records()}
    active = site.log.path(site.log.active).name
    assert up[closed].whole
    assert not up[active].whole
    assert up[active].size < site.log.path(site.log.active).stat().st_size
    down = True
    found = await own.records()
    assert all(one.whole for one in found)
    assert len(runs([*await site.records("d1"), *found])) == 1
    to = tmp_path / "segments"
    to.mkdir()
    for record in found:
        await own.fetch(record, to)
        await own.fetch(record, to)
    assert (to / active).read_bytes() == site.log.path(site.log.active).read_bytes()
    assert os.stat(to / active).st_nlink == 2
    site.log.path(site.log.active).unlink()
    with pytest.raises(SegmentUnreadable, match="is not on the node any more"):
        await own.fetch(next(one for one in found if one.name == active), to)


async def test_what_is_written_now_shows_no_step_of_the_clock(site: ArchivingSite) -> None:
    """Promise: of a Cassandra that runs for long, and rolls several segments in seconds: ids go up by one, not by the
    time that passed."""
    await site.begin()
    await site.shipped(site.segment(), site.segment(), site.segment())
    site.log.write(b"the newest write")

    async def is_down() -> bool:
        return False

    found = chosen([*await site.records("d1"), *await site.archiver.own_log(is_down).records()])
    assert found[-1].opened_at < max(one.opened_at for one in found)
    assert clock_steps(found) == []


async def test_closed_segments_that_await_their_last_sync_are_not_whole(site: ArchivingSite) -> None:
    """Promise: Cassandra makes the next segments while that is under way, and calls the archive command after it: until
    then none is taken for whole, though all that it holds is in whole sections."""
    await site.begin(targets=[])
    done = site.segment(delete=False)
    site.log.write(b"marked, while another write is on its way")
    waiting = [site.segment(archives=False, delete=False) for _ in range(2)]
    await site.until(lambda: site.log.path(site.log.active + 1).name in site.archiver.seen.live)

    async def is_down() -> bool:
        return False

    async def whole() -> list[str]:
        found = await site.archiver.own_log(is_down).records(segment_id(done))
        return [one.name for one in found if one.whole]

    assert await whole() == [done]
    for name in waiting:
        site.log.offer(site.log.directory / name)
        assert await whole() == [done, *waiting[: waiting.index(name) + 1]]


def test_where_nothing_is_archived_the_file_tells_whether_it_awaits_its_last_sync(tmp_path: Path) -> None:
    """Promise: a write behind the last whole section is one that a copy of now would lack, in this segment or in one
    that is made meanwhile; nothing older is read."""
    bodies = {1: segment(1, unsynced=entry()), 2: segment(2), 3: segment(3, unsynced=entry()), 4: segment(4)}
    for number, body in {**bodies, 5: segment(5, ()), 6: segment(6, ())}.items():
        (tmp_path / name_of(number)).write_bytes(body)

    async def none() -> list[SchemaRecord]:
        return []

    async def is_down() -> bool:
        return False

    own = OwnLog(lambda: look(str(tmp_path), (), ()), Known, none, is_down)

    def whole() -> list[str]:
        return [one.name for one in asyncio.run(own.records()) if one.whole]

    assert whole() == [name_of(number) for number in (1, 2, 3, 4)]
    (tmp_path / name_of(4)).write_bytes(segment(4, unsynced=entry()))
    assert whole() == [name_of(number) for number in (1, 2)]


def test_where_links_are_refused_a_copy_comes_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: on another file system the bytes are copied, and have their name only when they are durable; what is
    there with other bytes is replaced; what can't be written is told."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    source, target = tmp_path / "a", tmp_path / "to" / "a"
    target.parent.mkdir()
    source.write_bytes(b"all of it")
    target.write_bytes(b"part of i")
    monkeypatch.setattr(os, "link", refused)
    place_file(source, target)
    assert target.read_bytes() == b"all of it"
    assert list(target.parent.iterdir()) == [target]
    monkeypatch.undo()
    target.unlink()
    target.parent.rmdir()
    with pytest.raises(TargetUnwritable):
        place_file(source, target)


def test_what_is_there_already_is_durable_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: whoever put it there may have died before its name was on the disk."""
    synced: list[Path] = []
    monkeypatch.setattr(node_logs, "sync_directory", synced.append)
    source, target = tmp_path / "a", tmp_path / "b"
    for path in (source, target):
        path.write_bytes(b"all of it")
    place_file(source, target)
    assert synced == [tmp_path]


@pytest.mark.parametrize("links", [True, False])
def test_a_segment_that_goes_between_look_and_link_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    """Promise: it was shipped and removed just then: that is told, so that it is brought from the destination, and not
    that its place can't be written."""
    source, target = tmp_path / "a", tmp_path / "to" / "a"
    target.parent.mkdir()

    def refused(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    if not links:
        monkeypatch.setattr(os, "link", refused)
    with pytest.raises(SegmentUnreadable, match="not on the node any more"):
        place_file(source, target)
    assert list(target.parent.iterdir()) == []
    target.write_bytes(b"part of it")
    with pytest.raises(SegmentUnreadable):
        place_file(source, target)
