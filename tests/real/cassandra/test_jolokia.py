"""Jolokia in place of nodetool, on a real node of 4.1; `test_guarded_node` does the same on 5.0, with passwords."""

from pathlib import Path

import pytest

from agent.cassandra.errors import SnapshotExists, TableNotFound
from agent.wire.commands import Kind, SnapshotArguments
from tests.cluster.cassandra import CassandraNode
from tests.cluster.scratch import ScratchCluster
from tests.real.cassandra.rig import Rig, jolokia_for, settings_for
from tests.real.cassandra.test_restore_phases import Story


async def does_what_nodetool_does(quick: Rig, story: Story, node: CassandraNode) -> None:
    """Snapshots with and without TTL, refusals, clears, the ring, and an import by nodetool beside it."""
    control = quick.node.control
    (member,) = (await control.members()).values()
    assert (member.up, member.state) == (True, "NORMAL")
    assert [one.up for one in await quick.node.ring()] == [True]
    await quick.keep("quick", {"Back": [], "back_empty": []})
    with pytest.raises(SnapshotExists):
        await control.snapshot("quick", {"Back": ["Tab"]}, None)
    with pytest.raises(TableNotFound):
        await control.snapshot("other", {"Back": ["nowhere"]}, None)
    before = story.rows()
    arguments = await quick.arguments("quick", {"Back": ["counted"]}, truncate=True)
    for kind in (Kind.PREFLIGHT, Kind.FETCH, Kind.TRUNCATE, Kind.IMPORT, Kind.CHECK, Kind.CLEAN):
        await quick.run(kind, arguments, "job-quick")
    assert story.rows() == before
    await quick.node.snapshots.take(SnapshotArguments("short", {"Back": ["Tab"]}), "c1")
    assert "short" in await node.nodetool("listsnapshots")
    for tag in ("quick", "short"):
        assert await quick.node.snapshots.exists(tag)
        await quick.node.snapshots.clear(tag)
        assert not await quick.node.snapshots.exists(tag)


async def test_jolokia_does_what_nodetool_does_on_4_1(one_node_41: ScratchCluster, tmp_path: Path) -> None:
    """The same answers and refusals as of 5.0."""
    node = one_node_41.nodes[0]
    quick = Rig(settings_for(node, jolokia=jolokia_for(node, tmp_path)), tmp_path / "state")
    story = Story(quick, await one_node_41.session_one(node), sai=False)
    story.make()
    await does_what_nodetool_does(quick, story, node)
    await quick.close()
