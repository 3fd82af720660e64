"""Cassandra 4.1's sstableverify, as a drill runs it. (That of 5.0 is in tests/real/harness/test_drill.py, over the
SSTables of three nodes.)"""

import asyncio
import io
import shutil
from pathlib import Path

import pytest

from agent.cli.screen import Screen
from agent.cli.verifying import verify
from tests.cluster.cassandra import CassandraNode
from tests.cluster.scratch import ScratchCluster
from tests.drill.story import table_directories

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEYSPACES = ("drilled", "drilled_empty")
TABLE = "CREATE TABLE {}.things (id int PRIMARY KEY, text text)"
COPIES = "replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"


async def extracted_from(node: CassandraNode, into: Path) -> Path:
    """The SSTables of the full table, as an extract has them, but named as the empty one's; the path of a Data.db."""
    await node.nodetool("flush", KEYSPACES[0])
    (source,) = node.table_directories(KEYSPACES[0], "things")
    target = into / "a-host" / "data0" / KEYSPACES[1] / source.name
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("backups", "snapshots"))
    (data,) = target.glob("*-Data.db")
    return data


async def verified(node: CassandraNode, extracted: Path) -> tuple[int, str]:
    """How many are wrong, and what was said."""
    said = io.StringIO()
    tool, data = node.launchers / "sstableverify", node.data_directories[0]
    tables = table_directories(extracted)
    return await asyncio.to_thread(verify, extracted, tables, tool, data, Screen(said)), said.getvalue()


async def test_it_calls_whole_what_is_whole_and_names_what_is_not(one_node_41: ScratchCluster, tmp_path: Path) -> None:
    """Promise: every row of a whole SSTable is read, one with a flipped byte is told by its name, and the node's table
    has none of it afterwards."""
    node, session = one_node_41.nodes[0], await one_node_41.session()
    for keyspace in KEYSPACES:
        session.execute(f"CREATE KEYSPACE {keyspace} WITH {COPIES}")
        session.execute(TABLE.format(keyspace))
    for number in range(50):
        session.execute(f"INSERT INTO {KEYSPACES[0]}.things (id, text) VALUES ({number}, 'text {number}')")
    data = await extracted_from(node, tmp_path)
    assert (await verified(node, tmp_path)) == (
        0,
        "sstableverify: 1 SSTables of 1 tables (not of their indexes): all are whole\n",
    )
    body = bytearray(data.read_bytes())
    body[len(body) // 2] ^= 1
    data.write_bytes(body)
    wrong, said = await verified(node, tmp_path)
    assert wrong == 1
    assert f"{data.relative_to(tmp_path)}: sstableverify: WARNING: Error verifying" in said
    (empty,) = node.table_directories(KEYSPACES[1], "things")
    assert [path for path in empty.iterdir() if path.is_file()] == []
    for keyspace in KEYSPACES:
        session.execute(f"DROP KEYSPACE {keyspace}")
