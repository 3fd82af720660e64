"""A scene whose nodes archive their commit log, with no order of a coordinator's."""

from agent.wire.archiving import ArchiveArguments, LogTarget
from agent.wire.commands import Target
from tests.orchestrate.conftest import Scene


def archive(scene: Scene, *places: str) -> None:
    """Let every node archive to these destinations, or without one on the nodes."""
    targets = [LogTarget(Target(place, "repository", "cluster")) for place in places]
    for agent in scene.agents:
        agent.log.order = ArchiveArguments(enabled=True, targets=targets, keep=not places)
        agent.log.file = agent.log.runs = "archive to /archive"
