"""Nodes that a restore to a point has stopped: nobody is told to start them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from agent.wire.commands import Kind
from coordinator.model.cluster import ClusterNode
from coordinator.model.orders import ArchivingOrder, BackupOrder, PointInTimeOrder, RestoreOrder, SyncOrder
from coordinator.model.requests import Request, RequestKind, RequestState, spec_of
from coordinator.orchestrate.archiving.errors import ArchivingChanging
from coordinator.orchestrate.conflicts import Conflicts
from coordinator.orchestrate.errors import MissingNodes
from coordinator.orchestrate.point_in_time.errors import StoppedByRestore
from coordinator.orchestrate.point_in_time.scope import PitNode, PitScope
from coordinator.orchestrate.point_in_time.stopped import Stopped, stopped
from coordinator.orchestrate.run import Surroundings
from kit.errors import HelenusError
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.orchestrate.test_point_in_time import Story
from tests.orchestrate.test_point_in_time import story as story

Order = Callable[[Story], Awaitable[object]]
ORDERS: dict[str, Order] = {
    "backup": lambda story: story.coordinator.orchestrator.start_backup(CLUSTER, BackupOrder("tag", 5)),
    "sync": lambda story: story.coordinator.orchestrator.start_sync(
        CLUSTER, SyncOrder(story.tag, copies("other"), source="there")
    ),
    "restore": lambda story: story.coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(story.tag, "there")),
}


async def refusal(story: Story, order: Order) -> HelenusError:
    with pytest.raises(MissingNodes) as refused:
        await order(story)
    return refused.value


async def keyspaces(story: Story) -> object:
    return await story.coordinator.orchestrator.keyspaces(CLUSTER)


async def refusals(story: Story) -> list[HelenusError]:
    return [await refusal(story, order) for order in ORDERS.values()]


async def checked(story: Story) -> dict[str, Any]:
    """The error of a check of a point."""
    request = await story.coordinator.orchestrator.points.check(CLUSTER, story.order(check=True))
    assert request.error is not None
    return request.error


async def nodes(story: Story) -> list[ClusterNode]:
    """As they are now, not a moment ago."""
    for agent in story.coordinator.fleet.registry.agents(CLUSTER):
        agent.seen = 0.0
    return await story.coordinator.orchestrator.nodes(CLUSTER)


def warns(told: dict[str, Any], request_id: str) -> bool:
    """Whether it names the request, and says not to start Cassandra."""
    message, todo = str(told["message"]), str(told["todo"])
    named = told["fields"]["request"] == request_id and f"GET /request/{request_id}/status" in message
    right = told["code"] == StoppedByRestore.code and "start none by hand" in message
    return named and right and todo.startswith("Start no Cassandra by hand")


async def begun(story: Story, kind: Kind, *numbers: int) -> tuple[str, list[asyncio.Event]]:
    """The id of a restore that stands at `kind` on these nodes, and what lets it go on."""
    held = [story.scene.nodes[number] for number in numbers]
    gates = [node.gates.setdefault(kind, asyncio.Event()) for node in held]
    request_id = await story.start()
    await asyncio.gather(*(asyncio.wait_for(node.begun[kind].wait(), 10) for node in held))
    return request_id, gates


async def test_while_a_restore_has_all_nodes_stopped_nobody_is_told_to_start_one(story: Story) -> None:
    """Promise: every order that finds nodes down, a check of a point, and the trouble of each node name the request
    that has stopped them, where its status is, and say to start none; when it has ended, what is down is to be
    started as ever."""
    await story.coordinator.destination("other")
    request_id, gates = await begun(story, Kind.PIT_COVER, 0, 1, 2)
    addresses = [node.address for node in story.scene.nodes]
    for error in [*await refusals(story), await refusal(story, keyspaces)]:
        assert warns(error.as_dict(), request_id), error
        assert error.fields["missing_nodes"] == addresses
        assert "Start Cassandra" not in str(error.as_dict())
    assert warns(await checked(story), request_id)
    seen = await nodes(story)
    assert [node.address for node in seen] == addresses
    for node in seen:
        assert node.trouble is not None
        assert warns(node.trouble, request_id), node
        assert node.trouble["fields"]["trouble"] == "cassandra_unavailable"
    for gate in gates:
        gate.set()
    assert (await story.coordinator.ended(request_id)).state is RequestState.SUCCESS
    assert [node.trouble for node in await nodes(story)] == [None, None, None]
    story.scene.nodes[1].up = False
    assert {error.code for error in await refusals(story)} == {"missing_nodes"}
    assert [(node.trouble or {}).get("code") for node in await nodes(story)] == [None, "cassandra_unavailable", None]


async def test_a_node_that_is_not_let_clients_in_yet_beside_one_that_is_is_not_to_be_started(story: Story) -> None:
    """Promise: the same while only some nodes are in use again, and of one whose agent is lost as well: that it is the
    agent is said too."""
    await story.coordinator.destination("other")
    request_id, gates = await begun(story, Kind.PIT_OPEN, 1, 2)
    await story.scene.until(lambda: story.scene.nodes[0].point.native)
    await story.scene.agents[2].stop()
    addresses = [node.address for node in story.scene.nodes]
    for error in await refusals(story):
        assert warns(error.as_dict(), request_id), error
        assert error.fields["missing_nodes"] == addresses[1:]
        assert f"{addresses[2]}: its agent doesn't answer" in error.message
    first, second, third = await nodes(story)
    assert first.trouble is None
    assert second.trouble is not None
    assert warns(second.trouble, request_id)
    assert third.trouble is not None
    assert warns(third.trouble, request_id)
    assert third.trouble["fields"]["trouble"] == "agent_unreachable"
    await story.scene.agents[2].start()
    for gate in gates:
        gate.set()
    assert (await story.coordinator.ended(request_id)).state is RequestState.SUCCESS


async def test_before_a_restore_stops_nodes_what_is_down_is_to_be_started(story: Story) -> None:
    """Promise: while a restore only fetches it has stopped nobody: a node that went down by itself is told as ever."""
    await story.coordinator.destination("other")
    request_id, gates = await begun(story, Kind.PIT_FETCH, 0, 1, 2)
    story.scene.nodes[2].up = False
    assert {error.code for error in await refusals(story)} == {"missing_nodes"}
    assert [(node.trouble or {}).get("code") for node in await nodes(story)] == [None, None, "cassandra_unavailable"]
    story.scene.nodes[2].up = True
    for gate in gates:
        gate.set()
    assert (await story.coordinator.ended(request_id)).state is RequestState.SUCCESS


async def test_nodes_that_a_restore_left_half_way_are_not_to_be_started_by_hand(story: Story) -> None:
    """Promise: also when the request has ended: it is named, a coordinator that was started again knows it too, and
    once the same restore was sent again and has ended all is as ever."""
    await story.coordinator.destination("other")
    for node in story.scene.nodes:
        node.failures[Kind.PIT_PLACE] = [ToyFailure("disk_full", "no room")] * 4
    ended = await story.restored()
    assert ended.state is RequestState.ERROR
    await story.scene.stack.aclose()
    story.coordinator = await story.scene.coordinator()
    for error in await refusals(story):
        assert warns(error.as_dict(), ended.id), error
        assert "stopped half-way" in error.message
    off = await refusal(story, lambda story: story.coordinator.archiving.start(CLUSTER, ArchivingOrder(False)))
    assert warns(off.as_dict(), ended.id)
    assert all(warns(node.trouble or {}, ended.id) for node in await nodes(story))
    for node in story.scene.nodes:
        node.failures[Kind.PIT_PLACE] = []
    assert (await story.restored()).state is RequestState.SUCCESS
    assert [node.trouble for node in await nodes(story)] == [None, None, None]


async def test_orders_that_need_agents_alone_say_it_too_when_none_answers(story: Story) -> None:
    """Promise: nor does one to whom no agent answers at all, for these machines are not to be started at random."""
    request_id, gates = await begun(story, Kind.PIT_COVER, 0, 1, 2)
    for agent in story.scene.agents:
        await agent.stop()
    await nodes(story)
    error = await refusal(story, lambda story: story.coordinator.orchestrator.list_backups(CLUSTER, "there"))
    assert warns(error.as_dict(), request_id)
    assert all(warns(node.trouble or {}, request_id) for node in await nodes(story))
    for agent in story.scene.agents:
        await agent.start()
    for gate in gates:
        gate.set()
    assert (await story.coordinator.ended(request_id)).state is RequestState.SUCCESS


async def test_nodes_that_have_their_old_data_again_are_told_of_as_ever(story: Story) -> None:
    """Promise: where an undo failed on one node, the others are nobody's any more: one that goes down later is to be
    started, and the one that is owed its data is not."""
    owed = story.scene.nodes[2]
    owed.failures[Kind.PIT_COVER] = [ToyFailure("staging_refused", "no")] * 5
    owed.failures[Kind.PIT_UNDO] = [ToyFailure("cassandra_not_started", "no")] * 4
    ended = await story.restored()
    assert "resumable_job" in ended.result
    story.scene.nodes[0].up = False
    first, second, third = await nodes(story)
    assert ((first.trouble or {}).get("code"), second.trouble) == ("cassandra_unavailable", None)
    assert warns(third.trouble or {}, ended.id)


ORDER = PointInTimeOrder(5, {"shop": []}, "there")
SCOPE = msgspec.to_builtins(PitScope([PitNode("h1", "n1", "a1"), PitNode("h2", "n2", "a2")], None, None))


@pytest.mark.parametrize(
    ("noted", "holds"),
    [
        ([], False),
        (["scope"], False),
        (["stopping"], False),
        (["scope", "stopping"], True),
        (["scope", "handed_over"], True),
        (["scope", "handed_over", "stopping", "opened"], False),
        (["scope", "stopping", "undone"], False),
    ],
)
@pytest.mark.parametrize("state", [RequestState.RUNNING, RequestState.ERROR])
def test_a_restore_holds_its_nodes_from_before_the_first_stop_until_clients_are_let_in(
    noted: list[str], holds: bool, state: RequestState
) -> None:
    """Promise: by what is noted alone, and only its own nodes: and those of which nobody knows whose they are."""
    request = Request("id", RequestKind.POINT_IN_TIME, CLUSTER, state, 1.0, spec_of(ORDER))
    told = {"scope": SCOPE, "undone": {"hosts": ["h1", "h2"]}}
    found = stopped(request, {step: told.get(step, {}) for step in noted})
    assert (found is not None) is holds
    if found is not None:
        assert found.running is (state is RequestState.RUNNING)
        assert [found.has(host) for host in ("h1", "h2", "h3", "")] == [True, True, False, True]


def test_a_node_that_an_undo_left_to_another_restore_is_not_to_be_started() -> None:
    """Promise: of the nodes that an undo is through with, those that another restore keeps down are still told of."""
    request = Request("id", RequestKind.POINT_IN_TIME, CLUSTER, RequestState.ERROR, 1.0, spec_of(ORDER))
    noted = {"scope": SCOPE, "stopping": {}, "undone": {"hosts": ["h1", "h2"]}, "left_down": {"hosts": ["h2"]}}
    found = stopped(request, noted)
    assert found is not None
    assert [found.has(host) for host in ("h1", "h2")] == [False, True]


async def test_beside_a_rolling_restart_what_a_restore_stopped_is_told_as_that_restart(story: Story) -> None:
    """Promise: a node that is missing while nodes are restarted for archiving names that request, also where a restore
    that stopped half-way has it too."""
    store = story.coordinator.store
    order = spec_of(ArchivingOrder(True))
    await store.requests.create(Request("restarts", RequestKind.ARCHIVING, CLUSTER, RequestState.RUNNING, 1.0, order))
    conflicts = Conflicts(Surroundings(store, story.coordinator.fleet.registry, story.coordinator.fleet.reports))
    with pytest.raises(ArchivingChanging, match="start none by hand") as refused:
        async with conflicts.missing_by_restarts(CLUSTER):
            raise Stopped("half way", 1.0, frozenset({"h1"}), running=False).error("down")
    assert refused.value.fields["request"] == "restarts"


async def test_a_cluster_that_is_down_by_itself_is_to_be_started(story: Story) -> None:
    """Promise: a restore that stopped half-way on nodes which are none of the cluster's any more is nobody's reason to
    leave Cassandra down."""
    node = story.scene.nodes[2]
    node.failures[Kind.PIT_VERIFY] = [ToyFailure("disk_full", "no room")]
    ended = await story.restored()
    store = story.coordinator.store
    scope = await store.requests.step(ended.id, "scope")
    assert scope is not None
    left = [{**each, "host_id": f"left {number}"} for number, each in enumerate(scope["nodes"])]
    await store.requests.record_steps(ended.id, {"scope": {**scope, "nodes": left}})
    for each in story.scene.nodes:
        each.up = False
    error = await refusal(story, ORDERS["backup"])
    assert error.code == "missing_nodes"
