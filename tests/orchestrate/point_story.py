"""The begin of a restore to a point whose coordinators come and go. In: toy nodes. Out: a backup, rows before the point
and after it, and the state of a coordinator that took the backup and has ended."""

from coordinator.model.requests import RequestState
from tests.cluster.toy_coordinator import copies
from tests.orchestrate.conftest import Scene
from tests.orchestrate.test_point_in_time import Story


async def story_so_far(scene: Scene, state: str = "coordinator") -> Story:
    """`state`: the name of the directory of the coordinator's state."""
    coordinator = await scene.coordinator(state)
    await coordinator.destination("there")
    tag, request = await coordinator.backup(keep=False, copies=copies("there"))
    assert request.state is RequestState.SUCCESS
    story = Story(scene, coordinator, tag)
    await scene.stack.aclose()
    return story
