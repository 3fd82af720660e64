"""What may come late from an earlier restore, though its request has ended: an import that nobody heard the end of, and
a truncate of which Cassandra didn't say whether it was done."""

import asyncio

import msgspec
import pytest

from agent.wire.commands import Kind
from coordinator.model.orders import RestoreOrder, RestoreTables
from coordinator.model.requests import RequestState
from tests.cluster.loop_time import unix_seconds
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, TIMING, copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_restore_flow import restored
from tests.orchestrate.test_sent_once import BRIEF, PATIENT, backed_up, says_that_it_waits

ORDERS = ("shop", "orders")


@pytest.mark.parametrize("forced", [False, True], ids=["excluded", "forced out"])
async def test_no_other_restore_empties_what_a_lost_import_still_fills(scene: Scene, forced: bool) -> None:
    """Promise: an agent lost in mid-import is waited for before another restore empties its tables, also when its node
    is excluded or left out by force: rows of the newer backup would land after the truncate, and win."""
    coordinator, older = await backed_up(scene, PATIENT)
    for node in scene.nodes:
        node.rows[ORDERS].add("newer")
    newer, _ = await coordinator.backup(keep=False, copies=copies("there"))
    lost = scene.nodes[2]
    gate = lost.gates[Kind.IMPORT] = asyncio.Event()
    first = asyncio.create_task(restored(coordinator, newer))
    await asyncio.wait_for(lost.begun[Kind.IMPORT].wait(), 10)
    scene.agents[2].freeze()
    assert ((await first).state, first.result().partial) == (RequestState.ERROR, True)
    order = RestoreOrder(older, "there", truncate=True, force=forced)
    if not forced:
        order = msgspec.structs.replace(order, excluded_nodes=[lost.address])
    second = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await says_that_it_waits(scene, coordinator, second, lost.address)
    assert scene.world.count(Kind.TRUNCATE) == 1
    del lost.gates[Kind.IMPORT]
    gate.set()
    scene.agents[2].thaw()
    assert (await coordinator.ended(second)).state is RequestState.SUCCESS
    assert (scene.world.count(Kind.TRUNCATE), scene.world.count(Kind.IMPORT)) == (2, 3 + 2 + forced)
    assert not any("newer" in node.rows[ORDERS] for node in scene.nodes)


async def test_what_empties_nothing_does_not_wait_for_a_lost_import(scene: Scene) -> None:
    """Promise: an import beside another one only merges, so that a restore without truncate goes on; with truncate and
    force one goes on past the margin, says so, and who comes next needn't wait again."""
    coordinator, tag = await backed_up(scene, BRIEF)
    lost = scene.nodes[2]
    lost.gates[Kind.IMPORT] = asyncio.Event()
    first = asyncio.create_task(restored(coordinator, tag))
    await asyncio.wait_for(lost.begun[Kind.IMPORT].wait(), 10)
    scene.agents[2].freeze()
    former = await first
    merged = RestoreOrder(tag, "there", keyspaces={"shop": RestoreTables()}, excluded_nodes=[lost.address])
    merging = await coordinator.ended(await coordinator.orchestrator.start_restore(CLUSTER, merged))
    assert merging.state is RequestState.SUCCESS, merging
    told = []
    for keyspaces in ({"shop": RestoreTables(truncate=True)}, {"shop": RestoreTables(["orders"], truncate=True)}):
        forced = msgspec.structs.replace(merged, keyspaces=keyspaces, force=True)
        request = await coordinator.ended(await coordinator.orchestrator.start_restore(CLUSTER, forced))
        told.append(any(f"during import of the restore {former.id}" in each for each in request.result["warnings"]))
    assert told == [True, False]


async def test_a_lost_import_of_a_node_that_was_rebuilt_is_not_waited_for(scene: Scene) -> None:
    """Promise: nobody answers for a host id that has left the ring, and it brings no rows in: the restore sent again
    begins anew without force, and gives the rebuilt node its part."""
    before = [dict(node.rows) for node in scene.nodes]
    coordinator, tag = await backed_up(scene, PATIENT)
    lost = scene.nodes[2]
    lost.gates[Kind.IMPORT] = asyncio.Event()
    first = asyncio.create_task(restored(coordinator, tag))
    await asyncio.wait_for(lost.begun[Kind.IMPORT].wait(), 10)
    await scene.agents[2].stop()
    assert ((await first).state, first.result().partial) == (RequestState.ERROR, True)
    del lost.gates[Kind.IMPORT]
    lost.host_id = "99999999-9999-9999-9999-999999999999"
    await scene.agents[2].start()
    assert (await restored(coordinator, tag)).state is RequestState.SUCCESS
    assert [node.rows for node in scene.nodes] == before
    assert scene.world.count(Kind.TRUNCATE) == 2


async def test_a_truncate_that_cassandra_may_still_do_is_waited_for(scene: Scene) -> None:
    """Promise: a restore that empties nothing itself, and leaves the stalled node out, imports nothing before that
    node's Cassandra answers and has had its time: the truncate in its socket would empty every node afterwards."""
    before = [set(node.rows[ORDERS]) for node in scene.nodes]
    patient = msgspec.structs.replace(PATIENT, outlive=0.5)
    coordinator, tag = await backed_up(scene, patient)
    stalled = scene.nodes[0]
    failure = ToyFailure("cassandra_unavailable", "no answer", outcome_unknown=True)
    stalled.failures[Kind.TRUNCATE] = [failure, ToyFailure("too_late", "late"), failure]
    stalled.failures[Kind.TRUNCATE] += [ToyFailure("nodes_down", "one is down") for _ in range(9)]
    former = await restored(coordinator, tag)
    assert (former.state, former.result["resumable_job"]) == (RequestState.ERROR, former.id)
    stalled.failures.clear()
    stalled.up = False
    order = RestoreOrder(tag, "there", keyspaces={"shop": RestoreTables()}, excluded_nodes=[stalled.address])
    request_id = await coordinator.orchestrator.start_restore(CLUSTER, order)
    await says_that_it_waits(scene, coordinator, request_id, stalled.address)
    await asyncio.sleep(TIMING.agent_return)  # longer than a node is waited for otherwise
    await says_that_it_waits(scene, coordinator, request_id, stalled.address)
    assert scene.world.count(Kind.IMPORT) == 0
    scene.world.empty(*ORDERS)
    answers_since = unix_seconds()
    stalled.up = True
    assert (await coordinator.ended(request_id)).state is RequestState.SUCCESS
    assert all(
        each.posted >= answers_since + patient.outlive for each in await coordinator.store.commands.of(request_id)
    )
    assert [node.rows[ORDERS] for node in scene.nodes] == [set(), *before[1:]]
