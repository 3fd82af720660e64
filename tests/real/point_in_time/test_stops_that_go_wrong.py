"""A node is stopped and started by its agent, and something goes wrong: the agent is killed at every stage, Cassandra
doesn't come up, a person ends the wait."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agent.cassandra.jvm_options import KEEP_DOWN
from agent.jobs.point_in_time.node_facts import segments_of
from agent.jobs.point_in_time.place_notes import PlaceNotes
from tests.cluster import places
from tests.cluster.log_segments import name_of, segment
from tests.cluster.moments import PIT_OPEN, PIT_QUIESCE, PIT_START, PIT_STOP, RESTART
from tests.cluster.processes import run
from tests.real.point_in_time.stopping_node import StoppingNode

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StoppingNode]:
    """A node of 5.0."""
    async with StoppingNode(places.CASSANDRA_50, tmp_path_factory.mktemp("cut")) as site:
        yield site


async def test_a_node_that_does_not_come_up_is_told_with_the_end_of_its_log(site: StoppingNode) -> None:
    """Promise: the command fails with what Cassandra said last, and the same command again, once that is mended, ends
    with the node up."""
    yaml = site.node.directory / "conf" / "cassandra.yaml"
    good = yaml.read_text()
    yaml.write_text(good.replace("SimpleSeedProvider", "NoSuchProvider"))
    view = await site.end_of("restart", {})
    error = view["error"]
    assert (view["state"], error["code"]) == ("failed", "cassandra_not_started")
    assert "NoSuchProvider" in error["fields"]["log"]
    yaml.write_text(good)
    await site.do("restart", {})


async def test_a_restart_says_what_it_waits_for(site: StoppingNode) -> None:
    """Promise: while Cassandra starts the command is `waiting` and names what for; a person may end the wait."""
    site.fence += 1
    command = await site.agent.command("restart", {}, job=site.job, fence=site.fence)
    error = await site.waits(command)
    assert error["code"] == "waiting_for_cassandra"
    assert error["fields"]["seconds"] > 0
    await site.agent.call("DELETE", f"/v1/commands/{command}?force=true")
    view = await site.agent.ended(command)
    assert view["error"]["code"] == "wait_given_up"
    await site.do("restart", {})


async def test_a_restart_that_was_cut_is_sent_again(site: StoppingNode) -> None:
    """Promise: killed at every stage, the agent tells `interrupted`; the same order again ends with the node up, with
    every write."""
    site.put("other", 7)
    await site.cut(RESTART, {"drain": True})
    await site.do("restart", {"drain": True})
    assert 7 in site.rows("other")


async def test_phases_that_were_cut_are_sent_again(site: StoppingNode) -> None:
    """Promise: killed at every stage, and Cassandra killed with -9 before it is quiesced and drained, the same phase
    again goes on; nothing of the other table is lost, and nobody was let in in between."""
    site.begin_job()
    before = site.options
    site.put("other", 3)
    await site.kill()
    await site.cut(PIT_QUIESCE)
    await site.do("pit_quiesce")
    await site.kill()
    await site.cut(PIT_STOP)
    await site.do("pit_stop")
    await site.fetched()
    await site.do("pit_place")
    await site.cut(PIT_START)
    await site.do("pit_start")
    assert "not running" in await site.node.nodetool("statusbinary")
    await site.do("pit_verify")
    await site.cut(PIT_OPEN)
    await site.do("pit_open")
    assert site.options == before
    assert 3 in site.rows("other")
    await site.do("pit_clean")


async def test_a_node_that_ends_while_clients_are_shut_out_is_started_by_the_next_phase(site: StoppingNode) -> None:
    """Promise: killed with -9 before any phase that works with a running Cassandra, the node is started by that phase,
    with every write and without clients from the first phase to the last; what a phase found stays found."""
    site.begin_job()
    before = site.options
    site.put("other", 5)
    for _ in range(2):
        await site.kill()
        await site.do("pit_quiesce")
        assert "not running" in await site.node.nodetool("statusbinary")
    await site.do("pit_stop")
    await site.fetched()
    await site.do("pit_place")
    await site.do("pit_start")
    await site.kill()
    await site.do("pit_verify")
    assert "not running" in await site.node.nodetool("statusbinary")
    await site.kill()
    await site.do("pit_open")
    assert site.options == before
    assert 5 in site.rows("other")
    await site.do("pit_clean")


async def test_a_segment_that_cassandra_passes_over_is_named_and_nobody_starts_the_node_before(
    site: StoppingNode,
) -> None:
    """Promise: a start by whoever tries comes to nothing from the drain on; a segment that Cassandra took for empty,
    for the marker of its first section is gone, fails the check of the replay by its name; the node that is killed
    then replays its own log for every table, and with force it opens."""
    site.begin_job()
    before = site.options
    site.put("other", 4)
    await site.do("pit_quiesce")
    await site.do("pit_stop")
    await run([site.node.launchers / "start"])
    reason = KEEP_DOWN.partition(":")[2]
    async with asyncio.timeout(60):
        while True:
            if not site.node.alive and reason in site.node.printed():
                break
            await asyncio.sleep(0.1)
    await site.fetched()
    facts = await PlaceNotes(site.agent.state_directory, site.job).must_facts()
    (segments_of(facts) / name_of(11)).write_bytes(segment(11, (), unsynced=b"writes behind a marker that is gone"))
    await site.do("pit_place")
    await site.do("pit_start")
    assert "replayList" not in site.options
    await site.kill()
    await site.do("pit_start")
    view = await site.end_of("pit_verify")
    assert view["error"]["code"] == "replay_failed"
    assert view["error"]["fields"]["missing"] == [name_of(11)]
    forced = {**site.arguments, "force": True}
    assert f"{name_of(11)} was not replayed" in (await site.do("pit_verify", forced))["warnings"]
    await site.do("pit_open", forced)
    assert site.options == before
    assert 4 in site.rows("other")
    await site.do("pit_clean")
