"""A restore that stopped, sent again when what it had done no longer stands: a new one begins, and says why."""

import asyncio
import uuid
from typing import Any

import pytest

from agent.wire.commands import Kind
from agent.wire.node import NodeReport
from coordinator.model.orders import RestoreOrder
from coordinator.model.requests import Request, RequestState
from coordinator.orchestrate.errors import TablesUnseen
from kit.errors import HelenusError
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_restore_flow import backed_up, restored


async def stopped(scene: Scene, coordinator: ToyCoordinator, tag: str) -> Request:
    """A restore in which the last node could not import."""
    scene.nodes[2].failures[Kind.IMPORT] = [ToyFailure("not_enough_space", "full") for _ in range(4)]
    request = await restored(coordinator, tag)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert request.result["resumable_job"] == request.id
    scene.nodes[2].failures.clear()
    return request


def begun_anew(former: Request, again: Request, why: str) -> None:
    assert again.state is RequestState.SUCCESS, again
    assert "job" not in again.result
    [told] = [warning for warning in again.result["warnings"] if former.id in warning]
    assert why in told


@pytest.mark.parametrize("lost", ["truncated", "made anew", "dropped"])
async def test_a_second_disaster_makes_it_a_new_restore(scene: Scene, lost: str) -> None:
    """An application empties, drops or makes anew a table of which nodes have imported: never success with rows
    missing."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    former = await stopped(scene, coordinator, tag)
    if lost == "truncated":
        scene.world.empty("shop", "orders")
    else:
        for node in scene.nodes:
            node.rows["shop", "orders"].clear()
        del scene.world.tables["shop"]["orders"]
    if lost == "made anew":
        scene.world.tables["shop"]["orders"] = str(uuid.uuid4())
    again = await restored(coordinator, tag)
    begun_anew(former, again, "shop.orders is there no more" if lost == "dropped" else f"shop.orders was {lost}")
    assert scene.world.rows() == before


@pytest.mark.parametrize("force", [False, True])
async def test_a_node_that_was_rebuilt_meanwhile_makes_it_a_new_restore(scene: Scene, force: bool) -> None:
    """The same tokens, another host id: nobody will ever answer for the old one."""
    before = {node.number: dict(node.rows) for node in scene.nodes}
    coordinator, tag = await backed_up(scene)
    former = await stopped(scene, coordinator, tag)
    rebuilt = scene.nodes[2]
    gone, rebuilt.host_id = rebuilt.host_id, "99999999-9999-9999-9999-999999999999"
    again = await restored(coordinator, tag, force=force)
    begun_anew(former, again, f"the ring has the nodes {gone} no more")
    assert {node.number: node.rows for node in scene.nodes} == before


async def test_what_applications_write_meanwhile_is_no_disaster(scene: Scene) -> None:
    """Nor is that other tables are truncated: the job goes on, and nothing is emptied twice."""
    coordinator, tag = await backed_up(scene)
    former = await stopped(scene, coordinator, tag)
    scene.nodes[0].rows["shop", "orders"].add("written since")
    scene.world.empty("system_traces", "events")
    again = await restored(coordinator, tag)
    assert (again.state, again.result["job"]) == (RequestState.SUCCESS, former.id)
    assert "written since" in scene.nodes[0].rows["shop", "orders"]
    assert scene.world.count(Kind.TRUNCATE) == 1


@pytest.mark.parametrize("lost", ["nothing", "truncated", "made anew"])
async def test_a_disaster_after_the_truncate_stopped_makes_it_a_new_restore(scene: Scene, lost: str) -> None:
    """Promise: what was emptied before the truncate stopped counts as empty only while it is the same table; what
    applications write into it is no disaster."""
    coordinator, tag = await backed_up(scene)
    scene.nodes[0].failures[Kind.TRUNCATE] = [ToyFailure("disk_full", "full") for _ in range(4)]
    former = await restored(coordinator, tag)
    assert former.result["resumable_job"] == former.id
    scene.nodes[0].failures.clear()
    if lost == "truncated":
        scene.world.empty("shop", "orders")
    elif lost == "made anew":
        scene.world.tables["shop"]["orders"] = str(uuid.uuid4())
    scene.nodes[0].rows["shop", "orders"].add("written since")
    again = await restored(coordinator, tag)
    if lost == "nothing":
        assert (again.state, again.result["job"]) == (RequestState.SUCCESS, former.id)
    else:
        begun_anew(former, again, f"since it had emptied tables shop.orders was {lost}")


class Deaf(HelenusError):
    """What a node says that doesn't tell of truncations now."""

    code = "cassandra_unavailable"
    status = 503


def deaf(scene: Scene, monkeypatch: pytest.MonkeyPatch, failure: HelenusError) -> None:
    """From now on no agent tells of truncations."""
    for agent in scene.agents:
        report = agent.report

        async def refuse(*, members: bool = False, truncations: bool = False, report: Any = report) -> NodeReport:
            if truncations:
                raise failure
            told: NodeReport = await report(members=members)
            return told

        monkeypatch.setattr(agent, "report", refuse)


async def test_a_question_that_nobody_answers_decides_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: when no node tells what became of the tables, the restore neither goes on nor begins anew: 503, and once
    they tell it goes on where it stopped."""
    coordinator, tag = await backed_up(scene)
    former = await stopped(scene, coordinator, tag)
    with monkeypatch.context() as silent:
        deaf(scene, silent, Deaf("no answer"))
        with pytest.raises(TablesUnseen) as refused:
            await restored(coordinator, tag)
    assert (refused.value.code, refused.value.status) == ("tables_unseen", 503)
    again = await restored(coordinator, tag)
    assert (again.state, again.result["job"]) == (RequestState.SUCCESS, former.id)


async def test_no_import_begins_before_its_tables_are_known(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: without that no later truncate or drop would ever be seen. Agents that are too old for the question keep
    nothing from being restored."""
    coordinator, tag = await backed_up(scene)
    with monkeypatch.context() as silent:
        deaf(scene, silent, Deaf("no answer"))
        former = await restored(coordinator, tag)
    assert former.error is not None
    assert (former.error["code"], scene.world.count(Kind.IMPORT)) == ("tables_unseen", 0)
    old = Deaf("unknown field truncations")
    monkeypatch.setattr(old, "status", 400)
    deaf(scene, monkeypatch, old)
    again = await restored(coordinator, tag)
    assert (again.state, again.result["job"]) == (RequestState.SUCCESS, former.id)


async def test_a_coordinator_that_dies_after_the_truncate_still_sees_a_later_disaster(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: killed while it asks what the truncate left, the next life asks again: what is emptied after the restore
    stopped isn't taken for what it had emptied itself."""
    coordinator, tag = await backed_up(scene)
    del scene.world.tables["shop"]["users"]
    scene.nodes[0].failures[Kind.SCHEMA] = [ToyFailure("no_room", "stopped here") for _ in range(3)]
    asked = asyncio.Event()
    with monkeypatch.context() as hanging:
        report = scene.agents[0].report

        async def hang(*, members: bool = False, truncations: bool = False) -> NodeReport:
            if truncations:
                asked.set()
                await asyncio.Event().wait()
            return await report(members=members)

        hanging.setattr(scene.agents[0], "report", hang)
        order = RestoreOrder(tag, destination="there", truncate=True)
        request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
        await asyncio.wait_for(asked.wait(), 10)
        await scene.stack.aclose()
    coordinator = await scene.coordinator()
    former = await coordinator.ended(request_id)
    assert (former.state, former.result["resumable_job"]) == (RequestState.ERROR, former.id)
    scene.world.empty("shop", "orders")
    again = await restored(coordinator, tag)
    begun_anew(former, again, "since it had emptied tables shop.orders was truncated")
