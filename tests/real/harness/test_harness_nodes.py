"""The sorts of nodes that other tests ask the harness for: each is what it claims to be."""

import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from cassandra.cluster import NoHostAvailable

from tests.cluster import places, sessions
from tests.cluster.cassandra import CassandraNode
from tests.cluster.comparison import compare_every_column
from tests.cluster.node_files import JOLOKIA_PASSWORD, JOLOKIA_USER
from tests.cluster.processes import ProcessError, run
from tests.cluster.rows import DataSet
from tests.cluster.scratch import ScratchCluster, with_other_spec


async def _host_id(node: CassandraNode) -> str:
    session = await sessions.session_one(node)
    try:
        return str(session.execute("SELECT host_id FROM system.local").one().host_id)
    finally:
        sessions.close(session)


async def test_a_node_with_authentication_lets_nobody_in_without_a_password(tmp_path: Path) -> None:
    """Promise: CQL, JMX and Jolokia really ask for credentials."""
    async with ScratchCluster(tmp_path, nodes=1, authentication=True, jolokia=True) as cluster:
        node = cluster.nodes[0]
        session = await cluster.session()
        assert session.execute("SELECT role FROM system_auth.roles").one().role == "cassandra"
        with pytest.raises(NoHostAvailable):
            sessions.open_session([node.address], credentials=("cassandra", "wrong"))

        assert "UN" in await node.nodetool("status")
        with pytest.raises(ProcessError, match="Credentials required"):
            await run([node.launchers / "nodetool", "-p", str(node.spec.jmx_port), "status"])

        url = f"http://127.0.0.1:{node.spec.jolokia_port}/jolokia/version"
        async with aiohttp.ClientSession() as http:
            async with http.get(url) as refused:
                assert refused.status == 401
            credentials = {"Authorization": aiohttp.encode_basic_auth(JOLOKIA_USER, JOLOKIA_PASSWORD)}
            async with http.get(url, headers=credentials) as answer:
                assert (await answer.json(content_type=None))["value"]["agent"] == places.JOLOKIA


async def test_a_node_that_others_restart_is_noticed_and_ended(tmp_path: Path) -> None:
    """Promise: the launchers stop and start a node as a service manager does; it reads the JVM's options and its
    archiving, and is known and killed by whoever uses it, though another started it."""
    async with ScratchCluster(tmp_path, nodes=1) as cluster:
        node = cluster.nodes[0]
        first = node.child.pid
        conf = node.directory / "conf"
        (conf / "jvm-server.options").write_text("# one a line\n-Dcassandra.of_tests=1\n")
        (tmp_path / "archive").mkdir()
        archive = f"archive_command=/bin/ln %path {tmp_path / 'archive'}/%name\n"
        (conf / "commitlog_archiving.properties").write_text(archive)

        await run([node.launchers / "stop"])
        with pytest.raises(ProcessError, match="ended with"):
            await node.wait_until_ready()
        await run([node.launchers / "start"])
        await node.wait_until_ready()
        assert node.alive
        assert node.child.pid != first
        assert b"-Dcassandra.of_tests=1" in Path(f"/proc/{node.child.pid}/cmdline").read_bytes().split(b"\0")
        await node.nodetool("flush")
        await run([node.launchers / "start"])
        assert "Startup complete" in node.printed()

        await node.kill()
        await node.start()
        assert "-Dcassandra.of_tests=1" in (conf / "jvm-server.options").read_text()
        assert list((tmp_path / "archive").glob("CommitLog-*.log"))


async def test_a_rebuilt_node_has_new_host_id_and_the_same_tokens(tmp_path: Path) -> None:
    """Promise: a restart keeps host id and rows; wipe gives a new host id, the same tokens and no rows."""
    async with ScratchCluster(tmp_path, nodes=1) as cluster:
        node = cluster.nodes[0]
        session = await cluster.session()
        data = DataSet(seed=4, rows=20, version=cluster.version, replication=1)
        await data.create(session)
        await data.write(session)
        before = await _host_id(node)
        tokens = set(session.execute("SELECT tokens FROM system.local").one().tokens)
        cluster.close_sessions()

        node.pause()
        node.resume()
        await node.stop()
        await node.start()
        assert await _host_id(node) == before
        await compare_every_column(data, cluster.nodes)

        await node.kill()
        node.wipe()
        await node.start()
        assert await _host_id(node) != before
        session = await cluster.session()
        assert set(session.execute("SELECT tokens FROM system.local").one().tokens) == tokens
        assert "shop_all" not in session.cluster.metadata.keyspaces


async def test_bti_and_uuid_sstables_lie_in_several_data_directories(tmp_path: Path) -> None:
    """Promise: the options change what is on disk, and the data compares equal all the same."""
    async with ScratchCluster(tmp_path, nodes=1, bti=True, uuid_sstables=True, data_directories=2) as cluster:
        node = cluster.nodes[0]
        session = await cluster.session()
        data = DataSet(seed=5, rows=400, version=cluster.version, replication=1)
        await data.create(session)
        await data.write(session)
        await node.nodetool("flush", "shop_all")
        directories = node.table_directories("shop_all", "orders")
        assert len(directories) == 2
        for directory in directories:
            names = [path.name for path in directory.glob("*-Data.db")]
            assert names
            assert all(name.startswith("da-") and len(name.split("-")[1]) > 20 for name in names), names
            assert all(name.endswith("-bti-Data.db") for name in names), names
        await compare_every_column(data, cluster.nodes)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may enter. Not one of pytest's, which shuts its own at each start of a run."""
    with tempfile.TemporaryDirectory(prefix="helenus-") as path:
        Path(path).chmod(0o755)
        yield Path(path)


async def test_cassandra_runs_as_another_user(open_directory: Path) -> None:
    """Promise: run_as starts the JVM as that user, and nodetool reaches it. Needs root."""
    assert os.getuid() == 0, "this test needs root"
    nobody = pwd.getpwnam("nobody")
    cluster = ScratchCluster(open_directory / "cluster", nodes=1)
    with_other_spec(cluster.nodes[0], cluster, run_as=(nobody.pw_uid, nobody.pw_gid, ()))
    async with cluster:
        node = cluster.nodes[0]
        assert Path(f"/proc/{node.child.pid}").stat().st_uid == nobody.pw_uid
        assert all(path.stat().st_uid == nobody.pw_uid for path in node.data_directories)
        assert "UN" in await node.nodetool("status")
