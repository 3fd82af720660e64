"""kill -9 of the agent with Google Cloud Storage as destination, on Cassandra 5.0: a backup, a restore and a delete
live through deaths while they touch the store. What goes on where is proved with S3; here is, that this provider's own
requests are resumed, and that all of it is so in an encrypted repository."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.cluster.crash_site import TERMINAL_SECONDS, CrashSite
from tests.cluster.gcs_stores import FakeGcs
from tests.cluster.moments import GCS_BACKUP, GCS_DELETE, GCS_RESTORE, named
from tests.cluster.scratch import ScratchCluster

PASSPHRASE = "a passphrase of the tests"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    one_node_50: ScratchCluster, gcs: FakeGcs, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[CrashSite]:
    async with CrashSite(tmp_path_factory.mktemp("kill-gcs"), one_node_50, store=gcs, passphrase=PASSPHRASE) as site:
        yield site


async def test_a_backup_its_restore_and_its_delete_outlive_their_agents_deaths(site: CrashSite) -> None:
    """Promise: the same requests succeed; the oracle finds every byte, every row is as it was written, a second backup
    puts next to nothing, and what was deleted is gone from the bucket."""
    await site.arm_agent(GCS_BACKUP[0])
    backup = await site.start_backup()
    await site.die(named(GCS_BACKUP[1:], site.keyspace))
    status = await site.succeeded(backup, TERMINAL_SECONDS)
    tag = str(status["tag"])
    site.oracle.expect(tag, [part["host_id"] for part in status["details"]["subrequests"].values()])

    second = await site.backup()
    (target,) = (await site.commands(kind="upload"))[-1]["result"]["targets"].values()
    assert int(target["put_bytes"]) < int(target["bytes"]) / 10

    await site.disaster()
    await site.arm_agent(GCS_RESTORE[0])
    restore = await site.start_restore(tag)
    await site.die(named(GCS_RESTORE[1:], site.keyspace))
    await site.succeeded(restore, TERMINAL_SECONDS)
    await site.all_is_well()

    await site.arm_agent(GCS_DELETE[0])
    deletion = await site.start_delete(tag)
    await site.die(named(GCS_DELETE[1:], site.keyspace))
    await site.succeeded(deletion, TERMINAL_SECONDS)
    await site.all_is_well(rows=False)
    listed = await site.ask("GET", f"/backups?destination={site.place}")
    assert (tag in listed, second in listed) == (False, True)
