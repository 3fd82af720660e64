"""Nodes for the tests of node control: the two that the session shares, and one with passwords, TLS, Jolokia and a
small data volume."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cluster.certificates import Authority
from tests.cluster.ports import free_network
from tests.cluster.scratch import ScratchCluster
from tests.cluster.small_volume import SmallVolume
from tests.real.cassandra.rig import Rig, settings_for

KEYSTORE_PASSWORD = "keystore-secret-of-tests"
VOLUME_MB = 96


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


@dataclass(frozen=True)
class Guarded:
    """The node's volume, and who signed its certificate."""

    cluster: ScratchCluster
    volume: SmallVolume
    authority: Authority


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def guarded_node(servers: Path) -> AsyncIterator[Guarded]:
    """One node of Cassandra 5.0 with passwords for CQL and JMX, grants, a Jolokia agent, TLS for those CQL clients that
    want it, and a data directory that is a volume of its own."""
    directory, network = servers / "guarded", free_network()
    directory.mkdir()
    authority = Authority(directory)
    options = {
        "client_encryption_options": {
            "enabled": True,
            "optional": True,
            "keystore": str(authority.keystore("node", f"{network}.1", KEYSTORE_PASSWORD)),
            "keystore_password": KEYSTORE_PASSWORD,
            "store_type": "PKCS12",
        },
        # The volume is filled under it: what Cassandra does about its own writes then is not what is tested.
        "disk_failure_policy": "ignore",
    }
    cluster = ScratchCluster(
        directory, nodes=1, network=network, name="guarded", authentication=True, jolokia=True, options=options
    )
    (data,) = cluster.nodes[0].data_directories
    async with SmallVolume(data, megabytes=VOLUME_MB) as volume, cluster:
        yield Guarded(cluster, volume, authority)


@pytest.fixture(scope="session")
def guarded(guarded_node: Guarded) -> ScratchCluster:
    """That node as a cluster."""
    return guarded_node.cluster
