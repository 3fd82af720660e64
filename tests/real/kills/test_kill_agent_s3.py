"""kill -9 of the agent with a real S3 server as destination, on Cassandra 4.1, through Jolokia: each stage of a sync,
and those stages of backup, restore, delete and sweep once that touch the store. A request lives through all its agent's
deaths, and all that it promised is so."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.cluster.crash_site import TERMINAL_SECONDS, CrashSite
from tests.cluster.moments import S3_BACKUP, S3_DELETE, S3_RESTORE, SYNC, SYNC_FROM_S3, Moments, named
from tests.cluster.scratch import ScratchCluster
from tests.cluster.stores import Seaweed
from tests.oracle.checker import Oracle
from tests.oracle.reader import DirectoryReader

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    one_node_41: ScratchCluster, seaweed: Seaweed, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[CrashSite]:
    async with CrashSite(tmp_path_factory.mktemp("kill-s3"), one_node_41, store=seaweed, jolokia=True) as site:
        yield site


async def live_through(site: CrashSite, request: str, moments: Moments) -> dict[str, Any]:
    """The agent, armed with the first moment, dies at each; after the last restart all moves, and ends, in time."""
    await site.die(named(moments[1:], site.keyspace))
    await site.moving(request, await site.sequence())
    return await site.succeeded(request, TERMINAL_SECONDS)


def put_bytes(command: dict[str, Any]) -> tuple[int, int]:
    """What a copy had to put, and how much the backup is."""
    (target,) = command["result"]["targets"].values()
    return int(target["put_bytes"]), int(target["bytes"])


async def test_a_sync_outlives_its_agents_deaths(site: CrashSite, tag: str) -> None:
    """Each stage once: the same request copies the kept backup, which stays; its copy is restored from S3, and a second
    sync puts nothing."""
    kept = await site.keep()
    await site.arm_agent(SYNC[0])
    status = await live_through(site, await site.start_sync(kept), SYNC)
    site.oracle.expect(kept, [part["host_id"] for part in status["details"]["subrequests"].values()])
    assert set(site.oracle.check()) >= {(kept, part["host_id"]) for part in status["details"]["subrequests"].values()}
    assert site.snapshots() == {kept}
    assert [one["state"] for one in await site.commands(kind="sync")] == ["success"]
    await site.succeeded(await site.start_sync(kept))
    put, whole = put_bytes((await site.commands(kind="sync"))[-1])
    assert (put, whole > 0) == (0, True)

    await site.succeeded(str(await site.ask("DELETE", f"/backups?tag={kept}")))
    await site.disaster()
    await site.succeeded(await site.start_restore(kept))
    await site.all_is_well()


async def test_a_sync_from_the_bucket_outlives_its_agents_deaths(site: CrashSite, tag: str) -> None:
    """The same request brings a backup from S3 into an encrypted directory, from which it is restored; a second sync
    puts nothing."""
    passphrase = "of another place"
    settings = {"provider": "local", "path": "copy", "encryption": {"passphrase": passphrase}}
    made = await site.ask("POST", "/backups/destinations", settings)
    place = str(made["destination_id"]["id"])
    await site.succeeded(made["request_id"])
    body = {"tag": tag, "source": site.place, "destinations": {place: {}}}
    before = len(await site.commands(kind="sync"))
    await site.arm_agent(SYNC_FROM_S3[0])
    status = await live_through(site, str(await site.ask("POST", "/backups/sync", body)), SYNC_FROM_S3)
    oracle = Oracle(DirectoryReader(site.agent.local_root / "copy"), keys=passphrase.encode())
    oracle.expect(tag, [part["host_id"] for part in status["details"]["subrequests"].values()])
    assert {name for name, _ in oracle.check(idle=True)} == {tag}
    await site.succeeded(str(await site.ask("POST", "/backups/sync", body)))
    commands = (await site.commands(kind="sync"))[before:]
    assert [one["state"] for one in commands] == ["success", "success"]
    put, whole = put_bytes(commands[-1])
    assert (put, whole > 0) == (0, True)

    await site.disaster()
    await site.succeeded(await site.start_restore(tag, destination=place))
    await site.all_is_well()


async def test_a_backup_outlives_its_agents_deaths(site: CrashSite, tag: str) -> None:
    """The same request succeeds, no snapshot is left, the next backup reuses all but what names the snapshot itself."""
    await site.arm_agent(S3_BACKUP[0])
    status = await live_through(site, await site.start_backup(), S3_BACKUP)
    site.oracle.expect(str(status["tag"]), [part["host_id"] for part in status["details"]["subrequests"].values()])
    await site.all_is_well(rows=False)
    await site.backup()
    put, whole = put_bytes((await site.commands(kind="upload"))[-1])
    assert put < whole / 10


async def test_a_restore_outlives_its_agents_deaths(site: CrashSite, tag: str) -> None:
    """The same request succeeds, every row is as it was written, staging is gone."""
    await site.disaster()
    await site.arm_agent(S3_RESTORE[0])
    request = await site.start_restore(tag)
    await live_through(site, request, S3_RESTORE)
    await site.all_is_well()
    commands = await site.commands(job=request)
    assert [one["state"] for one in commands if one["kind"] == "truncate"] == ["success"]
    assert [one["state"] for one in commands if one["kind"] == "import"] == ["interrupted", "success"]


async def test_a_delete_outlives_its_agents_deaths(site: CrashSite, tag: str) -> None:
    """The mark and the sweep: the backup is gone, the others are whole."""
    doomed = await site.backup()
    await site.arm_agent(S3_DELETE[0])
    await live_through(site, await site.start_delete(doomed), S3_DELETE)
    await site.all_is_well(rows=False)
    listed = await site.ask("GET", f"/backups?destination={site.place}")
    assert (doomed in listed, tag in listed) == (False, True)
