"""Nodes for the tests of node control: the two that the session shares, and one with passwords and Jolokia."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cluster.scratch import ScratchCluster
from tests.real.cassandra.rig import Rig, settings_for


@pytest.fixture(params=["5.0", "4.1"])
def either(request: pytest.FixtureRequest) -> ScratchCluster:
    """One node of Cassandra 5.0 (two data directories), then one of 4.1."""
    name = "one_node_50" if request.param == "5.0" else "one_node_41"
    cluster = request.getfixturevalue(name)
    assert isinstance(cluster, ScratchCluster)
    return cluster


@pytest_asyncio.fixture
async def rig(either: ScratchCluster, tmp_path: Path) -> AsyncIterator[Rig]:
    """The agent's parts for that node, with nodetool."""
    made = Rig(settings_for(either.nodes[0]), tmp_path / "state")
    yield made
    for own in await made.node.snapshots.ours():
        await made.node.snapshots.clear(own.tag)
    await made.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def guarded(servers: Path) -> AsyncIterator[ScratchCluster]:
    """One node of Cassandra 5.0 with passwords for CQL and JMX, grants, and a Jolokia agent."""
    directory = servers / "guarded"
    async with ScratchCluster(directory, nodes=1, name="guarded", authentication=True, jolokia=True) as cluster:
        yield cluster
