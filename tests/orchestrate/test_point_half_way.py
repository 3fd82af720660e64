"""A restore to a point that stopped half-way, and what is ordered after it: who is refused, and until when."""

import msgspec
import pytest

from agent.wire.commands import Kind
from agent.wire.point_in_time import JobDocument
from coordinator.model.orders import PointInTimeOrder
from coordinator.model.requests import RESUMABLE, Request, RequestKind, RequestState, spec_of
from coordinator.orchestrate.point_in_time.documents import Carried
from coordinator.orchestrate.point_in_time.errors import JobUnfinished
from coordinator.orchestrate.point_in_time.found_jobs import Found
from coordinator.orchestrate.point_in_time.half_way import last_half_way
from coordinator.orchestrate.point_in_time.scope import PitNode
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER
from tests.orchestrate.test_point_followed import another
from tests.orchestrate.test_point_in_time import SHOP, Story
from tests.orchestrate.test_point_in_time import story as story


async def test_what_a_later_restore_went_over_is_in_nobodys_way(story: Story) -> None:
    """Promise: another point that was forced past a job that stopped, and succeeded, is the end of it: the next point
    needs no force, here and at a coordinator that only hears of both from the agents; a later one that stops is
    refused by as ever."""
    story.scene.nodes[2].point.shut = 2
    assert (await story.restored()).state is RequestState.ERROR
    assert (await story.restored(keyspaces={"many": []}, force=True)).state is RequestState.SUCCESS
    assert (await story.restored(keyspaces={"many": ["t1"]})).state is RequestState.SUCCESS
    await story.scene.stack.aclose()  # while it runs it may take from the other one what that is slow to write of
    async with another(story.scene) as other:
        await other.destination("there")
        order = story.order(keyspaces={"many": ["t1"]})
        request = await other.ended(await other.orchestrator.points.start(CLUSTER, order))
        assert request.state is RequestState.SUCCESS, request
    story.coordinator = await story.scene.coordinator()
    story.scene.nodes[2].failures[Kind.PIT_VERIFY] = [ToyFailure("disk_full", "no room")]
    later = await story.restored(keyspaces={**SHOP, "many": ["t1"]})
    assert later.state is RequestState.ERROR
    with pytest.raises(JobUnfinished) as refused:
        await story.start(keyspaces={"many": ["t1"]})
    assert refused.value.fields["request"] == later.id


async def test_force_passes_by_one_that_nobody_can_end(story: Story) -> None:
    """Promise: another point is let through by force alone, where the nodes have their own settings back; it is then
    told what it finds on them. One that keeps nodes for itself is not passed by."""
    story.scene.nodes[2].point.shut = 2
    assert (await story.restored()).state is RequestState.ERROR
    assert (await story.restored(keyspaces={"many": []}, force=True)).state is RequestState.SUCCESS
    story.scene.nodes[2].failures[Kind.PIT_VERIFY] = [ToyFailure("disk_full", "no room")]
    assert (await story.restored()).state is RequestState.ERROR
    forced = await story.restored(keyspaces={"many": []}, force=True)
    assert (forced.state, forced.partial) == (RequestState.ERROR, False)
    assert "lets nobody else stop or start Cassandra" in str(forced.error)


async def test_a_job_that_was_gone_over_is_not_gone_on_with(story: Story) -> None:
    """Promise: ordered again after a restore to another point was forced past it and succeeded, a point is a new job,
    though its first one had stopped at its very end: the rows are those of the point, not what the other one left."""
    story.scene.nodes[2].point.shut = 2
    first = await story.restored()
    assert first.state is RequestState.ERROR
    later = await story.restored(pit_micros=story.point + 1, force=True)
    assert later.state is RequestState.SUCCESS, later
    assert not story.is_restored()
    assert f"forced past the restore {first.id} that stopped half-way" in str(later.result["warnings"])
    again = await story.restored()
    assert again.state is RequestState.SUCCESS, again
    assert story.is_restored()


async def test_only_the_last_that_stopped_is_gone_on_with(story: Story) -> None:
    """Promise: where two stopped half-way, the second one forced past the first, the first is refused by the second's
    order, and goes on with nothing; once the second has ended it is a new job."""
    story.scene.nodes[2].point.shut = 2
    first = await story.restored()
    story.scene.nodes[2].failures[Kind.PIT_VERIFY] = [ToyFailure("disk_full", "no room")]
    second = await story.restored(pit_micros=story.point + 1, force=True)
    assert (first.state, second.state) == (RequestState.ERROR, RequestState.ERROR)
    with pytest.raises(JobUnfinished) as refused:
        await story.start()
    assert refused.value.fields["request"] == second.id
    assert (await story.restored(pit_micros=story.point + 1)).state is RequestState.SUCCESS
    again = await story.restored()
    assert again.state is RequestState.SUCCESS, again
    assert story.is_restored()


async def test_an_undo_says_of_no_node_that_it_runs_which_another_restore_keeps_down(story: Story) -> None:
    """Promise: a node that has its old data and was left to another restore is named, also where the undo went on in
    a second request because of another node."""
    kept, away = story.scene.nodes[1], story.scene.nodes[2]
    kept.point.kept_down_by = "the other"
    away.failures[Kind.PIT_COVER] = [ToyFailure("staging_refused", "no") for _ in range(5)]
    away.failures[Kind.PIT_UNDO] = [ToyFailure("cassandra_not_started", "no")] * 4
    first = await story.restored()
    assert f"{away.address} could not be given the old data back yet" in first.message
    second = await story.restored()
    assert f"every node has its old data; {kept.address} was left as it is, and a warning says why" in second.message
    assert "runs" not in second.message


async def test_a_node_that_let_clients_in_and_ended_is_started_with_the_others(story: Story) -> None:
    """Promise: opened on one node, which then ended, and not on another, the same restore starts the first one and
    opens both."""
    opened, other = story.scene.nodes[0], story.scene.nodes[2]
    other.failures[Kind.PIT_OPEN] = [ToyFailure("disk_full", "no room")]
    first = await story.restored()
    assert first.state is RequestState.ERROR
    assert (opened.point.native, other.point.native) == (True, False)
    opened.up = False
    assert (await story.restored()).state is RequestState.SUCCESS
    assert story.is_restored()


ORDER = PointInTimeOrder(5, {"shop": []}, "there")


def stopped(*, job: str = "job", error: str = "", resumable: bool = True) -> Request:
    """A request that ended."""
    result = {RESUMABLE: job} if resumable else {}
    told = {"code": error} if error else None
    kind, state = RequestKind.POINT_IN_TIME, RequestState.ERROR
    return Request(job, kind, CLUSTER, state, 1.0, spec_of(ORDER), error=told, result=result)


def found(*, resumable: bool, told: int = 3, known: int = 3) -> Found:
    """A job of three nodes that ended, as so many of their agents tell of it, of as many as are the cluster's."""
    nodes = [PitNode(f"host {number}", f"node {number}", f"agent {number}") for number in range(3)]
    carried = Carried(msgspec.to_builtins(stopped()), nodes, {}, resumable)
    document = JobDocument("job", 1, 1, "ended", ended=True, document={})
    agents = [node.agent for node in nodes]
    return Found(document, carried, frozenset(agents[:told]), frozenset(agents[:known]))


@pytest.mark.parametrize("requests", [[], [stopped(error="job_taken_over", resumable=False)]], ids=["none", "taken"])
def test_a_job_of_nodes_that_left_refuses_nobody(requests: list[Request]) -> None:
    """Promise: what only the agents tell of as stopped half-way refuses another point, but not where most of its nodes
    are the cluster's no more."""
    assert last_half_way(requests, {"job": found(resumable=True)}) is not None
    assert last_half_way(requests, {"job": found(resumable=True, told=1, known=1)}) is None
    assert last_half_way(requests, {"job": found(resumable=False)}) is None


def test_too_few_agents_say_of_no_job_that_it_was_finished() -> None:
    """Promise: what stopped here is believed finished by another coordinator when most of its nodes' agents answered,
    for only then one of them has the newest document; also where the newest was told by few, it stays refused."""
    assert last_half_way([stopped()], {"job": found(resumable=False, told=1)}) is not None
    assert last_half_way([stopped()], {"job": found(resumable=False, told=2)}) is None
