"""Where the backup lies that a check of a point would use, and which other places have one."""

import pytest

from coordinator.orchestrate.point_in_time.errors import NoSnapshot
from tests.cluster.toy_cluster import ToyFailure
from tests.orchestrate.archiving_scene import archive
from tests.orchestrate.test_point_checked import checked
from tests.orchestrate.test_point_in_time import Story
from tests.orchestrate.test_point_in_time import story as story

THERE = {"id": "there", "provider": "local", "path": "there"}
ON_NODES = {"id": "OPSC_ON_SERVER", "provider": "server"}


async def test_the_place_of_the_backup_is_told(story: Story) -> None:
    """Promise: a check names id and place of where the backup is and of where the log is, in its sentence too; so it
    does when it refuses."""
    told = await checked(story)
    assert (told.result["destination"], told.result["pit_destination"]) == (THERE, ON_NODES)
    assert f"{story.tag} in the destination there (local there)" in told.message
    kept, _ = await story.coordinator.backup()
    told = await checked(story, destination=None)
    assert (told.result["tag"], told.result["destination"]) == (kept, ON_NODES)
    assert f"{kept} on the nodes (OPSC_ON_SERVER)" in told.message
    story.scene.nodes[1].tokens = ["77"]
    error = (await checked(story)).error
    assert error is not None
    assert error["fields"]["destination"] == THERE


async def test_a_place_without_a_backup_names_those_that_have_one(story: Story) -> None:
    """Promise: whoever names no destination, or one without a backup from before the point, reads which other place has
    one, by the id to order it with; those that have none are left out."""
    await story.coordinator.destination("empty")
    archive(story.scene)
    for wrong in (None, "empty"):
        with pytest.raises(NoSnapshot) as refused:
            await checked(story, destination=wrong)
        assert refused.value.fields["elsewhere"] == [{"destination": THERE, "tag": story.tag}]
        assert f"{story.tag} lies in the destination there (local there)" in refused.value.message
        assert "nodes_without" not in refused.value.fields
    kept, _ = await story.coordinator.backup()
    with pytest.raises(NoSnapshot) as refused:
        await checked(story, destination="empty")
    found = refused.value.fields["elsewhere"]
    assert isinstance(found, list)
    assert [each["tag"] for each in found] == [kept, story.tag]


async def test_places_that_can_not_be_listed_hide_no_refusal(story: Story) -> None:
    """Promise: a destination that is away is no other error: the point is refused as where there is none."""
    for node in story.scene.nodes:
        node.unreadable = ToyFailure("storage_denied", "wrong keys")
    with pytest.raises(NoSnapshot) as refused:
        await checked(story, destination=None)
    assert "elsewhere" not in refused.value.fields


async def test_no_backup_and_no_archiving_are_told_together(story: Story) -> None:
    """Promise: who is about to take his first backup hears that it leads nowhere while archiving is off; where no place
    has a backup none is named."""
    with pytest.raises(NoSnapshot) as refused:
        await checked(story, pit_micros=1_000_000)
    assert refused.value.message.startswith("No snapshots found before date and time: 01-01-1970 00:00:01 UTC")
    assert "elsewhere" not in refused.value.fields
    without = refused.value.fields["nodes_without"]
    assert isinstance(without, list)
    assert len(without) == 3


async def test_a_backup_that_can_not_be_read_names_its_copies(story: Story) -> None:
    """Promise: where a node's part of the only backup is lost, another place's backup is named."""
    kept, _ = await story.coordinator.backup()
    story.scene.nodes[1].unreadable = ToyFailure("storage_denied", "wrong keys")
    error = (await checked(story)).error
    assert error is not None
    assert error["code"] == "point_refused"
    assert [each["tag"] for each in error["fields"]["elsewhere"]] == [kept]
    assert f"{kept} lies on the nodes (OPSC_ON_SERVER)" in error["message"]
