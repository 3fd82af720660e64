"""kill -9 of the agent with azurite as destination: a backup, a restore and a delete live through deaths where they
touch the store, and all that they promised is so."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.cluster.azurite import Azurite
from tests.cluster.crash_site import TERMINAL_SECONDS, CrashSite
from tests.cluster.moments import AZURE_BACKUP, AZURE_DELETE, AZURE_RESTORE, Moments, named
from tests.cluster.scratch import ScratchCluster

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    one_node_41: ScratchCluster, azurite: Azurite, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[CrashSite]:
    async with CrashSite(tmp_path_factory.mktemp("kill-azure"), one_node_41, store=azurite, jolokia=True) as site:
        yield site


async def live_through(site: CrashSite, request: str, moments: Moments) -> str:
    """The agent, armed with the first moment, dies at each; after the last restart all moves, and succeeds, in time.
    The request's tag."""
    await site.die(named(moments[1:], site.keyspace))
    await site.moving(request, await site.sequence())
    status = await site.succeeded(request, TERMINAL_SECONDS)
    site.oracle.expect(str(status["tag"]), [part["host_id"] for part in status["details"]["subrequests"].values()])
    return str(status["tag"])


async def test_backup_restore_and_delete_outlive_their_agents_deaths(site: CrashSite) -> None:
    """Promise: a killed backup is whole, restores every row through another kill, and outlives a killed sweep."""
    await site.arm_agent(AZURE_BACKUP[0])
    tag = await live_through(site, await site.start_backup(), AZURE_BACKUP)
    await site.all_is_well(rows=False)

    await site.disaster()
    await site.arm_agent(AZURE_RESTORE[0])
    await live_through(site, await site.start_restore(tag), AZURE_RESTORE)
    await site.all_is_well()

    doomed = await site.backup()
    await site.arm_agent(AZURE_DELETE[0])
    request = await site.start_delete(doomed)
    await site.die(named(AZURE_DELETE[1:], site.keyspace))
    await site.succeeded(request, TERMINAL_SECONDS)
    await site.all_is_well(rows=False)
    listed = await site.ask("GET", f"/backups?destination={site.place}")
    assert (doomed in listed, tag in listed) == (False, True)
