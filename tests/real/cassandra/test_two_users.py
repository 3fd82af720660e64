"""Agent and Cassandra as two unprivileged users, and as one: Cassandra can snapshot and compact what was restored.

Needs root, to become those users.
"""

import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cassandra import CassandraNode
from tests.cluster.places import REPOSITORY
from tests.cluster.processes import run
from tests.cluster.scratch import ScratchCluster, with_other_spec

CASSANDRA, AGENT, SHARED = 61001, 61002, 61000
TABLES = {"shared": ["t"]}


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users may enter: pytest closes its own to them at every start of another pytest."""
    with tempfile.TemporaryDirectory(prefix="helenus-two-users-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
async def node(place: Path) -> AsyncIterator[CassandraNode]:
    """A node that runs as the user CASSANDRA, with the group SHARED beside its own."""
    assert os.getuid() == 0, "this test needs root"
    cluster = ScratchCluster(place / "cluster", nodes=1)
    with_other_spec(cluster.nodes[0], cluster, run_as=(CASSANDRA, CASSANDRA, (SHARED,)))
    async with cluster:
        session = await cluster.session_one(cluster.nodes[0])
        session.execute(
            "CREATE KEYSPACE shared WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        session.execute("CREATE TABLE shared.t (id int PRIMARY KEY, v text)")
        for number in range(200):
            session.execute(f"INSERT INTO shared.t (id, v) VALUES ({number}, 'v{number}')")
        yield cluster.nodes[0]


def _closed_home() -> bool:
    """Whether this interpreter lies where another user may not look (in root's home)."""
    return any(not parent.stat().st_mode & 0o001 for parent in Path(sys.executable).resolve().parents)


async def _as_user(node: CassandraNode, place: Path, user: int, step: str, tag: str) -> Any:
    state = place / f"state-{user}"
    if not state.exists():
        state.mkdir(mode=0o700)
        os.chown(state, user, user)
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", f"--groups={SHARED}"]
    if _closed_home():  # to read the interpreter; it gives no right to write or to link
        become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    facts = {
        "step": step,
        "tag": tag,
        "tables": TABLES,
        "nodetool": str(node.launchers / "nodetool"),
        "jmx_port": node.spec.jmx_port,
        "address": node.address,
        "state": str(state),
    }
    where = ["env", f"PYTHONPATH={REPOSITORY}", "PYTHONDONTWRITEBYTECODE=1"]
    command = [*become, *where, sys.executable, "-m", "tests.real.cassandra.other_user", json.dumps(facts)]
    return json.loads((await run(command, 240)).splitlines()[-1])


async def _rows(node: CassandraNode) -> list[str]:
    from tests.cluster import sessions

    session = await sessions.session_one(node)
    try:
        return sorted(str(row) for row in session.execute("SELECT id, v, writetime(v) FROM shared.t"))
    finally:
        sessions.close(session)


@pytest.mark.parametrize("agent", [AGENT, CASSANDRA])
async def test_a_restored_table_can_be_backed_up_and_compacted_again(
    node: CassandraNode, place: Path, agent: int
) -> None:
    """Staged files that Cassandra may not write would make its next snapshot fail (fs.protected_hardlinks)."""
    if agent != CASSANDRA:
        for directory in node.data_directories:
            os.chown(directory, -1, SHARED)
            directory.chmod(0o2775)
    before = await _rows(node)
    await _as_user(node, place, agent, "keep", "one")
    assert await _as_user(node, place, agent, "restore", "one") == {"refusals": [], "user": agent}
    assert await _rows(node) == before
    await node.nodetool("snapshot", "-t", "theirs", "shared")
    await _as_user(node, place, agent, "keep", "two")
    await node.nodetool("compact", "shared", "t")
    await node.nodetool("scrub", "shared", "t")
    assert await _rows(node) == before
    assert not list(node.directory.rglob("held"))
    await node.stop()
    await node.start()
    assert await _rows(node) == before


async def test_an_agent_that_may_not_write_beside_the_data_is_refused_before_anything_changes(
    node: CassandraNode, place: Path
) -> None:
    """Preflight says so; nothing was truncated."""
    before = await _rows(node)
    await _as_user(node, place, AGENT, "keep", "one")
    answer = await _as_user(node, place, AGENT, "restore", "one")
    assert answer["refusals"] == ["staging_refused"]
    assert await _rows(node) == before
