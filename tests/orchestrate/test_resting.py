"""Backups that a restore which stopped half-way rests on: who may delete them, and from when on."""

import asyncio

import msgspec
import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import DeleteOrder, RestoreOrder, RestoreTables
from coordinator.model.requests import Request, RequestState
from coordinator.model.retention import KeptRule, Rule
from coordinator.orchestrate.errors import RestoreUnfinished
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_point_followed import another
from tests.orchestrate.test_point_in_time import Story
from tests.orchestrate.test_point_in_time import story as story
from tests.orchestrate.test_restore_flow import VIEW

DAY = 86_400


def fail_imports(scene: Scene) -> None:
    """One node takes none, until its failures are cleared."""
    scene.nodes[1].failures[Kind.IMPORT] = [ToyFailure("not_enough_space", "full") for _ in range(4)]


async def restored(coordinator: ToyCoordinator, tag: str, place: str | None = "there", *tables: str) -> Request:
    """An ended restore that empties the tables of `shop`, none named = all that the backup has."""
    asked = {"shop": RestoreTables([*tables], truncate=True)} if tables else None
    order = RestoreOrder(tag, place, asked, truncate=asked is None)
    return await coordinator.ended(await coordinator.orchestrator.start_restore(CLUSTER, order))


async def deleted(coordinator: ToyCoordinator, tag: str, place: str | None = "there") -> RequestState:
    """How the delete ends. Raises what refuses it."""
    request = await coordinator.ended(await coordinator.orchestrator.start_delete(CLUSTER, DeleteOrder(tag, place)))
    return request.state


@pytest.fixture
async def coordinator(scene: Scene) -> ToyCoordinator:
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    return coordinator


@pytest.mark.parametrize(("place", "other"), [(None, "there"), ("there", None)])
async def test_it_stays_until_the_same_restore_has_succeeded(
    place: str | None, other: str | None, scene: Scene, coordinator: ToyCoordinator
) -> None:
    """Promise: a delete of the backup is refused, and names the restore and its tables; the copy at another place may
    go; nothing is marked, so that the restore sent again brings every row back, and then the backup may go."""
    before = scene.world.rows()
    tag, _ = await coordinator.backup(keep=True, copies=copies("there"))
    fail_imports(scene)
    stopped = await restored(coordinator, tag, place)
    assert stopped.state is RequestState.ERROR
    with pytest.raises(RestoreUnfinished) as refused:
        await deleted(coordinator, tag, place)
    assert refused.value.status == 409
    assert refused.value.fields["request"] == stopped.id
    assert refused.value.fields["tables"] == ["many.t1", "shop.orders", "shop.users"]
    assert stopped.id in refused.value.message
    assert await deleted(coordinator, tag, other) is RequestState.SUCCESS
    scene.nodes[1].failures.clear()
    assert (await restored(coordinator, tag, place)).state is RequestState.SUCCESS
    assert scene.world.rows() == before
    assert await deleted(coordinator, tag, place) is RequestState.SUCCESS


async def test_other_restores_end_it_once_they_have_brought_back_all_its_tables(
    scene: Scene, coordinator: ToyCoordinator
) -> None:
    """Promise: one that brings back some of its tables, or that fails, frees nothing, though the first can't be gone on
    with any more; once the last table is back, from whichever backup, the delete is taken."""
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    later, _ = await coordinator.backup(keep=False, copies=copies("there"))
    fail_imports(scene)
    first = await restored(coordinator, tag, "there", "orders", "users")
    second = await restored(coordinator, later, "there", "users")
    assert [each.state for each in (first, second)] == [RequestState.ERROR] * 2
    scene.nodes[1].failures.clear()
    assert (await restored(coordinator, later, "there", "orders")).state is RequestState.SUCCESS
    with pytest.raises(RestoreUnfinished) as refused:
        await deleted(coordinator, tag)
    assert (refused.value.fields["request"], refused.value.fields["tables"]) == (first.id, ["shop.users"])
    assert (await restored(coordinator, later, "there", "users")).state is RequestState.SUCCESS
    assert await deleted(coordinator, tag) is RequestState.SUCCESS


async def test_dropped_tables_need_no_backup(scene: Scene, coordinator: ToyCoordinator) -> None:
    """Promise: a person who gives the rows up drops the tables, and may delete the backup then; not while one of the
    tables is there, nor while a node doesn't tell."""
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    fail_imports(scene)
    assert (await restored(coordinator, tag, "there", "orders", "users")).state is RequestState.ERROR
    del scene.world.tables["shop"]["users"]
    with pytest.raises(RestoreUnfinished) as refused:
        await deleted(coordinator, tag)
    assert refused.value.fields["tables"] == ["shop.orders"]
    del scene.world.tables["shop"]["orders"]
    scene.nodes[2].up = False
    with pytest.raises(RestoreUnfinished):
        await deleted(coordinator, tag)
    scene.nodes[2].up = True
    assert await deleted(coordinator, tag) is RequestState.SUCCESS


async def test_where_only_views_are_owed_the_backup_may_go(scene: Scene, coordinator: ToyCoordinator) -> None:
    """Promise: a restore whose nodes all have their rows needs no backup to make its views, and makes them after the
    delete."""
    scene.world.views["shop", VIEW.name] = VIEW
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    scene.nodes[0].failures[Kind.CREATE_VIEWS] = [ToyFailure("cql_failed", "no") for _ in range(4)]
    stopped = await restored(coordinator, tag)
    assert (stopped.state, stopped.result["owed_views"]) == (RequestState.ERROR, [VIEW.statement])
    scene.nodes[0].failures.clear()
    assert await deleted(coordinator, tag) is RequestState.SUCCESS
    assert (await restored(coordinator, tag)).state is RequestState.SUCCESS
    assert scene.world.views == {("shop", VIEW.name): VIEW}


async def test_tables_that_the_restore_was_to_make_are_not_dropped_ones(
    scene: Scene, coordinator: ToyCoordinator
) -> None:
    """Promise: where the restore stopped before it had made a table, that it isn't there frees nothing."""
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    del scene.world.tables["shop"]["users"]
    scene.nodes[0].failures[Kind.SCHEMA] = [ToyFailure("cql_failed", "no") for _ in range(6)]
    stopped = await restored(coordinator, tag, "there", "users")
    assert (stopped.state, stopped.result.get("resumable_job")) == (RequestState.ERROR, stopped.id), stopped
    with pytest.raises(RestoreUnfinished):
        await deleted(coordinator, tag)


async def test_one_that_nobody_can_go_on_with_any_more_keeps_nothing(scene: Scene, coordinator: ToyCoordinator) -> None:
    """Promise: once the state has forgotten what the restore had decided, the backup may go."""
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    fail_imports(scene)
    assert (await restored(coordinator, tag)).state is RequestState.ERROR
    await coordinator.store.prune(unix_seconds() + 29 * DAY)
    with pytest.raises(RestoreUnfinished):
        await deleted(coordinator, tag)
    await coordinator.store.prune(unix_seconds() + 31 * DAY)
    assert await deleted(coordinator, tag) is RequestState.SUCCESS


async def kept_by_retention(coordinator: ToyCoordinator) -> dict[str, str]:
    """Tag → why it stays, by a rule that lets all but the newest go."""
    await coordinator.store.retention.put([KeptRule(CLUSTER, "there", "", Rule(count=1))])
    verdicts = await coordinator.retention.preview(CLUSTER, "there")
    return {one.tag: one.why for one in verdicts if not one.goes}


async def test_retention_keeps_it_though_another_table_was_restored_from_it(
    scene: Scene, coordinator: ToyCoordinator
) -> None:
    """Promise: a later restore of the same backup that succeeded for another table, or was refused, doesn't let it
    go."""
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    await coordinator.backup(keep=False, copies=copies("there"))
    fail_imports(scene)
    stopped = await restored(coordinator, tag, "there", "orders")
    scene.nodes[1].failures.clear()
    assert (await restored(coordinator, tag, "there", "users")).state is RequestState.SUCCESS
    why = f"the restore {stopped.id} stopped half-way and needs it to go on"
    assert (await kept_by_retention(coordinator)).get(tag) == why
    assert (await restored(coordinator, tag, "there", "orders")).state is RequestState.SUCCESS
    assert tag not in await kept_by_retention(coordinator)


async def half_way(story: Story) -> Request:
    """A restore to the point that one node could not verify."""
    story.scene.nodes[2].failures[Kind.PIT_VERIFY] = [ToyFailure("disk_full", "no room")]
    stopped = await story.restored()
    assert stopped.state is RequestState.ERROR
    return stopped


async def test_one_to_a_point_keeps_its_backup_until_it_has_ended(story: Story) -> None:
    """Promise: while nodes may be stopped for a restore to a point, neither a person nor retention deletes the backup
    that it began from."""
    await asyncio.sleep(10)  # the newest backup, which retention keeps anyway, is one after the point
    await story.coordinator.backup(keep=False, copies=copies("there"))
    stopped = await half_way(story)
    assert stopped.tag == story.tag
    with pytest.raises(RestoreUnfinished, match="point in time") as refused:
        await deleted(story.coordinator, story.tag)
    assert refused.value.fields["request"] == stopped.id
    why = f"the restore {stopped.id} stopped half-way and needs it to go on"
    assert (await kept_by_retention(story.coordinator))[story.tag] == why
    assert (await story.restored()).state is RequestState.SUCCESS
    assert story.tag not in await kept_by_retention(story.coordinator)
    assert await deleted(story.coordinator, story.tag) is RequestState.SUCCESS


async def test_a_coordinator_that_lost_its_state_hears_of_it_from_the_agents(story: Story) -> None:
    """Promise: the backup stays also where only the agents know of the restore that stopped, under whatever id the
    destination was added anew."""
    stopped = await half_way(story)
    await story.scene.stack.aclose()
    async with another(story.scene) as other:
        await other.destination("there")
        with pytest.raises(RestoreUnfinished) as refused:
            await deleted(other, story.tag)
        assert refused.value.fields["request"] == stopped.id


async def test_a_restore_that_left_a_node_out_frees_nothing_of_it(scene: Scene, coordinator: ToyCoordinator) -> None:
    """Promise: a later restore of the same tables, without the node that the first one could not do, is a success and
    has brought that node nothing back: neither a person nor retention deletes what it needs."""
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    await coordinator.backup(keep=False, copies=copies("there"))
    fail_imports(scene)
    stopped = await restored(coordinator, tag)
    order = RestoreOrder(tag, "there", truncate=True, excluded_nodes=[scene.nodes[1].host_id])
    later = await coordinator.ended(await coordinator.orchestrator.start_restore(CLUSTER, order))
    assert (later.state, later.result["nodes_not_restored"]) == (RequestState.SUCCESS, [scene.nodes[1].address])
    with pytest.raises(RestoreUnfinished) as refused:
        await deleted(coordinator, tag)
    assert refused.value.fields["request"] == stopped.id
    assert tag in await kept_by_retention(coordinator)
    scene.nodes[1].failures.clear()
    assert (await restored(coordinator, tag)).state is RequestState.SUCCESS
    assert await deleted(coordinator, tag) is RequestState.SUCCESS


async def test_one_to_a_point_that_is_being_undone_needs_no_backup(story: Story) -> None:
    """Promise: once its undo has begun the backup may go, also while a node owes its part of that: what it brings back
    was set aside on the nodes."""
    away = story.scene.nodes[2]
    away.failures[Kind.PIT_COVER] = [ToyFailure("staging_refused", "no")] * 5
    away.failures[Kind.PIT_UNDO] = [ToyFailure("cassandra_not_started", "no")] * 4
    stopped = await story.restored()
    assert "resumable_job" in stopped.result
    assert await deleted(story.coordinator, story.tag) is RequestState.SUCCESS


async def test_one_to_a_point_whose_nodes_left_the_ring_is_given_up(story: Story) -> None:
    """Promise: where the ring was rebuilt under new host ids nobody can go on with it: a person may delete its backup
    once every node tells so, while half of its nodes are there it stays."""
    stopped, store = await half_way(story), story.coordinator.store
    for node in story.scene.nodes:
        node.point.native = True  # the new ones serve
    scope = await store.requests.step(stopped.id, "scope")
    assert scope is not None

    async def leave(hosts: int) -> None:
        left = [{**node, "host_id": f"left {number}"} for number, node in enumerate(scope["nodes"][:hosts])]
        await store.requests.record_steps(stopped.id, {"scope": {**scope, "nodes": [*left, *scope["nodes"][hosts:]]}})

    await leave(1)
    with pytest.raises(RestoreUnfinished):
        await deleted(story.coordinator, story.tag)
    await leave(3)
    silent = story.scene.nodes[0]
    silent.up = False
    with pytest.raises(RestoreUnfinished):
        await deleted(story.coordinator, story.tag)
    silent.up = True
    assert await deleted(story.coordinator, story.tag) is RequestState.SUCCESS


async def test_one_to_a_point_that_another_coordinator_carries_out_keeps_its_backup(story: Story) -> None:
    """Promise: a coordinator that knows nothing of the restore hears from the agents that it runs, and doesn't delete
    what it reads, before it takes it over."""
    node = story.scene.nodes[1]
    node.gates[Kind.PIT_VERIFY] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[Kind.PIT_VERIFY].wait(), 30)
    async with another(story.scene) as other:
        await other.destination("there")
        with pytest.raises(RestoreUnfinished, match="is under way") as refused:
            await deleted(other, story.tag)
        assert refused.value.fields["request"] == request_id
    node.gates.pop(Kind.PIT_VERIFY).set()
    assert (await story.coordinator.ended(request_id)).state is RequestState.SUCCESS


async def test_force_frees_what_the_first_one_did_without_too(scene: Scene, coordinator: ToyCoordinator) -> None:
    """Promise: where both left the same node out by force the later one has brought back all that the first one was
    to; where the first one had all nodes it hasn't."""
    tag, _ = await coordinator.backup(keep=False, copies=copies("there"))
    later, _ = await coordinator.backup(keep=False, copies=copies("there"))

    async def forced(of: str) -> Request:
        order = RestoreOrder(of, "there", force=True)
        return await coordinator.ended(await coordinator.orchestrator.start_restore(CLUSTER, order))

    fail_imports(scene)
    whole = await forced(later)
    scene.nodes[2].up = False
    fail_imports(scene)
    without = await forced(tag)
    assert (whole.result.get("nodes_not_restored"), "resumable_job" in whole.result) == (None, True)
    assert (without.result["nodes_not_restored"], "resumable_job" in without.result) == ([scene.nodes[2].address], True)
    scene.nodes[1].failures.clear()
    third, _ = await coordinator.backup(keep=False, copies=copies("there"), partial=True)
    done = await forced(third)
    assert (done.state, "resumable_job" in done.result) == (RequestState.ERROR, False)
    scene.nodes[2].up = True
    assert await deleted(coordinator, tag) is RequestState.SUCCESS
    with pytest.raises(RestoreUnfinished):
        await deleted(coordinator, later)


@pytest.mark.parametrize("stops", [False, True])
async def test_an_end_that_the_agents_have_not_heard_of_counts(stops: bool, story: Story) -> None:
    """Promise: where no agent that answers has the end of a restore which this coordinator carried out, its success
    frees the backup and its stop half-way keeps it."""
    if stops:
        ended = await half_way(story)
    else:
        ended = await story.restored()
        assert ended.state is RequestState.SUCCESS
    for agent in story.scene.agents:
        document = await agent.documents.get(ended.id)
        carried = {**document.document, "resumable": False}
        await agent.documents.put(msgspec.structs.replace(document, fence=2**52, ended=False, document=carried))
    if stops:
        with pytest.raises(RestoreUnfinished, match="stopped half-way"):
            await deleted(story.coordinator, story.tag)
    else:
        assert await deleted(story.coordinator, story.tag) is RequestState.SUCCESS
