"""Restores that some node can't take part in: whose part can't be read, who would be emptied, what force can't lift."""

import pytest

from agent.wire.backups import BackupView
from agent.wire.commands import Kind
from coordinator.fleet.errors import AgentUnreachable
from coordinator.model.orders import RestoreOrder
from coordinator.model.requests import RequestState
from coordinator.orchestrate.errors import MissingNodes, NoNodeLeft, PartUnreadable, RestoreRefused
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_restore_flow import add_rows, backed_up, restored


@pytest.mark.parametrize("force", [False, True])
async def test_a_part_that_cant_be_read_is_refused_with_the_agents_error(scene: Scene, force: bool) -> None:
    """Promise: a directory that isn't mounted is not taken for a part that the backup lacks: no row goes, force or not;
    the refusal says which node, why, and that excluded-nodes leaves it out."""
    coordinator, tag = await backed_up(scene)
    add_rows(scene)
    before = scene.world.rows()
    node = scene.nodes[1]
    node.unreadable = ToyFailure("bucket_missing", "the directory /mnt/there isn't there")
    with pytest.raises(PartUnreadable) as refused:
        await restored(coordinator, tag, force=force)
    assert "excluded-nodes" in refused.value.todo
    refusals = refused.value.fields["refusals"]
    assert isinstance(refusals, list)
    [refusal] = refusals
    assert (refusal["code"], refusal["node"], refusal["lifted_by"]) == ("bucket_missing", node.address, None)
    assert "/mnt/there isn't there" in refusal["message"]
    assert "Mount" in refusal["todo"]
    assert scene.world.rows() == before
    request = await restored(coordinator, tag, excluded_nodes=[node.address])
    assert request.state is RequestState.SUCCESS, request
    assert request.result["nodes_not_restored"] == [node.address]


async def test_what_force_empties_without_restoring_is_named_before(scene: Scene) -> None:
    """Promise: the refusal that force lifts names the nodes that truncate empties and nothing is restored on: without a
    part in the backup, without an agent that answers, or excluded; without truncate nobody is."""
    coordinator, tag = await backed_up(scene)
    lost, silent = scene.nodes[1], scene.nodes[2]
    del scene.world.places[f"{lost.number}:there"].manifests[tag, lost.host_id]
    with pytest.raises(RestoreRefused) as incomplete:
        await restored(coordinator, tag)
    refusals = incomplete.value.fields["refusals"]
    assert isinstance(refusals, list)
    [refusal] = refusals
    assert (refusal["code"], refusal["lifted_by"]) == ("backup_incomplete", "force")
    assert refusal["fields"]["will_be_emptied"] == [lost.address]
    assert f"emptied and not restored: {lost.address}" in refusal["message"]
    with pytest.raises(RestoreRefused) as merged:
        await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(tag, destination="there"))
    assert "emptied" not in str(merged.value.fields)
    await scene.agents[2].stop()
    with pytest.raises(MissingNodes) as missing:
        await restored(coordinator, tag)
    assert missing.value.fields["will_be_emptied"] == [lost.address, silent.address]
    assert f"emptied and not restored: {lost.address}, {silent.address}" in missing.value.message


async def test_ranges_that_stay_empty_name_who_is_emptied(scene: Scene) -> None:
    """Promise: also nodes that a person excluded are named as emptied where force would lift what stops it."""
    coordinator, tag = await backed_up(scene)
    excluded = [node.address for node in scene.nodes[:2]]
    request = await restored(coordinator, tag, excluded_nodes=excluded)
    assert request.error is not None
    assert [each["fields"]["will_be_emptied"] for each in request.error["fields"]["refusals"]] == [excluded] * len(
        request.error["fields"]["refusals"]
    )


async def test_an_agent_that_gives_no_answer_may_be_left_out_by_force(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: silence is told apart from a lacking part, and force goes on without that node."""
    coordinator, tag = await backed_up(scene)
    silent = scene.nodes[1]

    async def no_answer(agent: object, *_: object) -> None:
        raise AgentUnreachable(f"The agent at {silent.address} doesn't answer")

    [client] = [
        agent.client
        for agent in coordinator.orchestrator._around.registry.agents(CLUSTER)
        if agent.host_id == silent.host_id
    ]
    monkeypatch.setattr(client, "backup", no_answer)
    with pytest.raises(RestoreRefused) as refused:
        await restored(coordinator, tag)
    refusals = refused.value.fields["refusals"]
    assert isinstance(refusals, list)
    assert [(each["code"], each["lifted_by"]) for each in refusals] == [("agent_unreachable", "force")]
    assert (await restored(coordinator, tag, force=True)).partial


async def test_an_agent_that_is_back_after_its_part_was_looked_for_is_not_taken_for_one_without(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a node is said to lack its part only by its own agent: one that was started again while the others were
    asked gave no answer, and the restore sent again takes it along."""
    before = scene.world.rows()
    coordinator, tag = await backed_up(scene)
    back = scene.nodes[1]
    await scene.agents[1].stop()
    [client] = [
        agent.client
        for agent in coordinator.orchestrator._around.registry.agents(CLUSTER)
        if agent.host_id == scene.nodes[0].host_id
    ]
    told = client.backup

    async def while_the_other_comes_back(name: str, destination: str | None) -> BackupView:
        if not scene.agents[1].running:
            await scene.agents[1].start()
        return await told(name, destination)

    monkeypatch.setattr(client, "backup", while_the_other_comes_back)
    with pytest.raises(RestoreRefused) as refused:
        await restored(coordinator, tag)
    refusals = refused.value.fields["refusals"]
    assert isinstance(refusals, list)
    [refusal] = refusals
    assert (refusal["code"], refusal["fields"]["nodes"]) == ("agent_unreachable", [back.address])
    assert (await restored(coordinator, tag)).state is RequestState.SUCCESS
    assert scene.world.rows() == before


async def test_force_is_not_offered_where_truncate_needs_a_cassandra_that_is_down(scene: Scene) -> None:
    """Promise: with truncate and Cassandra down the todo says that force doesn't help; without truncate it does."""
    coordinator, tag = await backed_up(scene)
    scene.nodes[2].up = False
    with pytest.raises(MissingNodes) as refused:
        await restored(coordinator, tag)
    assert "force doesn't lift that" in refused.value.todo
    assert "will_be_emptied" not in refused.value.fields
    with pytest.raises(MissingNodes) as merged:
        await coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(tag, destination="there"))
    assert merged.value.todo.endswith('"force": true to go on without them.')


async def test_excluding_every_node_is_an_error_of_its_own(scene: Scene) -> None:
    """Promise: nobody is told to start agents that run, or to use force, when all nodes were excluded."""
    coordinator, tag = await backed_up(scene)
    everybody = [node.address for node in scene.nodes]
    with pytest.raises(NoNodeLeft) as refused:
        await restored(coordinator, tag, excluded_nodes=everybody)
    assert refused.value.fields == {"nodes": everybody}
    assert refused.value.todo.startswith("Exclude fewer nodes")
    assert "force" not in refused.value.todo


async def test_a_node_without_a_part_is_not_told_to_wait_for(scene: Scene) -> None:
    """Promise: what this backup can never restore is said to be so; a node that was silent may be restored later."""
    coordinator, tag = await backed_up(scene)
    lost = scene.nodes[1]
    del scene.world.places[f"{lost.number}:there"].manifests[tag, lost.host_id]
    request = await restored(coordinator, tag, force=True)
    assert (request.state, request.partial) == (RequestState.ERROR, True)
    assert request.error is not None
    error = request.error["fields"]["nodes"][lost.address]
    assert (error["code"], error["retry"]) == ("no_part_in_backup", "never")
    assert "can't restore the node" in error["todo"]
    assert scene.world.count(Kind.IMPORT) == 2
