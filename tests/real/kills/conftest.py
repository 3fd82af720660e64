"""Where agents and coordinators are killed: one site for the tests of a module, and a backup that they restore."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.cluster.crash_site import CrashSite
from tests.cluster.scratch import ScratchCluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(one_node_50: ScratchCluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CrashSite]:
    """Beside the session's node of 5.0, unless the module has a site of its own."""
    async with CrashSite(tmp_path_factory.mktemp("kills"), one_node_50) as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site_by_jolokia(
    one_node_41: ScratchCluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[CrashSite]:
    """Beside the session's node of 4.1, for modules where the time of a nodetool for each order is nothing's proof."""
    async with CrashSite(tmp_path_factory.mktemp("kills-41"), one_node_41, jolokia=True) as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tag(site: CrashSite) -> str:
    """A backup of the rows as they were written."""
    return await site.backup()
