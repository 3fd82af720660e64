"""Who is up, by what the nodes say of each other: agents' reports in, one line per node out."""

from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.wire.node import NodeReport, RingMember
from coordinator.fleet.client import AgentClient
from coordinator.fleet.registry import Agent
from coordinator.orchestrate.topology import cluster_nodes
from tests.cluster.large_cluster import LargeCluster
from tests.cluster.toy_coordinator import CLUSTER as TOY
from tests.orchestrate.conftest import Scene

NODES = 4
CLUSTER = LargeCluster(NODES, 1, 1)
HOSTS = [member.host_id for member in CLUSTER.members]
UP = st.sampled_from([True, False, None])


class Client:
    """An agent's address."""

    def __init__(self, number: int, url: str = "") -> None:
        self.url = url or f"http://agent{number}"


def agent(report: NodeReport, number: int) -> Agent:
    known = Agent(cast(AgentClient, Client(number)))
    known.report, known.identity = report, report.node
    return known


def ring(held: list[bool | None]) -> list[RingMember]:
    return [msgspec.structs.replace(member, up=up) for member, up in zip(CLUSTER.members, held, strict=True)]


@settings(max_examples=200, deadline=None)
@given(
    rings=st.lists(st.lists(UP, min_size=NODES, max_size=NODES), min_size=1, max_size=2),
    chosen=st.lists(st.integers(0, 1), min_size=NODES, max_size=NODES),
    told=st.dictionaries(st.integers(0, NODES - 1), st.dictionaries(st.sampled_from(HOSTS), st.booleans()), max_size=2),
)
def test_the_majority_of_the_others_decides_who_is_up(
    rings: list[list[bool | None]], chosen: list[int], told: dict[int, dict[str, bool]]
) -> None:
    """What a node was asked for itself counts instead of what its report says, and nobody's word of itself; agents
    that see the same share one ring, as the registry keeps it."""
    shared = [ring(held) for held in rings]
    seen = [shared[number % len(shared)] for number in chosen]
    agents = [
        agent(msgspec.structs.replace(CLUSTER.report(number), ring=members), number)
        for number, members in enumerate(seen)
    ]
    expected: dict[str, bool] = {}
    for index, host_id in enumerate(HOSTS):
        said = [told.get(number, {}).get(host_id, members[index].up) for number, members in enumerate(seen)]
        votes = [up for number, up in enumerate(said) if up is not None and number != index]
        expected[host_id] = 2 * sum(votes) > len(votes) if votes else True
    found = cluster_nodes(agents, {f"http://agent{number}": held for number, held in told.items()})
    assert {node.host_id: node.up for node in found} == expected


@pytest.mark.parametrize("alive", [True, False])
def test_a_node_of_which_nobody_says_anything_is_up_when_its_own_agent_sees_it(alive: bool) -> None:
    """Otherwise nobody knows, and the answer says why."""
    members: Any = ring([None] * NODES)
    report = msgspec.structs.replace(CLUSTER.report(0), ring=members)
    agents = [agent(report, 0)]
    if alive:
        agents.append(agent(msgspec.structs.replace(CLUSTER.report(1), ring=members), 1))
    found = {node.host_id: node for node in cluster_nodes(agents)}
    assert found[HOSTS[0]].up is True
    assert found[HOSTS[1]].up is (True if alive else None)
    assert found[HOSTS[2]].up_unknown == "no configured agent is of this node"


@pytest.mark.parametrize("up", [True, False])
async def test_others_tell_of_a_node_whose_agent_was_never_heard_whether_it_is_up(scene: Scene, up: bool) -> None:
    """Promise: also to a coordinator that began while that agent was down: the node is one line, with its agent and
    what the others' nodes hold it for, and not a second one of which nobody knows anything."""
    await scene.agents[1].stop()
    for node in scene.nodes:
        node.seen_up = None
        node.held_up = {1: True, 2: up, 3: True}
    coordinator = await scene.coordinator()
    found = await coordinator.orchestrator.nodes(TOY)
    assert [node.address for node in found] == [node.address for node in scene.nodes]
    assert [node.agent for node in found] == [each.url for each in scene.agents]
    assert [(node.up, node.agent_up, node.up_unknown) for node in found] == [
        (True, True, ""),
        (up, False, ""),
        (True, True, ""),
    ]
    assert (found[1].trouble or {})["code"] == "agent_unreachable"


@pytest.mark.parametrize(
    ("hosts", "joined"),
    [([1], [1]), ([1, 1], []), ([0], []), ([1, 2], [1, 2]), ([None], [])],
    ids=["its own", "two there", "one that has an agent", "two nodes", "elsewhere"],
)
def test_an_agent_that_was_never_heard_is_that_of_the_one_node_at_its_address(
    hosts: list[int | None], joined: list[int]
) -> None:
    """Promise: never by guess: where two listen, or the node has its agent, it stands by itself."""
    members: Any = ring([None] * NODES)
    agents = [agent(msgspec.structs.replace(CLUSTER.report(0), ring=members), 0)]
    for number, host in enumerate(hosts):
        address = "elsewhere" if host is None else CLUSTER.members[host].address
        agents.append(Agent(cast(AgentClient, Client(number, f"http://{address}:{number + 1}"))))
    found = cluster_nodes(agents)
    assert [HOSTS.index(node.host_id) for node in found if node.host_id and node.agent][1:] == joined
    assert len([node for node in found if not node.host_id]) == len(hosts) - len(joined)
