"""What an order to go back to a point makes of three nodes: barriers, and how the nodes are when it ends early."""

import asyncio
import shutil
from collections import Counter
from typing import Any

import pytest

from agent.wire.archiving import LogGap
from agent.wire.commands import Kind
from agent.wire.results import ViewCql
from coordinator.model.orders import PointInTimeOrder, RestoreOrder
from coordinator.model.requests import Request, RequestState
from coordinator.orchestrate.errors import KeyspaceRefused, PastThePointOfReturn, RestoreRunning
from coordinator.orchestrate.point_in_time.errors import JobUnfinished, NoSnapshot
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, ToyCoordinator, copies
from tests.cluster.toy_point_in_time import write
from tests.orchestrate.conftest import Scene

VIEW = ViewCql("shop", "orders_by_day", "orders", "shop orders_by_day orders")
SHOP = {"shop": ["orders"]}
ONCE = frozenset({Kind.PIT_FETCH, Kind.PIT_STOP, Kind.PIT_COVER, Kind.PIT_PLACE, Kind.PIT_VERIFY, Kind.PIT_OPEN})
PHASES = [
    Kind.PIT_FETCH,
    Kind.PIT_QUIESCE,
    Kind.PIT_STOP,
    Kind.PIT_COVER,
    Kind.PIT_PLACE,
    Kind.PIT_START,
    Kind.PIT_VERIFY,
    Kind.PIT_OPEN,
]


class Story:
    """A backup, rows before the point on each node, rows after it."""

    def __init__(self, scene: Scene, coordinator: ToyCoordinator, tag: str) -> None:
        self.scene = scene
        self.coordinator = coordinator
        self.tag = tag
        self.point = int(unix_seconds() * 1_000_000) + 5_000_000
        self.wanted = {}
        for node in scene.nodes:
            write(node, "shop", "orders", f"before {node.number}", self.point)
            self.wanted[node.number] = {key: set(rows) for key, rows in node.rows.items()}
            write(node, "shop", "orders", f"after {node.number}", self.point + 1)
            write(node, "many", "t1", f"elsewhere {node.number}", self.point + 1)
            self.wanted[node.number]["many", "t1"].add(f"elsewhere {node.number}")
        self.before = scene.world.rows()

    def order(self, **changes: Any) -> PointInTimeOrder:
        known: dict[str, Any] = {"pit_micros": self.point, "keyspaces": SHOP, "destination": "there"}
        return PointInTimeOrder(**{**known, **changes})

    async def start(self, **changes: Any) -> str:
        return await self.coordinator.orchestrator.points.start(CLUSTER, self.order(**changes))

    async def restored(self, **changes: Any) -> Request:
        return await self.coordinator.ended(await self.start(**changes))

    def is_restored(self) -> bool:
        """Every node holds what it held at the point, of the asked table alone, and serves."""
        rows = {node.number: {key: set(each) for key, each in node.rows.items()} for node in self.scene.nodes}
        return rows == self.wanted and self.serves()

    def is_as_before(self) -> bool:
        """Every node has its old data and serves."""
        return self.scene.world.rows() == self.before and self.serves()

    def serves(self) -> bool:
        return all(node.up and node.point.native for node in self.scene.nodes)

    def nothing_left(self) -> bool:
        return not any(node.point.held or node.point.aside for node in self.scene.nodes)

    def begin_anew(self) -> None:
        """The cluster as before any restore: its rows, and no document of a job."""
        for agent in self.scene.agents:
            shutil.rmtree(self.scene.directory / f"agent{agent.node.number}" / "job-documents", ignore_errors=True)
        for node in self.scene.nodes:
            node.done.clear()
            node.point.starts = 0
            node.rows = {key: set(rows) for key, rows in self.before[node.host_id].items()}
            assert node.up

    def done_once(self) -> bool:
        """Whether no node did any work twice: one that runs is told to start again, which changes nothing there."""
        done = Counter((node.number, kind) for node in self.scene.nodes for kind, _ in node.done if kind in ONCE)
        once = set(done.values()) == {1} and len(done) == 3 * len(ONCE)
        return once and all(node.point.starts == 1 for node in self.scene.nodes)

    async def documents_ended(self) -> bool:
        """Whether most agents know the end: no more are waited for."""
        kept = [await agent.documents.all() for agent in self.scene.agents]
        return 2 * sum(bool(own) and all(each.ended for each in own) for own in kept) > len(kept)


@pytest.fixture
async def story(scene: Scene) -> Story:
    coordinator = await scene.coordinator()
    await coordinator.destination("there")
    tag, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert request.state is RequestState.SUCCESS
    return Story(scene, coordinator, tag)


async def test_every_node_gets_the_rows_of_the_point_and_no_other_table_is_touched(story: Story) -> None:
    """Promise: exactly the rows with a time up to the point, in the asked table; nothing is left of the job."""
    request = await story.restored()
    assert request.state is RequestState.SUCCESS, request
    assert story.is_restored()
    assert story.nothing_left()
    assert await story.documents_ended()
    assert request.tag == story.tag
    assert request.keyspaces == SHOP
    assert request.result["pit_micros"] == story.point
    assert request.message.startswith("restored to ")
    assert ": shop.orders; clients were shut out for " in request.message
    assert request.message.endswith(" s; take a backup now")
    assert request.result["clients_shut_out_seconds"] >= 0
    assert set(request.result["replayed"]) == {node.address for node in story.scene.nodes}


async def test_what_the_order_could_not_have_is_told_at_the_end(story: Story) -> None:
    """Promise: warnings of the order stand beside the restore's own."""
    request_id = await story.coordinator.orchestrator.points.start(CLUSTER, story.order(), ["not followed"])
    request = await story.coordinator.ended(request_id)
    assert request.result["warnings"][0] == "not followed"
    assert len(request.result["warnings"]) > 1


async def test_views_go_first_and_come_back_last(story: Story) -> None:
    """Promise: a view of an asked table is dropped while all is up, and made again when clients are let in."""
    story.scene.world.views["shop", VIEW.name] = VIEW
    request = await story.restored()
    assert request.state is RequestState.SUCCESS, request
    assert story.scene.world.views == {("shop", VIEW.name): VIEW}
    assert story.scene.world.count(Kind.PIT_TABLES) == story.scene.world.count(Kind.CREATE_VIEWS) == 1


async def test_a_table_with_another_id_is_made_with_that_of_the_point(story: Story) -> None:
    """Promise: the table has the id it had at the point, and the answer says what is owed of the one that was there."""
    for node in story.scene.nodes:
        node.point.ids_at_pit["shop", "orders"] = "id then"
    request = await story.restored()
    assert request.state is RequestState.SUCCESS, request
    assert story.scene.world.tables["shop"]["orders"] == "id then"
    assert story.is_restored()
    assert any("dropped-*" in warning for warning in request.result["warnings"])


async def test_an_undone_restore_tells_where_the_dropped_tables_rows_are(story: Story) -> None:
    """Promise: also those of nodes whose Cassandra keeps nothing itself, and that these lack what came after."""
    for node in story.scene.nodes:
        node.point.ids_at_pit["shop", "orders"] = "id then"
    story.scene.nodes[1].failures[Kind.PIT_QUIESCE] = [ToyFailure("cassandra_unavailable", "down")] * 4
    request = await story.restored()
    assert request.state is RequestState.ERROR
    assert f"helenus-dropped-{request.id}, without what was written after it" in request.message


async def test_a_node_that_is_down_is_started_once_first(story: Story) -> None:
    """Promise: its own log is replayed before anything is decided, and the answer names it."""
    story.scene.nodes[1].up = False
    request = await story.restored()
    assert request.state is RequestState.SUCCESS, request
    assert story.scene.world.count(Kind.RESTART) == 1
    assert request.result["nodes_started_first"] == [story.scene.nodes[1].address]
    assert story.is_restored()


async def test_who_needs_another_node_to_start_is_told_again_once_one_is_up(story: Story) -> None:
    """Promise: a node that isn't a seed, told first, doesn't end the restore."""
    for node in story.scene.nodes[:2]:
        node.point.needs_peer = True
    request = await story.restored()
    assert request.state is RequestState.SUCCESS, request
    assert story.is_restored()


@pytest.mark.parametrize("kind", [Kind.PIT_FETCH, Kind.PIT_QUIESCE, Kind.PIT_STOP, Kind.PIT_COVER])
async def test_who_refuses_before_the_point_of_no_return_leaves_all_as_it_was(story: Story, kind: Kind) -> None:
    """Promise: every node runs with its old data, clients are let in, nothing is set aside or staged, and the message
    says so."""
    story.scene.world.views["shop", VIEW.name] = VIEW
    story.scene.nodes[2].failures[kind] = [ToyFailure("staging_refused", "no") for _ in range(5)]
    request = await story.restored()
    assert request.state is RequestState.ERROR
    assert request.error is not None
    assert request.error["fields"]["nodes"][story.scene.nodes[2].address]["code"] == "staging_refused"
    assert story.is_as_before()
    assert story.nothing_left()
    assert await story.documents_ended()
    assert story.scene.world.views == {("shop", VIEW.name): VIEW}
    assert story.scene.world.count(Kind.PIT_PLACE) == 0
    stopped = kind is not Kind.PIT_FETCH
    assert ("every node runs with its old data" if stopped else "no node was stopped") in request.message
    assert "resumable_job" not in request.result


async def test_a_log_that_does_not_reach_the_point_is_a_barrier(story: Story) -> None:
    """Promise: short on one node, with its own log added: the cluster comes up with its old data and nothing was set
    aside; the answer names the node and until when its log reaches. Force goes on, and says so."""
    short = story.scene.nodes[1]
    short.point.covered = story.point / 1_000_000 - 1
    short.point.gaps = [LogGap("CommitLog-7-5.log", "", story.point / 1e6 - 1, story.point / 1e6 + 9, "it was cut")]
    request = await story.restored()
    assert (request.state, (request.error or {}).get("code")) == (RequestState.ERROR, "log_incomplete")
    assert list((request.error or {})["fields"]["nodes"]) == [short.address]
    assert "it was cut" in request.message
    assert story.is_as_before()
    assert story.nothing_left()
    assert story.scene.world.count(Kind.PIT_PLACE) == 0
    forced = await story.restored(force=True)
    assert forced.state is RequestState.SUCCESS, forced
    assert any(text.startswith("forced: The logs don't reach") for text in forced.result["warnings"])
    assert story.is_restored()


@pytest.mark.parametrize("kind", [Kind.PIT_PLACE, Kind.PIT_START, Kind.PIT_VERIFY, Kind.PIT_OPEN])
async def test_who_fails_after_it_is_gone_on_with_by_the_same_restore(story: Story, kind: Kind) -> None:
    """Promise: what was there is kept, the message says how the nodes are, and the same POST finishes the job."""
    story.scene.nodes[2].failures[kind] = [ToyFailure("disk_full", "no room") for _ in range(2)]
    first = await story.restored()
    assert first.state is RequestState.ERROR
    assert "the same restore sent again goes on" in first.message
    if kind is not Kind.PIT_PLACE:
        assert all(node.point.aside for node in story.scene.nodes)
    if kind is Kind.PIT_VERIFY:
        assert "3 of 3 nodes run and let no client in; what was there before" in first.message
    second = await story.restored()
    if second.state is RequestState.ERROR:
        second = await story.restored()
    assert second.state is RequestState.SUCCESS, second
    assert second.result["job"] == first.id
    assert story.is_restored()
    assert story.nothing_left()
    assert story.scene.world.count(Kind.PIT_FETCH) == 3


async def test_another_point_waits_for_one_that_stopped_half_way(story: Story) -> None:
    """Promise: with a node of it still down, another point is refused by its name, and stops nothing; it is ordered
    when the first one has ended."""
    story.scene.nodes[2].failures[Kind.PIT_START] = [ToyFailure("cassandra_not_started", "no")] * 2
    first = await story.restored()
    assert first.state is RequestState.ERROR
    stops = story.scene.world.count(Kind.PIT_STOP)
    with pytest.raises(JobUnfinished, match="stopped half-way") as refused:
        await story.start(keyspaces={"many": []})
    assert (refused.value.fields["request"], refused.value.fields["job"]) == (first.id, first.id)
    assert (story.scene.world.count(Kind.RESTART), story.scene.world.count(Kind.PIT_STOP)) == (0, stops)
    assert (await story.restored()).state is RequestState.SUCCESS
    assert (await story.restored(keyspaces={"many": []})).state is RequestState.SUCCESS


async def test_replay_errors_stop_before_clients_are_let_in_and_only_force_goes_on(story: Story) -> None:
    """Promise: what Cassandra could not replay is told by node, and nobody writes to it before a person says so."""
    story.scene.nodes[0].point.replay_errors = ["Replay stopped at 4711"]
    first = await story.restored()
    assert (first.state, (first.error or {}).get("code")) == (RequestState.ERROR, "replay_failed")
    assert "4711" in first.message
    assert not any(node.point.native for node in story.scene.nodes)
    second = await story.restored(force=True)
    assert second.state is RequestState.SUCCESS, second
    assert story.is_restored()


@pytest.mark.parametrize("kind", PHASES)
async def test_an_agent_that_restarts_in_a_phase_is_told_again(story: Story, kind: Kind) -> None:
    """Promise: a command that was cut off is told anew to the same node, and the restore ends as ever."""
    node = story.scene.nodes[1]
    node.gates[kind] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[kind].wait(), 20)
    await story.scene.agents[1].stop()
    node.gates.pop(kind).set()
    await story.scene.agents[1].start()
    request = await story.coordinator.ended(request_id)
    assert request.state is RequestState.SUCCESS, request
    assert story.is_restored()


@pytest.mark.parametrize("kind", [Kind.PIT_QUIESCE, Kind.PIT_STOP, Kind.PIT_COVER])
async def test_an_agent_that_stays_away_before_the_point_of_no_return_is_owed_its_old_data(
    story: Story, kind: Kind
) -> None:
    """Promise: the others run with their old data; the node that is lost is named, and the same POST, once its agent is
    back, brings it back too."""
    node = story.scene.nodes[1]
    node.gates[kind] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[kind].wait(), 20)
    await story.scene.agents[1].stop()
    node.gates.pop(kind).set()
    request = await story.coordinator.ended(request_id)
    assert request.state is RequestState.ERROR
    assert f"{node.address} could not be given the old data back yet" in request.message
    assert all(each.up and each.point.native for each in story.scene.nodes if each is not node)
    await story.scene.agents[1].start()
    again = await story.restored()
    assert again.state is RequestState.ERROR
    assert "every node runs with its old data" in again.message
    assert story.is_as_before()
    assert (await story.restored()).state is RequestState.SUCCESS
    assert story.is_restored()


async def cancelled_at(story: Story, kind: Kind, *, force: bool) -> Request:
    """Cancel while the second node is about to do this."""
    node = story.scene.nodes[1]
    node.gates[kind] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[kind].wait(), 20)
    cancel = asyncio.create_task(story.coordinator.orchestrator.cancel(request_id, force=force))
    try:
        await cancel
    finally:
        await asyncio.sleep(0.05)
        node.gates.pop(kind).set()
    return await story.coordinator.ended(request_id)


@pytest.mark.parametrize("kind", [Kind.PIT_FETCH, Kind.PIT_QUIESCE, Kind.PIT_STOP, Kind.PIT_COVER])
async def test_a_cancel_before_the_point_of_no_return_brings_all_back(story: Story, kind: Kind) -> None:
    """Promise: cancelled, every node runs with its old data and nothing is left of it."""
    request = await cancelled_at(story, kind, force=False)
    assert request.state is RequestState.CANCELLED
    assert story.is_as_before()
    assert story.nothing_left()


@pytest.mark.parametrize("kind", [Kind.PIT_PLACE, Kind.PIT_START, Kind.PIT_VERIFY])
async def test_a_cancel_after_it_takes_force_and_brings_all_back(story: Story, kind: Kind) -> None:
    """Promise: without force 409, with it every node gets its old data back from wherever it stands."""
    node = story.scene.nodes[1]
    node.gates[kind] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[kind].wait(), 20)
    with pytest.raises(PastThePointOfReturn, match="force"):
        await story.coordinator.orchestrator.cancel(request_id, force=False)
    await story.coordinator.orchestrator.cancel(request_id, force=True)
    node.gates.pop(kind).set()
    request = await story.coordinator.ended(request_id)
    assert request.state is RequestState.CANCELLED
    assert "every node runs with its old data" in request.message
    assert story.is_as_before()
    assert story.nothing_left()


async def test_no_node_is_stopped_that_most_agents_would_not_remember(story: Story) -> None:
    """Promise: while fewer than half of the agents keep the job's document nothing is stopped, and the restore ends
    with everything as it was."""
    for agent in story.scene.agents[:2]:
        agent.documents.refuses = True
    request = await story.restored()
    assert (request.state, (request.error or {}).get("code")) == (RequestState.ERROR, "job_not_kept")
    assert story.scene.world.count(Kind.PIT_QUIESCE) == 0
    assert story.is_as_before()


async def test_the_same_restore_is_one_and_every_other_has_to_wait(story: Story) -> None:
    """Promise: the same POST is the running request, with force it is refused while it runs without; another restore,
    to a point or not, is refused while nodes are stopped."""
    first = story.scene.nodes[0]
    first.gates[Kind.PIT_FETCH] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(first.begun[Kind.PIT_FETCH].wait(), 20)
    assert await story.start() == request_id
    with pytest.raises(RestoreRunning):
        await story.start(force=True)
    with pytest.raises(RestoreRunning):
        await story.start(keyspaces={"many": []})
    with pytest.raises(RestoreRunning):
        await story.coordinator.orchestrator.start_restore(CLUSTER, RestoreOrder(story.tag, destination="there"))
    first.gates.pop(Kind.PIT_FETCH).set()
    assert (await story.coordinator.ended(request_id)).state is RequestState.SUCCESS


async def test_what_can_not_be_is_refused_at_once(story: Story) -> None:
    """Promise: no snapshot old enough is the reference's own sentence; the cluster's own keyspaces are refused."""
    with pytest.raises(
        NoSnapshot, match=r"No snapshots found before date and time: 01-01-1970 00:00:05 UTC"
    ) as refused:
        await story.start(pit_micros=5_999_999)
    assert refused.value.status == 400
    assert f"the first one after it is {story.tag}, begun at " in refused.value.message
    assert refused.value.fields["first_backup"] == story.tag
    with pytest.raises(NoSnapshot) as refused:
        await story.start(pit_micros=5_999_999, keyspaces={"of_nobody": []})
    assert "first_backup" not in refused.value.fields
    with pytest.raises(KeyspaceRefused):
        await story.start(keyspaces={"system_auth": []})
    assert story.is_as_before()
