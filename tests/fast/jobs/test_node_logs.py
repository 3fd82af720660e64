"""The node's own part of its log, as a restore reads it."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.cassandra.commit_log.errors import SegmentUnreadable
from agent.jobs.archiving import node_logs
from agent.jobs.archiving.node_logs import place_file
from agent.pipeline.errors import TargetUnwritable
from agent.plan.log_windows import runs
from tests.fast.jobs.archiving_site import ArchivingSite
from tests.fast.storage.memory import MemoryStorage


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[ArchivingSite]:
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage()})
    yield site
    await site.stop()


async def test_own_log_goes_on_where_the_destination_ends(site: ArchivingSite, tmp_path: Path) -> None:
    """Promise: with what is shipped it is one run; while Cassandra is up the newest two are not whole, once it is down
    all are; segments come as links of the same bytes."""
    await site.begin()
    shipped = site.segment()
    await site.shipped(shipped)
    closed = site.segment(archives=False, delete=False)
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
