"""A node with a few tables, a store in memory and an agent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fast.jobs.agent_in_memory import Agent, Faults
from tests.fast.jobs.clock import Clock
from tests.fast.jobs.four_destinations import Four
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


@pytest.fixture
def four(node: Node, tmp_path: Path) -> Iterator[Four]:
    found = Four(node, tmp_path / "state")
    base = node.sstable("shop", "orders", 77, 0)
    base.write_bytes(b"a row like every other; " * 200_000)  # what zstd makes small
    base.with_name("nb-77-big-Digest.crc32").unlink()
    yield found
    found.agent.close()
