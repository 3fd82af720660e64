"""What a check of a point tells, and that it starts nothing."""

import msgspec
import pytest

from agent.wire.archiving import LogGap
from agent.wire.commands import Kind
from coordinator.model.requests import Request, RequestKind, RequestState
from tests.cluster.toy_cluster import ToyFailure
from tests.cluster.toy_coordinator import CLUSTER, copies
from tests.orchestrate.archiving_scene import archive
from tests.orchestrate.test_point_in_time import Story
from tests.orchestrate.test_point_in_time import story as story

PIT_KINDS = [kind for kind in Kind if kind.value.startswith("pit_") and kind is not Kind.PIT_CHECK]


async def checked(story: Story, **changes: object) -> Request:
    """The ended request of a check."""
    return await story.coordinator.orchestrator.points.check(CLUSTER, story.order(check=True, **changes))


def nothing_started(story: Story) -> bool:
    """No node was told anything but to look, and no restore is noted."""
    return story.is_as_before() and not any(story.scene.world.count(kind) for kind in (*PIT_KINDS, Kind.RESTART))


async def test_a_point_that_can_be_had_is_told_with_snapshot_and_windows(story: Story) -> None:
    """Promise: which backup, what each node has, which points there are; nothing is started."""
    request = await checked(story)
    assert (request.kind, request.state) == (RequestKind.PIT_CHECK, RequestState.SUCCESS)
    assert request.message.startswith("The tables can be brought to ")
    assert request.result["tag"] == story.tag
    assert set(request.result["nodes"]) == {node.address for node in story.scene.nodes}
    assert request.result["windows"]
    assert nothing_started(story)


async def test_a_gap_is_told_with_its_node_and_span_and_a_restore_refuses_by_the_same(story: Story) -> None:
    """Promise: the check's refusals and the restore's are the same, and neither touches a node; force lifts the gap."""
    gap = LogGap("CommitLog-7-4.log", "CommitLog-7-6.log", story.point / 1e6 - 9, story.point / 1e6 - 8, "it was cut")
    holed = story.scene.nodes[1]
    holed.point.found = {"gaps": [gap], "covered_until": gap.since}
    request = await checked(story)
    assert request.error is not None
    assert request.error["code"] == "point_refused"
    [refusal] = request.error["fields"]["refusals"]
    assert (refusal["code"], refusal["fields"]["node"]) == ("log_gap", holed.address)
    assert "it was cut" in refusal["message"]
    restore = await story.restored()
    assert restore.error is not None
    assert restore.error["fields"]["refusals"] == request.error["fields"]["refusals"]
    assert restore.message.endswith("no table was changed and no node was stopped")
    assert nothing_started(story)
    forced = await story.restored(force=True)
    assert forced.state is RequestState.SUCCESS, forced
    assert any(text.startswith("forced: ") and "it was cut" in text for text in forced.result["warnings"])


async def test_a_snapshot_with_a_later_write_gives_way_to_an_older_one(story: Story) -> None:
    """Promise: the newest backup without a write of after the point is used, and those that are passed over are named;
    when all have one, the newest is refused, and force takes it."""
    older, newer = story.tag, (await story.coordinator.backup(keep=False, copies=copies("there")))[0]
    story.scene.nodes[2].point.newest_writes = {newer: story.point + 7}
    request = await checked(story)
    assert request.result["tag"] == older
    assert any(newer in text and "after the point" in text for text in request.result["warnings"])
    story.scene.nodes[2].point.newest_writes[older] = story.point + 1
    refused = await checked(story)
    assert refused.error is not None
    assert [each["code"] for each in refused.error["fields"]["refusals"]] == ["write_after_point"]
    assert refused.error["fields"]["tag"] == newer
    assert (await checked(story, force=True)).result["tag"] == newer


async def test_windows_of_other_backups_are_told_by_a_check_alone(story: Story) -> None:
    """Promise: whoever asks where he can go hears of the backups before and after the chosen one too, as far as every
    node can go by them; a restore asks no node for that."""
    older, later = story.tag, (await story.coordinator.backup(keep=False, copies=copies("there")))[0]
    request = await checked(story)
    assert request.result["tag"] == later
    [[since, until]] = request.result["other_windows"][older]
    assert since < until
    story.scene.nodes[1].point.found = {"other_windows": {older: [[since + 1, until - 1]]}}
    assert (await checked(story)).result["other_windows"] == {older: [[since + 1, until - 1]]}
    story.scene.nodes[2].point.found = {"other_windows": {}}
    assert (await checked(story)).result["other_windows"] == {}
    for node in story.scene.nodes:
        node.point.found = {}
    restored = await story.restored()
    assert restored.state is RequestState.SUCCESS
    assert restored.result["other_windows"] == {}


async def test_a_snapshot_that_some_node_took_after_the_point_is_none(story: Story) -> None:
    """Promise: what began before the point and ended after it on one node is named in the reference's own error."""
    story.scene.nodes[0].point.taken_until = story.point / 1e6 + 1
    request = await checked(story)
    assert request.error is not None
    assert request.error["code"] == "no_snapshot"
    assert f"{story.tag}: it was taken on {story.scene.nodes[0].address} only at" in request.message


async def test_what_all_leaves_out_is_named(story: Story) -> None:
    """Promise: whoever names no keyspace is told what isn't brought to the point: system keyspaces, and what the backup
    hasn't; whoever names one knows."""
    story.scene.world.tables["shop"]["later"] = "id of later"
    story.scene.world.tables["new"] = {"t": "id of t"}
    told = [text for text in (await checked(story, keyspaces=None)).result["warnings"] if "no keyspace" in text]
    assert [text.rpartition(": ")[2] for text in told] == ["new, shop.later, system_auth"]
    archive(story.scene)
    assert "warnings" not in (await checked(story)).result


async def test_a_part_that_can_not_be_read_is_told_and_an_older_backup_taken(story: Story) -> None:
    """Promise: a manifest that is damaged or gone on one node ends no check: an older backup is taken, and where there
    is none the refusal names node, backup and reason; what is no backup's fault ends it as before."""
    later = (await story.coordinator.backup(keep=False, copies=copies("there")))[0]
    node = story.scene.nodes[1]
    node.failures[Kind.PIT_CHECK] = [ToyFailure("manifest_invalid", "its digest is another")]
    request = await checked(story)
    assert (request.state, request.result["tag"]) == (RequestState.SUCCESS, story.tag), request
    assert any(later in text and node.address in text for text in request.result["warnings"])
    node.failures[Kind.PIT_CHECK] = [ToyFailure("manifest_invalid", "its digest is another")] * 2
    error = (await checked(story)).error
    assert error is not None
    assert error["code"] == "point_refused"
    told = [(each["code"], each["fields"]["node"], each["fields"]["tag"]) for each in error["fields"]["refusals"]]
    assert told == [("part_unreadable", node.address, tag) for tag in (later, story.tag)]
    node.unreadable = ToyFailure("storage_denied", "wrong keys")
    error = (await checked(story)).error
    assert error is not None
    assert {(each["code"], each["fields"]["node"]) for each in error["fields"]["refusals"]} == {
        ("part_unreadable", node.address)
    }
    node.unreadable = None
    node.failures[Kind.PIT_CHECK] = [ToyFailure("storage_denied", "wrong keys")]
    assert ((await checked(story)).error or {})["code"] == "nodes_failed"
    assert nothing_started(story)


async def test_a_node_that_is_down_is_named_and_not_started(story: Story) -> None:
    """Promise: a check says what a restore would start first."""
    story.scene.nodes[1].up = False
    request = await checked(story)
    assert request.error is not None
    assert request.error["code"] == "missing_nodes"
    assert request.error["fields"]["missing_nodes"] == [story.scene.nodes[1].address]
    assert story.scene.world.count(Kind.RESTART) == 0


async def test_a_table_that_was_not_there_at_the_point_is_named(story: Story) -> None:
    """Promise: nobody gets an empty table for one that he misspelt, nor is told that its keyspace wasn't there."""
    request = await checked(story, keyspaces={"shop": ["ordres"]})
    assert request.error is not None
    assert request.error["code"] == "unknown_table"
    assert "there was no table shop.ordres" in request.error["message"]
    error = (await checked(story, keyspaces={"sohp": []})).error
    assert error is not None
    assert error["code"] == "unknown_keyspace"


@pytest.mark.parametrize("force", [False, True])
async def test_nobody_lifts_another_ring(story: Story, force: bool) -> None:
    """Promise: a node with other tokens than at the snapshot is named, whatever is forced."""
    story.scene.nodes[1].tokens = ["77"]
    request = await checked(story, force=force)
    assert request.error is not None
    codes = {each["code"] for each in request.error["fields"]["refusals"]}
    assert codes == {"topology_changed"}
    assert msgspec.json.encode(request.error)


async def test_what_was_said_of_one_backup_is_not_taken_for_another(story: Story) -> None:
    """Promise: each backup is asked about under a name of its own, wherever the listing has it: a later life of the
    coordinator, when backups came or went meanwhile, takes no answer for that of another backup."""
    phases = []
    for _ in range(2):
        request = await checked(story)
        assert request.state is RequestState.SUCCESS, request
        commands = await story.coordinator.store.commands.of(request.id)
        phases.append((request.result["tag"], {command.phase for command in commands}))
        await story.coordinator.backup(keep=False, copies=copies("there"))
    (first, before), (second, after) = phases
    assert first != second
    assert before.isdisjoint(after)
