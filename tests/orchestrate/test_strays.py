"""Snapshots that a node's agent has lost sight of are told with the node."""

import msgspec
import pytest

from agent.wire.node import NodeReport
from tests.cluster.toy_coordinator import CLUSTER
from tests.orchestrate.conftest import Scene


async def test_the_list_of_nodes_names_the_snapshots_that_an_agent_does_not_know(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stand in no listing, and pin the space of what they hold."""
    agent = scene.agents[1]
    usual = agent.report

    async def report(*, members: bool = False, truncations: bool = False) -> NodeReport:
        return msgspec.structs.replace(await usual(members=members), stray_snapshots=("lost",))

    monkeypatch.setattr(agent, "report", report)
    coordinator = await scene.coordinator()
    assert [node.strays for node in await coordinator.orchestrator.nodes(CLUSTER)] == [[], ["lost"], []]
