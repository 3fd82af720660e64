"""What a check of a point says of nodes that don't archive their commit log."""

from typing import Any

from agent.wire.archiving import LogGap
from coordinator.model.requests import RequestState
from coordinator.orchestrate.point_in_time.unarchived import NAME_IT, OFF, SEND_AGAIN, TURN_ON
from tests.orchestrate.archiving_scene import archive
from tests.orchestrate.test_point_checked import checked, nothing_started
from tests.orchestrate.test_point_in_time import Story
from tests.orchestrate.test_point_in_time import story as story

NO_LOG: dict[str, Any] = {"covered_until": None, "own_log": False}


async def test_a_point_without_a_log_says_that_archiving_is_off_and_how_to_turn_it_on(story: Story) -> None:
    """Promise: the refusal of each node that has no log names the cause and its remedy, in the sentence, in what to do,
    and in a list of such nodes; a restore is refused by the same."""
    for node in story.scene.nodes:
        node.point.found = NO_LOG
    error = (await checked(story)).error
    assert error is not None
    assert error["code"] == "point_refused"
    assert OFF in error["message"]
    for refusal, node in zip(error["fields"]["refusals"], story.scene.nodes, strict=True):
        assert (refusal["code"], refusal["fields"]["node"]) == ("log_short", node.address)
        assert refusal["message"].endswith(f"; now {OFF}")
        assert refusal["todo"].startswith(TURN_ON)
    nodes = sorted(node.address for node in story.scene.nodes)
    assert error["fields"]["nodes_without"] == [{"address": node, "why": OFF, "todo": TURN_ON} for node in nodes]
    assert any(text.startswith(f"{', '.join(nodes)}: {OFF}") for text in error["fields"]["warnings"])
    restore = await story.restored()
    assert restore.error is not None
    assert restore.error["fields"]["refusals"] == error["fields"]["refusals"]
    assert nothing_started(story)


async def test_only_the_nodes_that_do_not_archive_are_blamed(story: Story) -> None:
    """Promise: a gap on a node that archives has another cause; one whose Cassandra was not restarted yet is told what
    brings that about."""
    archive(story.scene)
    off, whole = story.scene.agents[0], story.scene.agents[1]
    off.log.runs = ""
    gap = LogGap("", "CommitLog-7-6.log", story.point / 1e6 - 9, story.point / 1e6 - 8, "it was cut")
    for agent in (off, whole):
        agent.node.point.found = {"gaps": [gap], "covered_until": gap.since}
    error = (await checked(story)).error
    assert error is not None
    told = {each["fields"]["node"]: each for each in error["fields"]["refusals"]}
    assert told[off.node.address]["todo"].startswith(SEND_AGAIN)
    assert "was not restarted" in told[off.node.address]["message"]
    assert told[whole.node.address]["message"].endswith("it was cut")
    assert [each["address"] for each in error["fields"]["nodes_without"]] == [off.node.address]


async def test_a_log_that_goes_to_another_place_is_said(story: Story) -> None:
    """Promise: whoever looks for the log where it isn't archived to is told where it is."""
    archive(story.scene, "there")
    for node in story.scene.nodes:
        node.point.found = NO_LOG
    error = (await checked(story)).error
    assert error is not None
    refusal = error["fields"]["refusals"][0]
    assert refusal["message"].endswith("; now it archives to there, not to OPSC_ON_SERVER")
    assert refusal["todo"].startswith(NAME_IT)
    assert error["fields"]["warnings"] == []
    error = (await checked(story, pit_destination="there")).error
    assert error is not None
    assert error["fields"]["nodes_without"] == []
    assert error["fields"]["pit_destination"]["id"] == "there"


async def test_a_point_that_can_be_had_without_archiving_says_so_too(story: Story) -> None:
    """Promise: who has his point from Cassandra's own log alone hears that it won't stay so."""
    told = await checked(story)
    assert told.state is RequestState.SUCCESS
    assert [text for text in told.result["warnings"] if OFF in text and TURN_ON in text]
    assert len(told.result["nodes_without"]) == 3
    archive(story.scene)
    told = await checked(story)
    assert "warnings" not in told.result
    assert told.result["nodes_without"] == []
