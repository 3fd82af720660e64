"""The newest write of an SSTable as its Statistics.db tells it, in the version that 4.1 writes and 5.0 by default.
(5.0's own are in test_archive_command.py.)"""

import pytest

from agent.cassandra.errors import SstableDamaged
from agent.cassandra.sstable_statistics import statistics_of
from tests.cluster.scratch import ScratchCluster

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEYSPACE = "timed"


async def test_it_is_read_as_cassandra_wrote_it(either: ScratchCluster) -> None:
    """Promise: the newest time of all writes counts, deletes too, whatever unit the clients use; and a cut is found."""
    node, session = either.nodes[0], await either.session()
    session.execute(
        f"CREATE KEYSPACE {KEYSPACE} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    try:
        session.execute(f"CREATE TABLE {KEYSPACE}.t (k int, c int, v text, PRIMARY KEY (k, c))")
        for number in range(40):
            session.execute(
                f"INSERT INTO {KEYSPACE}.t (k, c, v) VALUES ({number}, 1, 'v') USING TIMESTAMP {1_000 + number}"
            )
        session.execute(f"DELETE FROM {KEYSPACE}.t USING TIMESTAMP 5000 WHERE k = 1 AND c > 5")
        session.execute(f"INSERT INTO {KEYSPACE}.t (k, c) VALUES (99, 1) USING TIMESTAMP -7")
        await node.nodetool("flush", KEYSPACE)
        (path,) = (
            path
            for directory in node.table_directories(KEYSPACE, "t")
            for path in directory.glob("nb-*-Statistics.db")
            if statistics_of(path.name, path.read_bytes()).newest_write == 5000
        )
        content = path.read_bytes()
        assert statistics_of(path.name, content).log_segment > 1_700_000_000_000
        with pytest.raises(SstableDamaged):
            statistics_of(path.name, content[:200])
    finally:
        session.execute(f"DROP KEYSPACE {KEYSPACE}")
