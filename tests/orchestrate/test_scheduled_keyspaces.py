"""Keyspaces and tables of a schedule, judged by what the agents of a cluster say."""

import msgspec
import pytest

from coordinator.model.errors import UnknownKeyspace, UnknownTable
from coordinator.model.orders import BackupOrder
from coordinator.model.schedules import BackupJob, Schedule
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_coordinator import CLUSTER
from tests.orchestrate.conftest import Scene
from tests.orchestrate.scheduled import HOUR, due_now


def naming(keyspaces: dict[str, list[str]]) -> Schedule:
    """A schedule that begins nothing as long as a test takes."""
    schedule = due_now(unix_seconds() + HOUR)
    return msgspec.structs.replace(schedule, job=BackupJob(keyspaces=keyspaces))


@pytest.mark.parametrize(
    ("keyspaces", "error"), [({"shpo": []}, UnknownKeyspace), ({"shop": ["ordres"]}, UnknownTable)]
)
async def test_a_schedule_is_refused_as_a_run_is(
    scene: Scene, keyspaces: dict[str, list[str]], error: type[Exception]
) -> None:
    """Promise: what a backup by hand is refused for, a schedule is too, in the same words, also while a node is down;
    nothing is kept."""
    coordinator = await scene.coordinator()
    scene.nodes[0].up = False
    order = BackupOrder("opscenter_adhoc_2017-07-28-20-04-40-UTC", 1, "adhoc", keyspaces, partial=True)
    with pytest.raises(error) as run:
        await coordinator.orchestrator.start_backup(CLUSTER, order)
    with pytest.raises(error) as scheduled:
        await coordinator.schedules.add(naming(keyspaces))
    assert str(scheduled.value) == str(run.value)
    assert await coordinator.schedules.all(CLUSTER) == []


async def test_a_keyspace_that_was_made_a_moment_ago_can_be_scheduled(scene: Scene) -> None:
    """Promise: the agents are asked, not what was known of them."""
    coordinator = await scene.coordinator()
    await coordinator.schedules.add(naming({"shop": []}))
    scene.world.tables["new"] = {"t": "id of t"}
    await coordinator.schedules.add(naming({"new": ["t"]}))
    assert len(await coordinator.schedules.all(CLUSTER)) == 2


async def test_a_cluster_whose_nodes_are_all_down_takes_a_schedule(scene: Scene) -> None:
    """Promise: maintenance of the whole cluster keeps nobody from scheduling its backups."""
    coordinator = await scene.coordinator()
    for node in scene.nodes:
        node.up = False
    await coordinator.schedules.add(naming({"shpo": []}))
    assert len(await coordinator.schedules.all(CLUSTER)) == 1
