"""GET /v1/node with `members`: whom the node holds for up, where that costs a JVM."""

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

from agent.cassandra.errors import ControlOfAnotherNode, NodetoolMissing
from agent.cassandra.node import CassandraNode
from agent.cassandra.protocol import MemberState
from agent.daemon.node_report import MEMBERS_SECONDS, NodeReports
from agent.wire.node import NodeIdentity, RingMember
from kit.errors import HelenusError

HOSTS = ["a", "b"]


class Node:
    """A node that is data: a ring without who is up, and a failure detector that counts its questions."""

    def __init__(self) -> None:
        self.asked = 0
        self.unusable: HelenusError | None = None
        self.broken = False
        self.wrong: ControlOfAnotherNode | None = None
        self.view = SimpleNamespace(keyspaces=self._nothing, identity=self._identity)
        self.control = SimpleNamespace(members=self._members)
        self.held_bytes = SimpleNamespace(read=self._nothing)
        self.astray = SimpleNamespace(read=self._astray)
        self.known = SimpleNamespace(note=self._note, last=self._nothing)
        self.strays = SimpleNamespace(read=self._none)

    async def _nothing(self) -> None:
        return None

    async def _astray(self) -> ControlOfAnotherNode | None:
        return self.wrong

    async def _note(self, identity: NodeIdentity) -> None:
        return None

    async def _none(self) -> list[str]:
        return []

    async def _identity(self) -> NodeIdentity:
        return NodeIdentity("a", "addr-a", "name", "dc", "r", [], "5.0.9", "p", "v")

    async def ring(self) -> list[RingMember]:
        return [RingMember(host, f"addr-{host}", "dc", "r", "NORMAL", None, [], "5.0.9", "v") for host in HOSTS]

    async def data_directories(self) -> list[object]:
        return []

    def unready(self) -> HelenusError | None:
        return self.unusable

    async def _members(self) -> dict[str, MemberState]:
        self.asked += 1
        if self.broken:
            raise HelenusError("nodetool can't be started")
        return {"addr-b": MemberState(up=False, state="NORMAL")}


def reports_of(node: Node, ticks: Callable[[], float] = time.monotonic) -> NodeReports:
    return NodeReports(
        cast(CassandraNode, node),
        agent_id="agent",
        instance="instance",
        version="1",
        kinds=frozenset(),
        throttle=lambda: 0,
        newest=lambda: 0,
        ticks=ticks,
    )


async def test_a_control_of_another_node_is_the_nodes_trouble() -> None:
    """Promise: it shows before a restore is asked for, beside all that the node itself says."""
    node = Node()
    node.wrong = ControlOfAnotherNode("nodetool leads to b")
    report = await reports_of(node).report()
    assert report.node is not None
    assert (report.trouble or {})["code"] == "control_of_another_node"


async def test_a_node_that_answers_and_can_not_be_ordered_about_is_in_trouble() -> None:
    """Promise: a nodetool that can't be started is told before the first backup needs it, beside all else that is known
    of the node, and no more once it is there."""
    node = Node()
    node.unusable = NodetoolMissing("/nowhere/nodetool can't be started")
    reports = reports_of(node)
    report = await reports.report()
    assert (report.trouble or {})["code"] == "nodetool_missing"
    assert report.node == await node.view.identity()
    assert len(report.ring) == len(HOSTS)
    node.unusable = None
    assert (await reports.report()).trouble is None


async def test_who_is_up_is_looked_at_only_when_asked_and_once_for_all_who_ask() -> None:
    """A JVM each time is too dear for what every request asks; a node that can't say leaves it unknown."""
    node, now = Node(), 1000.0
    reports = reports_of(node, lambda: now)
    assert [member.up for member in (await reports.report()).ring] == [None, None]
    assert node.asked == 0
    answers = await asyncio.gather(*(reports.report(members=True) for _ in range(5)))
    assert [[member.up for member in report.ring] for report in answers] == [[None, False]] * 5
    assert node.asked == 1
    now += MEMBERS_SECONDS
    node.broken = True
    report = await reports.report(members=True)
    assert ([member.up for member in report.ring], report.trouble, node.asked) == ([None, None], None, 2)
