"""Archiving as the daemon does it: every closed segment in every destination, and only then off the node."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from agent.jobs.archiving.standing import view_of
from agent.plan.log_windows import gaps, runs
from agent.storage.protocol import Transient
from agent.wire.archiving import LogTarget
from agent.wire.commands import Target
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Faults
from tests.fast.jobs.archiving_site import ArchivingSite
from tests.fast.storage.memory import MemoryStorage


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[ArchivingSite]:
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage(), "d2": MemoryStorage()})
    yield site
    await site.stop()


async def test_closed_segments_go_to_every_destination_and_then_from_the_node(site: ArchivingSite) -> None:
    """Promise: each is read back byte by byte, in one run without a gap over restarts of Cassandra; the node keeps only
    what is being written; the view tells from when until when all is safe."""
    await site.begin()
    bodies, names = {}, []
    for number in range(4):
        site.log.write(b"row %d of the table" % number)
        body = site.log.path(site.log.active).read_bytes()
        names.append(site.segment())
        bodies[names[-1]] = body
        if number == 1:
            site.log.now += 5
            site.log.start()
    await site.shipped(*names)
    for store in site.stores:
        records = [one for one in await site.records(store) if one.name in names]
        assert [one.name for one in records] == names
        assert len(runs(await site.records(store))) == 1
        for record in records:
            content = await site.content(store, record, site.directory / "read" / store)
            assert content.startswith(bodies[record.name].rstrip(b"\0"))
    view = await view_of(site.archiver)
    assert (view.state, view.enabled, view.gaps) == ("on", True, [])
    last = (await site.records("d1"))[-1]
    assert view.places["d1"].newest == last.name
    assert view.places["d1"].safe_until == last.closed_at
    assert view.places["d1"].waiting_segments == 0
    assert list(site.archive.glob("CommitLog-*")) == []


async def test_a_destination_that_is_away_holds_up_no_other(tmp_path: Path) -> None:
    """Promise: while it is away its error is told and the files stay; the other one has them; when it comes back it
    gets all, each once."""
    faults = Faults()
    site = ArchivingSite(tmp_path, {"d1": MemoryStorage(), "d2": MemoryStorage(hook=faults)})
    try:
        await site.begin()
        first = site.segment()
        await site.shipped(first)
        faults.fail = {verb: Transient("away") for verb in ("put", "get", "list", "head")}
        names = [site.segment() for _ in range(3)]
        await site.until(lambda: all(site.has(name, "d1") for name in names))
        await site.until(lambda: site.shipper("d2").error is not None and len(site.shipper("d2").pending()) == 3)
        view = await view_of(site.archiver)
        assert view.places["d2"].error is not None
        assert view.places["d2"].error["code"] == "storage_unavailable"
        assert view.places["d2"].waiting_segments == 3
        assert {path.name for path in site.archive.glob("CommitLog-*")} == set(names)
        faults.fail = {}
        faults.puts = []
        await site.shipped(*names)
        assert [one.name for one in await site.records("d2")][-3:] == names
        assert (await view_of(site.archiver)).places["d2"].error is None
        assert len([key for key in faults.puts if "/segments/" in key]) == 3
    finally:
        await site.stop()


async def test_a_destination_that_is_added_gets_what_is_still_on_the_node(site: ArchivingSite) -> None:
    """Promise: its safe time begins there, and nothing before counts as a gap of it; one that is taken away holds up
    nothing any more."""
    await site.begin(targets=[LogTarget(Target("d1", REPOSITORY, CLUSTER))])
    early = site.segment()
    await site.until(lambda: not (site.archive / early).exists())
    await site.order()
    late = site.segment()
    await site.shipped(late)
    assert [one.name for one in await site.records("d2")] == [late]
    view = await view_of(site.archiver)
    assert view.places["d2"].safe_since is not None
    assert view.places["d1"].safe_since is not None
    assert view.places["d2"].safe_since > view.places["d1"].safe_since
    assert gaps(await site.records("d2")) == []


async def test_it_says_what_it_can_not_know(site: ArchivingSite) -> None:
    """Promise: told and not restarted; its properties taken away; Cassandra silent; switched off: each by its word."""
    site.log.start()
    site.run()
    site.log.now += 10
    result = await site.order()
    assert result.restart_needed
    await site.until(lambda: site.archiver.answers and bool(site.archiver.seen.live))
    assert (await view_of(site.archiver)).state == "restart_needed"
    site.log.now += 10
    site.log.start()
    await site.until(lambda: site.archiver.ledger.known.in_force)
    assert not (await site.order()).restart_needed
    assert (await view_of(site.archiver)).state == "on"
    kept = site.properties.read_bytes()
    site.properties.write_text("archive_command=\n")
    await site.until(lambda: not site.archiver.is_told)
    assert (await view_of(site.archiver)).state == "lost"
    site.properties.write_bytes(kept)
    site.log.now += 10
    await site.order(enabled=False, targets=[])
    view = await view_of(site.archiver)
    assert (view.enabled, view.state) == (False, "restart_needed")
    assert set(view.places) == {"d1", "d2"}
    site.log.now += 10
    site.log.start()
    await site.until(lambda: site.log.path(site.log.active).name in site.archiver.seen.live)
    assert (await view_of(site.archiver)).state == "off"


async def test_switching_off_what_never_was_on_restarts_nobody(site: ArchivingSite) -> None:
    """Promise: an agent that was never told to archive leaves Cassandra's file as it is and asks for no restart; one
    that lost its state, and finds its own text there, does both."""
    site.log.start()
    site.run()
    site.log.now += 10
    site.properties.write_text("archive_command=\n")
    assert not (await site.order(enabled=False, targets=[])).restart_needed
    assert site.properties.read_text() == "archive_command=\n"
    assert site.archiver.order is None
    assert (await view_of(site.archiver)).trouble is None
    await site.order()
    shutil.rmtree(site.state)
    await site.restart()
    assert (await site.order(enabled=False, targets=[])).restart_needed
    assert site.properties.read_text() == "archive_command=\n"
