"""What a dropped table held, on a node whose Cassandra keeps nothing of it by itself."""

from pathlib import Path

import pytest

from agent.jobs.point_in_time.kept_before_drop import keep_before_drop, refuse_without_keeping
from agent.jobs.point_in_time.point_errors import DropKeepsNothing
from agent.jobs.point_in_time.tables_then import TableThen
from agent.wire.point_in_time import PitTable
from tests.cluster import places, sessions
from tests.cluster.scratch import ScratchCluster
from tests.real.cassandra.rig import Rig, settings_for

SIMPLE = "{'class': 'SimpleStrategy', 'replication_factor': 1}"


@pytest.mark.parametrize("version", [places.CASSANDRA_50, places.CASSANDRA_41])
async def test_a_snapshot_of_ours_outlives_the_drop(tmp_path: Path, version: str) -> None:
    """Promise: with auto_snapshot off the drop leaves nothing but what was kept before it, and that has every file;
    the table that is made again has it beside its own, also under the old id. Sent again, nothing is taken anew."""
    options = {"auto_snapshot": "false"}
    async with ScratchCluster(tmp_path / "cluster", nodes=1, version=version, options=options) as cluster:
        node = cluster.nodes[0]
        rig = Rig(settings_for(node), tmp_path / "state")
        session = sessions.open_session([node.address])
        for statement in (
            f"CREATE KEYSPACE dropped WITH replication = {SIMPLE}",
            "CREATE TABLE dropped.t (k int PRIMARY KEY)",
            "INSERT INTO dropped.t (k) VALUES (1)",
        ):
            session.execute(statement)
        own_id = (await rig.node.view.keyspaces())["dropped"].tables["t"]
        tables = [TableThen(PitTable("dropped", "t", own_id, own_id, "recreate"), "snapshot")]
        with pytest.raises(DropKeepsNothing):
            await refuse_without_keeping(rig.node, tables)
        for _ in range(2):
            await keep_before_drop(rig.node, "job-1", tables)
        (live,) = node.table_directories("dropped", "t")
        kept = sorted(path.name for path in (live / "snapshots" / "helenus-dropped-job-1").iterdir())
        assert any(name.endswith("-Data.db") for name in kept)
        session.execute("DROP TABLE dropped.t")
        session.execute(f"CREATE TABLE dropped.t (k int PRIMARY KEY) WITH ID = {own_id}")
        assert sorted(path.name for path in (live / "snapshots").iterdir()) == ["helenus-dropped-job-1"]
        assert sorted(path.name for path in (live / "snapshots" / "helenus-dropped-job-1").iterdir()) == kept
        assert list(session.execute("SELECT * FROM dropped.t")) == []
        assert "helenus-dropped-job-1" in await node.nodetool("listsnapshots")
        sessions.close(session)
        await rig.node.close()
