"""Real servers that a whole test run shares. None is ever skipped: what is missing fails with the command to run.

Nothing that these fixtures give is bound to an event loop: they start in the session's, tests use them in their own.

Two processes share these tests (`-n 2 --dist loadgroup`): each Cassandra waits about as long as it computes. A file's
tests stay together, for they share what their module started; so do the folders whose files share a session's node.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cluster import places
from tests.cluster.azurite import Azurite
from tests.cluster.canaries import refuse_left_in
from tests.cluster.gcs_stores import FakeGcs
from tests.cluster.scratch import ScratchCluster
from tests.cluster.stores import Seaweed, Versity

# Folders that go to one process whole: their files use the same running nodes. The longest first, or one process would
# still be at it when the other has nothing left.
TOGETHER = ("ring", "cassandra", "flows", "harness")
LONGEST_FIRST = (*TOGETHER, "point_in_time", "archiving", "kills", "services", "state", "storage")
REAL = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in this hook too
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name the group in which each real test runs, and put the groups that take longest first."""
    for item in items:
        if REAL in item.path.parents:
            within = item.path.relative_to(REAL)
            together = within.parts[0] in TOGETHER
            item.add_marker(pytest.mark.xdist_group(within.parts[0] if together else within.as_posix()))
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    """Where this test's folder stands; tests of other places, and of folders that nobody timed, come first."""
    folder = item.path.relative_to(REAL).parts[0] if REAL in item.path.parents else ""
    return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else -1


@pytest.fixture(scope="session", autouse=True)
def no_secret_in_a_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No log that a service, a node or a store has written in the whole run shows a secret."""
    yield
    refuse_left_in(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's servers keep their files."""
    return tmp_path_factory.mktemp("servers")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def one_node_50(servers: Path) -> AsyncIterator[ScratchCluster]:
    """One node of Cassandra 5.0 with two data directories; tests use keyspaces of their own and leave it running."""
    async with ScratchCluster(servers / "one-5.0", nodes=1, name="one_50", data_directories=2) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def one_node_41(servers: Path) -> AsyncIterator[ScratchCluster]:
    """One node of Cassandra 4.1 with a Jolokia agent and a directory of their own for the system's keyspaces; tests use
    keyspaces of their own and leave it running."""
    directory = servers / "one-4.1"
    version = places.CASSANDRA_41
    options = {"local_system_data_file_directory": str(directory / "system-data")}
    async with ScratchCluster(
        directory, nodes=1, name="one_41", version=version, jolokia=True, options=options
    ) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def three_nodes_50(servers: Path) -> AsyncIterator[ScratchCluster]:
    """Three nodes of Cassandra 5.0 with Jolokia agents: a nodetool for each question to each of them would take a third
    of the machine. A test that stops one starts it again."""
    async with ScratchCluster(servers / "three-5.0", nodes=3, name="three_50", jolokia=True) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def seaweed(servers: Path) -> AsyncIterator[Seaweed]:
    """SeaweedFS; tests make buckets of their own."""
    async with Seaweed(servers / "seaweed") as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def versity(servers: Path) -> AsyncIterator[Versity]:
    """versitygw with an access log; tests make buckets of their own."""
    async with Versity(servers / "versity", access_log=True) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gcs(servers: Path) -> AsyncIterator[FakeGcs]:
    """fake-gcs-server; tests make buckets of their own."""
    async with FakeGcs(servers / "gcs") as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def azurite(servers: Path) -> AsyncIterator[Azurite]:
    """Azurite; tests make containers of their own."""
    async with Azurite(servers / "azurite") as server:
        yield server
