"""Two coordinators over the same agents: who carries a job that stops nodes out, and who leaves it alone."""

import asyncio
import uuid

import msgspec
import pytest
from structlog.testing import capture_logs

from agent.wire.commands import Kind
from agent.wire.point_in_time import JobDocument
from coordinator.model.orders import TrimLogsOrder
from coordinator.model.requests import Request, RequestKind, RequestState
from coordinator.orchestrate.errors import NobodyAnswers, RestoreRunning
from coordinator.orchestrate.point_in_time.errors import JobUnfinished
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, DEADLINE, TIMING, ToyCoordinator
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_point_in_time import Story
from tests.orchestrate.test_point_in_time import story as story


def another(scene: Scene) -> ToyCoordinator:
    """One that knows the agents and nothing else."""
    return ToyCoordinator(scene.directory / "another", [agent.url for agent in scene.agents])


async def adopted(coordinator: ToyCoordinator) -> str:
    """The id of the newest restore to a point that it has, once it has one."""
    async with asyncio.timeout(DEADLINE):
        while True:
            await asyncio.sleep(0.02)
            found = await coordinator.store.requests.find(kind=RequestKind.POINT_IN_TIME)
            if found:
                return found[-1].id


async def lost(story: Story, other: ToyCoordinator, request_id: str) -> None:
    """The restore, which is fetching, is the other one's now: it stands still there, with every node stopped."""
    node = story.scene.nodes[1]
    await other.orchestrator.points.start(CLUSTER, story.order())
    node.gates[Kind.PIT_COVER] = asyncio.Event()
    node.gates.pop(Kind.PIT_FETCH).set()
    await asyncio.wait_for(node.begun[Kind.PIT_COVER].wait(), DEADLINE)
    former = await story.coordinator.ended(request_id)
    assert (former.error or {}).get("code") == "job_taken_over"


async def test_a_job_is_taken_over_when_its_coordinator_is_gone_and_not_before(story: Story) -> None:
    """Promise: as long as somebody writes to the job's document nobody takes it, however long a phase lasts; once
    nobody does, another coordinator ends it, with all nodes stopped, and no command is done twice."""
    node = story.scene.nodes[1]
    node.gates[Kind.PIT_COVER] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[Kind.PIT_COVER].wait(), DEADLINE)
    async with another(story.scene) as other:
        await asyncio.sleep(TIMING.take_over * 5)
        assert await other.store.requests.find(kind=RequestKind.POINT_IN_TIME) == []
        await story.scene.stack.aclose()
        assert await adopted(other) == request_id
        node.gates.pop(Kind.PIT_COVER).set()
        request = await other.ended(request_id)
        assert request.state is RequestState.SUCCESS, request
    assert story.is_restored()
    assert story.nothing_left()
    assert story.scene.world.count(Kind.PIT_STOP) == story.scene.world.count(Kind.PIT_COVER) == 3


async def test_who_is_followed_leaves_all_as_it_is(story: Story) -> None:
    """Promise: the same POST at another coordinator takes the job; the first one, alive, ends its request at its next
    step, and neither undoes nor cancels what the other does."""
    node = story.scene.nodes[1]
    node.gates[Kind.PIT_COVER] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[Kind.PIT_COVER].wait(), DEADLINE)
    async with another(story.scene) as other:
        assert await other.orchestrator.points.start(CLUSTER, story.order()) == request_id
        await asyncio.sleep(TIMING.take_over)
        node.gates.pop(Kind.PIT_COVER).set()
        request = await other.ended(request_id)
        assert request.state is RequestState.SUCCESS, request
        former = await story.coordinator.ended(request_id)
        assert (former.state, (former.error or {}).get("code")) == (RequestState.ERROR, "job_taken_over")
    assert story.is_restored()
    assert story.scene.world.count(Kind.PIT_UNDO) == 0


async def test_who_lost_a_job_stops_no_node_for_another_point(story: Story) -> None:
    """Promise: while the one that took the job over carries it out, with every Cassandra down, the first coordinator
    refuses another point by the job's request, forced or not, and starts no node."""
    node = story.scene.nodes[1]
    node.gates[Kind.PIT_FETCH] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[Kind.PIT_FETCH].wait(), DEADLINE)
    async with another(story.scene) as other:
        await other.destination("there")
        await lost(story, other, request_id)
        for force in (False, True):
            with pytest.raises(RestoreRunning, match="of another coordinator") as refused:
                await story.start(keyspaces={"many": []}, force=force)
            assert refused.value.fields["request"] == request_id
        node.gates.pop(Kind.PIT_COVER).set()
        request = await other.ended(request_id)
        assert request.state is RequestState.SUCCESS, request
    assert story.scene.world.count(Kind.RESTART) == 0
    assert story.is_restored()
    assert (await story.restored(keyspaces={"many": []})).state is RequestState.SUCCESS


async def test_who_lost_a_job_takes_it_back_by_itself(story: Story) -> None:
    """Promise: the coordinator that took the job over dies for good with all nodes stopped, and nobody asks: the first
    one, alive, carries it on in a request of its own, and ends it."""
    node = story.scene.nodes[1]
    node.gates[Kind.PIT_FETCH] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[Kind.PIT_FETCH].wait(), DEADLINE)
    async with another(story.scene) as other:
        await other.destination("there")
        await lost(story, other, request_id)
    node.gates.pop(Kind.PIT_COVER).set()
    async with asyncio.timeout(DEADLINE):
        again = request_id
        while again == request_id:
            again = await adopted(story.coordinator)
    request = await story.coordinator.ended(again)
    assert (request.state, request.result["job"]) == (RequestState.SUCCESS, request_id), request
    assert story.is_restored()
    assert story.nothing_left()


async def test_no_segment_goes_while_another_coordinator_restores(story: Story) -> None:
    """Promise: one that only knows the agents frees no segment that a restore to a point of another one may still
    fetch, and frees it afterwards."""
    node = story.scene.nodes[1]
    node.gates[Kind.PIT_FETCH] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[Kind.PIT_FETCH].wait(), DEADLINE)
    async with another(story.scene) as other:
        await other.destination("there")

        async def trimmed() -> Request:
            order = TrimLogsOrder(["there"])
            return await other.ended(
                await other.orchestrator.make(RequestKind.TRIM_LOGS, CLUSTER, order, None, ["there"])
            )

        refused = (await trimmed()).error or {}
        assert (refused["code"], refused["fields"]["request"]) == ("logs_stay", request_id)
        node.gates.pop(Kind.PIT_FETCH).set()
        assert (await story.coordinator.ended(request_id)).state is RequestState.SUCCESS
        assert (await trimmed()).state is RequestState.SUCCESS


async def test_a_job_can_be_taken_back(story: Story) -> None:
    """Promise: who lost a job to another coordinator, which is gone since, gets it back by the same POST; another
    restore is refused meanwhile by one that doesn't carry it out."""
    node = story.scene.nodes[1]
    node.gates[Kind.PIT_FETCH] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[Kind.PIT_FETCH].wait(), DEADLINE)
    async with another(story.scene) as other:
        await other.destination("there")
        with pytest.raises(RestoreRunning):
            await other.orchestrator.points.start(CLUSTER, story.order(keyspaces={"many": []}))
        await lost(story, other, request_id)
    again = await story.start()
    assert again != request_id
    node.gates.pop(Kind.PIT_COVER).set()
    request = await story.coordinator.ended(again)
    assert request.state is RequestState.SUCCESS, request
    assert story.is_restored()
    assert story.nothing_left()


async def test_a_job_that_stopped_after_it_was_lost_is_gone_on_with(story: Story) -> None:
    """Promise: who lost a job to another coordinator, under which it stopped half-way, goes on with that job by the
    same POST: no second one begins on nodes that are stopped."""
    node = story.scene.nodes[1]
    node.gates[Kind.PIT_COVER] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[Kind.PIT_COVER].wait(), DEADLINE)
    story.scene.nodes[2].failures[Kind.PIT_PLACE] = [ToyFailure("disk_full", "no room")]
    async with another(story.scene) as other:
        assert await other.orchestrator.points.start(CLUSTER, story.order()) == request_id
        await asyncio.sleep(TIMING.take_over)
        node.gates.pop(Kind.PIT_COVER).set()
        assert (await other.ended(request_id)).state is RequestState.ERROR
        former = await story.coordinator.ended(request_id)
        assert (former.error or {}).get("code") == "job_taken_over"
    request = await story.restored()
    assert (request.state, request.result["job"]) == (RequestState.SUCCESS, request_id), request
    assert story.scene.world.count(Kind.PIT_STOP) == 3
    assert story.is_restored()
    assert story.nothing_left()


async def test_one_that_stopped_is_gone_on_with_by_another_coordinator(story: Story) -> None:
    """Promise: past the point of no return a job that ended in error is on the agents: the same POST, at a coordinator
    that lost all it knew, its destinations too, finishes it."""
    story.scene.nodes[2].failures[Kind.PIT_PLACE] = [ToyFailure("disk_full", "no room")]
    first = await story.restored()
    assert first.state is RequestState.ERROR
    await story.scene.stack.aclose()
    async with another(story.scene) as other:
        request_id = await other.orchestrator.points.start(CLUSTER, story.order())
        request = await other.ended(request_id)
        assert request.state is RequestState.SUCCESS, request
    assert story.is_restored()
    assert story.nothing_left()


async def test_one_that_stopped_is_known_by_every_coordinator(story: Story) -> None:
    """Promise: another point is refused by one that never heard of the job, and no more by the first one once another
    has ended it."""
    story.scene.nodes[2].failures[Kind.PIT_PLACE] = [ToyFailure("disk_full", "no room")]
    first = await story.restored()
    async with another(story.scene) as other:
        await other.destination("there")
        with pytest.raises(JobUnfinished, match="stopped half-way") as refused:
            await other.orchestrator.points.start(CLUSTER, story.order(keyspaces={"many": []}))
        assert refused.value.fields["request"] == first.id
        assert '"keyspaces":{"shop":{"column-families":["orders"]}},"destination":"there"' in refused.value.message
        request = await other.ended(await other.orchestrator.points.start(CLUSTER, story.order()))
        assert request.state is RequestState.SUCCESS, request
    assert (await story.restored(keyspaces={"many": []})).state is RequestState.SUCCESS


async def test_a_document_that_can_not_be_read_keeps_nobody_from_a_job(story: Story) -> None:
    """Promise: what somebody else put among the jobs' documents is passed over: with all nodes stopped and the
    coordinator gone, another one takes the job over all the same."""
    foreign = JobDocument(id=str(uuid.uuid4()), fence=1, revision=1, phase="else", ended=False, document={"of": "else"})
    await story.scene.agents[0].documents.put(foreign)
    node = story.scene.nodes[1]
    node.gates[Kind.PIT_COVER] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[Kind.PIT_COVER].wait(), DEADLINE)
    await story.scene.stack.aclose()
    with capture_logs() as logs:
        async with another(story.scene) as other:
            assert await adopted(other) == request_id
            node.gates.pop(Kind.PIT_COVER).set()
            request = await other.ended(request_id)
            assert request.state is RequestState.SUCCESS, request
            await asyncio.sleep(TIMING.take_over * 2)
    assert story.is_restored()
    [told] = [line["fields"] for line in logs if line.get("code") == "job_unreadable"]
    assert told["job"] == foreign.id


async def test_a_document_that_can_not_be_read_is_told_of_once(story: Story) -> None:
    """Promise: another release's coordinator writes on; the log has one line of its job, whatever it writes."""
    foreign = JobDocument(id=str(uuid.uuid4()), fence=1, revision=1, phase="else", ended=False, document={"of": "else"})
    with capture_logs() as logs:
        async with another(story.scene):
            for revision in range(1, 5):
                await story.scene.agents[0].documents.put(msgspec.structs.replace(foreign, revision=revision))
                await asyncio.sleep(TIMING.take_over)
    told = [line["fields"]["job"] for line in logs if line.get("code") == "job_unreadable"]
    assert told in ([foreign.id], [foreign.id] * 2)  # two coordinators look


async def test_a_job_whose_nodes_left_stands_in_nobodys_way(story: Story) -> None:
    """Promise: a job most of whose nodes are other clusters' by now is told of once; it is neither taken over nor does
    it keep anybody from another restore."""
    node = story.scene.nodes[1]
    node.gates[Kind.PIT_FETCH] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[Kind.PIT_FETCH].wait(), DEADLINE)
    [document] = await story.scene.agents[0].documents.all()
    await story.scene.stack.aclose()
    nodes = [
        {**each, "agent": f"http://127.0.0.1:{9 + number}", "host_id": f"elsewhere {number}"}
        for number, each in enumerate(document.document["nodes"])
    ]
    node.gates.pop(Kind.PIT_FETCH).set()
    for agent in story.scene.agents:
        await agent.documents.put(
            msgspec.structs.replace(document, fence=99, document={**document.document, "nodes": nodes})
        )
    with capture_logs() as logs:
        async with another(story.scene) as other:
            await asyncio.sleep(TIMING.take_over * 4)
            assert await other.store.requests.get(request_id) is None
            await other.destination("there")
            request = await other.ended(await other.orchestrator.points.start(CLUSTER, story.order()))
            assert request.state is RequestState.SUCCESS, request
    assert [line["fields"]["job"] for line in logs if line.get("code") == "job_left"] == [document.id]


async def test_a_coordinator_that_calls_the_agents_otherwise_leaves_their_job_alone(story: Story) -> None:
    """Promise: a job is known by its nodes, whatever names its coordinator has for their agents: another restore is
    refused while it runs, with every Cassandra down."""
    node = story.scene.nodes[1]
    node.gates[Kind.PIT_COVER] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[Kind.PIT_COVER].wait(), DEADLINE)
    urls = [agent.url.replace("//", "//user@") for agent in story.scene.agents]
    async with ToyCoordinator(story.scene.directory / "another", urls) as other:
        await other.destination("there")
        with pytest.raises(RestoreRunning, match="of another coordinator"):
            await other.orchestrator.points.start(CLUSTER, story.order(keyspaces={"many": []}))
        assert await other.store.requests.find(kind=RequestKind.POINT_IN_TIME) == []
    node.gates.pop(Kind.PIT_COVER).set()
    assert (await story.coordinator.ended(request_id)).state is RequestState.SUCCESS


async def test_who_saw_no_agent_yet_takes_no_job_for_one_that_was_left(story: Story) -> None:
    """Promise: a coordinator just started, which names the agents otherwise and doesn't know their nodes yet, refuses
    another restore while one runs, and says of no job that its nodes are the cluster's no more."""
    node = story.scene.nodes[1]
    node.gates[Kind.PIT_COVER] = asyncio.Event()
    request_id = await story.start()
    await asyncio.wait_for(node.begun[Kind.PIT_COVER].wait(), DEADLINE)
    urls = [agent.url.replace("//", "//user@") for agent in story.scene.agents]
    with capture_logs() as logs:
        async with ToyCoordinator(story.scene.directory / "another", urls) as other:
            for agent in other.fleet.registry.agents(CLUSTER):
                agent.identity = agent.remembered = None
            with pytest.raises(RestoreRunning, match="of another coordinator"):
                await other.orchestrator.points.start(CLUSTER, story.order(keyspaces={"many": []}))
            await asyncio.sleep(TIMING.take_over * 2)
    assert not [line for line in logs if line.get("code") == "job_left"]
    node.gates.pop(Kind.PIT_COVER).set()
    assert (await story.coordinator.ended(request_id)).state is RequestState.SUCCESS


async def test_a_cluster_of_which_no_node_runs_is_started_first(story: Story) -> None:
    """Promise: on the worst day, every Cassandra down and a coordinator that saw none up since its start: agents know
    whose they are: all nodes are started, then brought to the point."""
    await story.scene.stack.aclose()
    for node in story.scene.nodes:
        node.up = False
    urls = [agent.url for agent in story.scene.agents]
    async with ToyCoordinator(story.scene.directory / "coordinator", urls) as later:
        request = await later.ended(await later.orchestrator.points.start(CLUSTER, story.order()))
        assert request.state is RequestState.SUCCESS, request
    assert story.is_restored()
    assert story.scene.world.count(Kind.RESTART) == 3


async def test_a_coordinator_that_lost_its_state_needs_no_cassandra(story: Story) -> None:
    """Promise: the worst day of all: every Cassandra is down, and the coordinator is a new one that knows the agents'
    addresses alone: the destination can be given to it, and the same order as ever goes through."""
    await story.scene.stack.aclose()
    for node in story.scene.nodes:
        node.up = False
    async with another(story.scene) as later:
        await later.destination("there")
        request = await later.ended(await later.orchestrator.points.start(CLUSTER, story.order()))
        assert request.state is RequestState.SUCCESS, request
    assert story.is_restored()


async def test_no_node_is_started_while_it_is_not_known_who_all_are(story: Story) -> None:
    """Promise: with every Cassandra down and an agent that doesn't answer, nothing is started: nobody could tell
    whether the ring is whole."""
    await story.scene.stack.aclose()
    for node in story.scene.nodes:
        node.up = False
    urls = [agent.url for agent in story.scene.agents]
    async with ToyCoordinator(story.scene.directory / "coordinator", [*urls, "http://127.0.0.1:9"]) as later:
        request = await later.ended(await later.orchestrator.points.start(CLUSTER, story.order()))
        assert (request.state, (request.error or {}).get("code")) == (RequestState.ERROR, NobodyAnswers.code)
    assert story.scene.world.count(Kind.RESTART) == 0


@pytest.mark.parametrize("kind", [Kind.PIT_QUIESCE, Kind.PIT_VERIFY, Kind.PIT_OPEN])
async def test_a_node_that_ends_while_clients_are_shut_out_is_waited_for_by_nobody(story: Story, kind: Kind) -> None:
    """Promise: a Cassandra that crashes in a phase that works with it is started again by that phase's next attempt;
    nothing waits until somebody else has started it, and nobody has to send the restore again."""
    node = story.scene.nodes[2]
    node.gates[kind] = asyncio.Event()
    node.failures[kind] = [ToyFailure("cassandra_unavailable", "it ended")]
    request_id = await story.start()
    await asyncio.wait_for(node.begun[kind].wait(), 20)
    node.up = False
    node.gates.pop(kind).set()
    request = await story.coordinator.ended(request_id)
    assert request.state is RequestState.SUCCESS, request
    assert story.is_restored()
    assert story.nothing_left()
