"""One node of each Cassandra version, with its agent, its coordinator and a backup of everything, shared by the tests
of this directory. A test restores what it damaged, and so leaves the data as it found it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.cluster import places
from tests.cluster.backup_service import BackupService
from tests.cluster.rows import DataSet
from tests.cluster.scratch import ScratchCluster
from tests.cluster.stores import Seaweed
from tests.real.flows.shop import Shop

VERSIONS = [places.CASSANDRA_50, places.CASSANDRA_41]


@pytest_asyncio.fixture(scope="package", loop_scope="session", params=VERSIONS)
async def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BackupService]:
    """A node with two data directories, its agent and a coordinator; once for each version. The agent of 4.1 orders by
    Jolokia, the other one by nodetool: each way has every test, and a nodetool for each table takes long."""
    version: str = request.param
    directory = tmp_path_factory.mktemp(f"flows-{version}-")
    name = f"flows_{version.replace('.', '_')}"
    async with ScratchCluster(
        directory / "cassandra",
        nodes=1,
        name=name,
        version=version,
        data_directories=2,
        jolokia=version == places.CASSANDRA_41,
    ) as cluster:
        service = BackupService(cluster, directory)
        await service.start()
        try:
            yield service
            await service.judged()
        finally:
            await service.stop()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def shop(service: BackupService, seaweed: Seaweed) -> Shop:
    """Every kind of table, and one backup of the whole cluster, on the node and in a local destination."""
    cluster = service.cluster
    session = await cluster.session()
    data = DataSet(seed=31, rows=300, version=cluster.version, replication=1)
    await data.create(session)
    await service.node.nodetool("disableautocompaction")
    await data.write(session, cluster.nodes)
    local = await service.local("shop")
    s3 = await service.bucket(seaweed, f"flows-{cluster.version.replace('.', '-')}")
    tag = await service.backup(None, local, keep=True)
    return Shop(service, data, session, local, s3, tag)
