"""The agent behind its unit's fence, as another unprivileged user than Cassandra and as the same one: it backs up,
restores and frees, and Cassandra can snapshot and compact what was restored.

Needs root, to become those users. The interpreter and what else the agent reads is there for everybody inside the
fence: the agent has no capability that would hide a right that it lacks.
"""

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cluster import fence, sessions
from tests.cluster.backup_service import QUICK, BackupService
from tests.cluster.cassandra import CassandraNode
from tests.cluster.places import REPOSITORY
from tests.cluster.scratch import ScratchCluster, with_other_spec
from tests.cluster.services import AgentProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

GROUP = 61000
CASSANDRA = fence.User(61001, GROUP)
OTHER = fence.User(61002, 61002, (GROUP,))
UNIT = REPOSITORY / "systemd" / "helenus-agent.service"


@contextlib.contextmanager
def closed_to_the_world() -> Iterator[None]:
    """What is made meanwhile, by children too, only its owner and group may read."""
    before = os.umask(0o027)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture(scope="module")
def open_place() -> Iterator[Path]:
    """A directory that other users may enter: pytest closes its own to them at every start of another pytest."""
    with tempfile.TemporaryDirectory(prefix="helenus-two-users-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(open_place: Path) -> AsyncIterator[ScratchCluster]:
    """A node that runs as CASSANDRA and whose files are closed to the world."""
    assert os.getuid() == 0, "this test needs root"
    cluster = ScratchCluster(open_place / "cluster", nodes=1, name="two_users")
    with_other_spec(cluster.nodes[0], cluster, run_as=(CASSANDRA.uid, CASSANDRA.gid, ()))
    cluster.directory.mkdir()
    with closed_to_the_world():
        await cluster.start()
    yield cluster
    await cluster.kill()


@contextlib.asynccontextmanager
async def service_as(user: fence.User, cluster: ScratchCluster, directory: Path) -> AsyncIterator[BackupService]:
    """An agent as that user in its unit's fence, with what systemd would give it, and a coordinator."""
    (node,) = cluster.nodes
    agent = AgentProcess(
        node,
        directory / "agent",
        changes={**QUICK, "http": {"token_file": "credential:token"}},
        recorded=False,  # it may write no file beside its configuration
        prefix=fence.command(
            UNIT,
            user=user,
            at={
                "/var/lib/cassandra": node.directory,
                "/var/backups/helenus": directory / "agent" / "backups",
                "/var/lib/helenus/agent": directory / "agent" / "state",
            },
            keep=[directory],
        ),
    )
    agent.environment = {"CREDENTIALS_DIRECTORY": str(agent.directory)}
    agent.state_directory.mkdir(mode=0o700)
    for path in (agent.state_directory, agent.local_root, agent.token_file):
        os.chown(path, user.uid, user.gid)
    service = BackupService(cluster, directory, agents=[agent])
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def filled(cluster: ScratchCluster, keyspace: str) -> list[str]:
    """Make a keyspace with a table of 200 rows; these."""
    session = await cluster.session_one(cluster.nodes[0])
    session.execute(
        f"CREATE KEYSPACE {keyspace} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, v text)")
    for number in range(200):
        session.execute(f"INSERT INTO {keyspace}.t (id, v) VALUES ({number}, 'v{number}')")
    return await rows(cluster.nodes[0], keyspace)


async def rows(node: CassandraNode, keyspace: str) -> list[str]:
    """Every row of the table with its time of writing."""
    session = await sessions.session_one(node)
    try:
        return sorted(str(row) for row in session.execute(f"SELECT id, v, writetime(v) FROM {keyspace}.t"))
    finally:
        sessions.close(session)


def owners(node: CassandraNode, keyspace: str) -> set[int]:
    """Whose the table's Data files are."""
    places = node.table_directories(keyspace, "t")
    return {file.stat().st_uid for place in places for file in place.glob("*-Data.db")}


async def test_an_agent_that_may_not_write_beside_the_data_is_refused_before_anything_changes(
    cluster: ScratchCluster, open_place: Path
) -> None:
    """Being in Cassandra's group is enough for a backup. A restore needs more: preflight says so, and nothing was
    truncated."""
    before = await filled(cluster, "refused")
    async with service_as(OTHER, cluster, open_place / "refused") as service:
        local = await service.local("nightly")
        tag = await service.backup(["refused"], local)
        error = await service.refusal(tag, local, truncate=True)
        assert [refusal["code"] for refusal in error["fields"]["refusals"]] == ["staging_refused"]
    assert await rows(cluster.nodes[0], "refused") == before


@pytest.mark.parametrize("user", [OTHER, CASSANDRA], ids=["other", "same"])
async def test_a_restored_table_can_be_backed_up_and_compacted_again(
    cluster: ScratchCluster, open_place: Path, user: fence.User
) -> None:
    """Promise: with the group rights that the README names, and the unit as it is, another user's agent does all that
    Cassandra's own does. Staged files that Cassandra may not write would make its next snapshot fail
    (fs.protected_hardlinks)."""
    assert Path("/proc/sys/fs/protected_hardlinks").read_text().strip() == "1"
    (node,) = cluster.nodes
    for directory in (node.directory, *node.data_directories):
        directory.chmod(0o770)  # and no setgid bit: the agent gives its files to the group by itself
    keyspace = f"of_{user.uid}"
    before = await filled(cluster, keyspace)
    async with service_as(user, cluster, open_place / keyspace) as service:
        # S3's SDK is loaded behind the fence as well.
        s3 = {"provider": "s3", "path": "bucket", "access_key": "a", "access_secret": "b"}
        await service.agents[0].ask("PUT", "/v1/destinations/s3", {"revision": 1, "settings": s3})
        local = await service.local("nightly")
        tag = await service.backup([keyspace], local, keep=True)
        session = await cluster.session_one(node)
        session.execute(f"TRUNCATE {keyspace}.t")
        await service.restore(tag, local, truncate=True)
        assert await rows(node, keyspace) == before
        assert owners(node, keyspace) == {user.uid}  # Cassandra renames what it imports

        await node.nodetool("snapshot", "-t", "theirs", keyspace)
        again = await service.backup([keyspace], local)
        await node.nodetool("compact", keyspace, "t")
        await node.nodetool("scrub", keyspace, "t")
        assert await rows(node, keyspace) == before
        await node.nodetool("clearsnapshot", "-t", "theirs", "--", keyspace)

        await service.restore(tag, None, truncate=True)  # from the nodes: Cassandra's own files are linked, or copied
        assert await rows(node, keyspace) == before
        await service.delete(tag, None)
        await service.delete(tag, local)
        assert {found for found, _ in await service.inspected(local)} == {again}
        assert service.snapshots().isdisjoint({tag, again})  # scrub keeps one of its own
    assert service.staged() == []
    assert not list(node.directory.rglob(".helenus"))
    await node.stop()
    with closed_to_the_world():
        await node.start()
    assert await rows(node, keyspace) == before
