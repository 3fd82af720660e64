"""Disks that are really full, on a real node and through the coordinator: the one where a restore is staged, at each
stage that needs room, and the one that a backup goes to. A clear error, nothing lost, and when there is room again the
same works."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.cluster.crash_site import PLACE, SLOWER, CrashSite
from tests.cluster.sessions import SUPERUSER
from tests.cluster.small_volume import SmallVolume
from tests.cluster.victims import until_stopped
from tests.real.cassandra.conftest import Guarded

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW = "INSERT INTO {}.orders (customer, id) VALUES ('since', 1)"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(guarded_node: Guarded, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CrashSite]:
    """The data volume and the destination are small file systems of their own."""
    made = CrashSite(tmp_path_factory.mktemp("full"), guarded_node.cluster, cql=SUPERUSER, jolokia=True)
    async with SmallVolume(made.agent.local_root, megabytes=16), made as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tag(site: CrashSite) -> str:
    """A backup of the rows as they were written."""
    return await site.backup()


@pytest.fixture
def volume(guarded_node: Guarded) -> Iterator[SmallVolume]:
    """The node's data volume, with all its room again after the test."""
    yield guarded_node.volume
    guarded_node.volume.empty()


async def stopped_at(site: CrashSite, tag: str, moment: str) -> str:
    """A restore whose agent stands still there; the request."""
    await asyncio.to_thread(site.session.execute, NEW.format(site.keyspace))
    await site.arm_agent(f"{moment}:stop")
    request = await site.start_restore(tag)
    await until_stopped(site.agent.child.pid, 60 * SLOWER)
    return request


def codes_of(status: dict[str, Any]) -> str:
    """All that a request says of its errors."""
    return str(status["details"])


async def rows_since(site: CrashSite) -> int:
    """How many of the rows are there that were written after the backup."""
    statement = f"SELECT COUNT(*) FROM {site.keyspace}.orders WHERE customer = 'since'"
    return int((await asyncio.to_thread(site.session.execute, statement)).one()[0])


async def test_a_full_volume_refuses_a_restore_before_anything_changes(
    site: CrashSite, tag: str, volume: SmallVolume
) -> None:
    """Preflight names the volume; rows written since the backup are still there; with room again it restores."""
    await asyncio.to_thread(site.session.execute, NEW.format(site.keyspace))
    volume.fill()
    status = await site.follow(await site.start_restore(tag))
    assert status["state"] == "error"
    assert "not_enough_space" in codes_of(status)
    assert str(volume.path) in codes_of(status)
    assert await rows_since(site) == 1
    volume.empty()
    assert site.staging() == []
    await site.succeeded(await site.start_restore(tag))
    await site.all_is_well()


async def test_a_volume_that_fills_up_while_fetching_ends_the_restore_with_everything_undone(
    site: CrashSite, tag: str, volume: SmallVolume
) -> None:
    """It fitted when preflight looked: `disk_full` by name, nothing truncated, staging given back though the volume is
    full; with room again the same restore ends well."""
    request = await stopped_at(site, tag, "fetch:running")
    volume.fill(leave=64 << 10)
    site.agent.child.signal(signal.SIGCONT)
    status = await site.follow(request)
    assert status["state"] == "error"
    assert "disk_full" in codes_of(status)
    assert str(volume.path) in codes_of(status)
    assert await rows_since(site) == 1
    assert site.staging() == []
    assert {one["kind"] for one in await site.commands(job=request)} == {"preflight", "fetch", "clean"}
    volume.empty()
    await site.succeeded(await site.start_restore(tag))
    await site.all_is_well()


async def test_a_volume_that_is_full_at_the_import_is_named_and_the_restore_goes_on_when_posted_again(
    site: CrashSite, tag: str, volume: SmallVolume
) -> None:
    """The tables are empty by then: what was fetched is kept, and the same restore posted again imports it, without a
    second truncate."""
    request = await stopped_at(site, tag, "import:running")
    volume.fill_names()
    site.agent.child.signal(signal.SIGCONT)
    status = await site.follow(request)
    assert (status["state"], status.get("partial")) == ("error", True), status
    assert "not_enough_space" in codes_of(status)
    assert site.staging() != []
    volume.empty()
    again = await site.start_restore(tag)
    assert again != request
    await site.succeeded(again)
    kinds = [one["kind"] for one in await site.commands(job=request)]
    assert kinds.count("truncate") == 1
    await site.all_is_well()


async def test_a_full_destination_fails_the_backup_and_keeps_the_others(site: CrashSite, tag: str) -> None:
    """`destination_full` by name, no snapshot stays, older backups are whole; with room again the next one succeeds."""
    disk = SmallVolume(site.agent.local_root, megabytes=16)
    await asyncio.to_thread(site.session.execute, NEW.format(site.keyspace))
    disk.fill()
    status = await site.follow(await site.start_backup())
    assert status["state"] == "error"
    assert "destination_full" in codes_of(status)
    assert site.place in codes_of(status)
    assert site.snapshots() == set()
    disk.empty()
    site.oracle.check()
    listed = await site.ask("GET", f"/backups?destination={site.place}")
    assert set(listed) >= {tag}
    assert str(status["tag"]) not in listed
    await site.backup()
    assert not list((site.agent.local_root / PLACE).glob(".helenus-tmp/*"))
    site.oracle.check()
    await site.succeeded(await site.start_restore(tag))
    await site.all_is_well()
