"""Who the node is, also while Cassandra is down, and after the agent was started anew meanwhile."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from agent.cassandra.errors import CassandraUnavailable
from agent.cassandra.known_node import KnownFacts, KnownNode
from agent.cassandra.node_directories import NodeDirectories
from agent.cassandra.node_view import NodeView
from agent.wire.node import NodeIdentity

IDENTITY = NodeIdentity("a", "addr-a", "name", "dc", "r", ["0"], "5.0.9", "p", "v")


class Node:
    """A node that is up or down."""

    def __init__(self) -> None:
        self.up = True
        self.identity = IDENTITY

    def known(self, path: Path) -> KnownNode:
        async def identity() -> NodeIdentity:
            if not self.up:
                raise CassandraUnavailable("down")
            return self.identity

        async def every() -> tuple[str, ...]:
            return ("/data", "/system")

        async def commitlog() -> str:
            return "/commitlog"

        view, directories = SimpleNamespace(identity=identity), SimpleNamespace(every=every, commitlog=commitlog)
        return KnownNode(cast(NodeView, view), cast(NodeDirectories, directories), path)


async def test_what_the_node_said_is_known_while_it_is_down(tmp_path: Path) -> None:
    """Promise: over the agent's own restarts, and what it says next replaces it; a node that never answered is not
    known."""
    node, path = Node(), tmp_path / "state" / "node.json"
    known = KnownFacts(IDENTITY, ("/data", "/system"), "/commitlog")
    assert await node.known(path).facts() == known
    node.up = False
    assert await node.known(path).facts() == known
    assert await node.known(path).host_id() == "a"
    node.up, node.identity = True, NodeIdentity("b", "addr-b", "name", "dc", "r", ["0"], "5.0.9", "p", "v")
    assert await node.known(path).host_id() == "b"
    node.up = False
    assert await node.known(path).host_id() == "b"
    with pytest.raises(CassandraUnavailable):
        await node.known(tmp_path / "other.json").facts()


async def test_a_damaged_note_is_no_answer(tmp_path: Path) -> None:
    """Promise: nothing is believed that can't be read; the next answer mends it."""
    node, path = Node(), tmp_path / "node.json"
    path.write_text("{")
    node.up = False
    with pytest.raises(CassandraUnavailable):
        await node.known(path).facts()
    node.up = True
    await node.known(path).facts()
    node.up = False
    assert await node.known(path).host_id() == "a"
