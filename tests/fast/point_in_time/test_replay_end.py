"""The replay as PIT_START sees it end and PIT_VERIFY judges it, on a node of real files: what is noted, what the next
start is told, and a kill anywhere in between."""

from pathlib import Path

import pytest

from agent.jobs.point_in_time.node_facts import restored_of, segments_of
from agent.jobs.point_in_time.place_errors import NotPlaced, ReplayFailed
from agent.jobs.point_in_time.start import PitStartJob
from agent.jobs.point_in_time.verify import PitVerifyJob
from agent.jobs.restore.notes import Fetched
from agent.wire.point_in_time import PitArguments, PitVerifyResult
from tests.fast.point_in_time.mortal_disk import Killed, MortalDisk
from tests.fast.point_in_time.node_on_disk import JOB, OWN_PROPERTIES, NodeOnDisk, T
from tests.fast.point_in_time.replaying import Replaying


@pytest.fixture
async def node(tmp_path: Path) -> NodeOnDisk:
    """A node on which all is placed."""
    made = NodeOnDisk(tmp_path)
    await made.prepare()
    await made.place()
    return made


async def start(node: NodeOnDisk) -> None:
    await PitStartJob(node.tools).run(node.context())


async def verified(node: NodeOnDisk) -> PitVerifyResult:
    result = (await PitVerifyJob(node.tools).run(node.context())).result
    assert isinstance(result, PitVerifyResult)
    return result


async def test_a_crash_after_the_replay_loses_nothing_of_other_tables(node: NodeOnDisk) -> None:
    """Promise: from the end of PIT_START on the next start replays the node's own log for every table, still without
    clients, and none replays the restore's segments once more."""
    cassandra = Replaying(node)
    await start(node)
    assert node.properties.read_text() == OWN_PROPERTIES
    assert node.options.lines[JOB] == ["-Dcassandra.start_native_transport=false"]
    node.service.running = False
    await start(node)
    assert (cassandra.limited, cassandra.lost) == ([True, False], [])
    result = await verified(node)
    assert (result.replayed_segments, result.replayed_mutations, result.errors) == (2, 7, [])
    assert result.warnings == []


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> MortalDisk:
    return MortalDisk(monkeypatch)


async def test_a_start_that_is_killed_anywhere_and_whose_cassandra_crashes_then_loses_nothing(
    tmp_path: Path, disk: MortalDisk
) -> None:
    """Promise: whatever the moment of the agent's death, the same order again replays the segments once, if they were
    not, and no start drops what the node wrote since of other tables."""
    operation = 0
    while True:
        operation += 1
        made = NodeOnDisk(tmp_path / str(operation))
        await made.prepare()
        await made.place()
        cassandra = Replaying(made)
        try:
            with disk.dying_before(operation):
                await start(made)
            break  # it was through before it was to die
        except Killed:
            made.service.running = False
        await start(made)
        assert cassandra.lost == [], operation
        assert cassandra.limited.count(True) == 1, operation
        assert (await verified(made)).replayed_segments == 2
        assert made.properties.read_text() == OWN_PROPERTIES
    assert operation > 20


async def test_a_start_that_failed_replays_again(node: NodeOnDisk) -> None:
    """Promise: only a replay that Cassandra's log tells the end of, and that was whole, is not done again."""
    cassandra = Replaying(node)
    cassandra.fails = True
    with pytest.raises(OSError, match="did not come up"):
        await start(node)
    cassandra.fails = False
    await start(node)
    assert cassandra.limited == [True]
    assert (await verified(node)).replayed_segments == 2


async def test_without_a_log_file_the_segments_alone_are_counted(node: NodeOnDisk) -> None:
    """Promise: that Cassandra's log could not be read is said."""
    Replaying(node, logs=False)
    await start(node)
    result = await verified(node)
    assert (result.replayed_segments, result.replayed_mutations) == (2, None)
    assert len(result.warnings) == 1


async def test_a_replay_that_was_judged_is_told_as_before(node: NodeOnDisk) -> None:
    """Promise: PIT_VERIFY again, after Cassandra was started anew, says what it said; after PIT_OPEN it changes no
    setting."""
    Replaying(node)
    await start(node)
    first = await verified(node)
    node.service.running = False
    await start(node)
    assert await verified(node) == first
    await node.notes.put_opened()
    node.options.lines.clear()
    assert await verified(node) == first
    assert node.options.lines == {}


async def test_a_segment_that_was_not_given_back_fails_the_replay_without_force(node: NodeOnDisk) -> None:
    """Promise: a missing segment, of which Cassandra itself says nothing, is named; the limit is taken back all the
    same."""
    await node.cassandra_ran(replayed=True)
    await node.service.start()
    (restored_of(node.facts) / "CommitLog-7-11.log").unlink()
    await start(node)
    with pytest.raises(ReplayFailed) as raised:
        await verified(node)
    assert raised.value.fields["missing"] == ["CommitLog-7-11.log"]
    assert node.options.lines[JOB] == ["-Dcassandra.start_native_transport=false"]
    node.arguments = PitArguments("tag", T, {"shop": ["orders"]}, force=True)
    assert "CommitLog-7-11.log was not replayed" in (await verified(node)).warnings


async def test_a_segment_that_cassandra_was_given_back_and_passed_over_is_missed(node: NodeOnDisk) -> None:
    """Promise: what Cassandra's log does not name is named, whatever the restore command gave back; one that Cassandra
    took for empty only where it holds anything; nothing of them is deleted, and `force` goes on."""
    cassandra = Replaying(node)
    held = segments_of(node.facts) / "CommitLog-7-12.log"
    held.write_bytes(held.read_bytes() + bytes(8) + b"writes behind a marker that was lost")
    cassandra.passed_over, cassandra.empty = {"CommitLog-7-11.log"}, {"CommitLog-7-12.log"}
    await start(node)
    with pytest.raises(ReplayFailed) as raised:
        await verified(node)
    assert raised.value.fields["missing"] == ["CommitLog-7-11.log", "CommitLog-7-12.log"]
    assert sorted(path.name for path in segments_of(node.facts).iterdir()) == raised.value.fields["missing"]
    node.arguments = PitArguments("tag", T, {"shop": ["orders"]}, force=True)
    assert (await verified(node)).replayed_segments == 0


async def test_an_empty_segment_needs_no_replay(node: NodeOnDisk) -> None:
    """Promise: one that was only allocated ahead is passed over by Cassandra, and that is right."""
    cassandra = Replaying(node)
    cassandra.empty = {"CommitLog-7-11.log"}
    await start(node)
    assert (await verified(node)).replayed_segments == 2


async def test_indexes_that_were_held_without_files_are_rebuilt(tmp_path: Path) -> None:
    """Promise: Cassandra takes an index without files for built; it is built anew before clients are let in."""
    node = NodeOnDisk(tmp_path)
    await node.prepare()
    for path in (node.facts.data[0].held("shop", "orders") / ".by_state").iterdir():
        path.unlink()
    await node.fetched.put_fetched(Fetched("tag", "host", {"shop": {"orders": [3, 30, 1]}}))
    await node.place()
    Replaying(node)
    await start(node)
    assert (await verified(node)).indexes_rebuilt == ["shop.by_state"]
    assert node.rebuilt == ["shop.orders.by_state"]


async def test_nothing_is_verified_that_was_not_placed_and_started(node: NodeOnDisk) -> None:
    """Promise: a node that came up without the agent's look has not been seen to replay; one whose Cassandra ended
    since is started again first, and tells what was seen of its replay."""
    with pytest.raises(NotPlaced):
        await verified(node)
    Replaying(node)
    await start(node)
    node.service.running = False
    assert await verified(node)
    assert node.service.running
    await node.notes.put_undoing()
    with pytest.raises(NotPlaced):
        await verified(node)
