"""A node with a few tables, a store in memory and an agent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fast.jobs.agent_in_memory import Agent, Faults
from tests.fast.jobs.node import Node
from tests.fast.storage.memory import MemoryStorage


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = Node(tmp_path / "node")
    node.sstable("shop", "orders", 1, 3_000_000)
    node.sstable("shop", "orders", 2, 40_000)
    node.sstable("many", "t1", 1, 500)
    node.sstable("many", "t1", 2, 700, index=".by_name")
    node.table("many", "empty")
    return node


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def store(faults: Faults) -> MemoryStorage:
    return MemoryStorage(clock=Clock(), hook=faults)


@pytest.fixture
def agent(node: Node, store: MemoryStorage, tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(node, {"d1": store}, tmp_path / "state")
    yield agent
    agent.close()


class Clock:
    """A store's clock: a second passes with each object."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now
