"""When all nodes have one schema version."""

from typing import Any

import pytest

from agent.cassandra.errors import SchemaDisagreement
from agent.cassandra.protocol import MemberState
from agent.cassandra.schema_agreement import SchemaAgreement


class Ring:
    """Three nodes with their schema versions. It is its own view and control."""

    def __init__(self, *versions: str) -> None:
        self.versions = {f"127.0.0.{number}": version for number, version in enumerate(versions, 1)}
        self.down: set[str] = set()
        self.looks = 0

    async def schema_versions(self) -> dict[str, str]:
        return self.versions

    async def members(self) -> dict[str, MemberState]:
        return {address: MemberState(address not in self.down, "NORMAL") for address in self.versions}

    async def sleep(self, seconds: float) -> None:
        self.looks += 1
        if self.looks == 3 and "late" in self.versions.values():
            self.versions = dict.fromkeys(self.versions, "v1")


def agreement(ring: Any) -> SchemaAgreement:
    return SchemaAgreement(ring, ring, ring.sleep)


async def test_a_node_that_is_late_is_waited_for() -> None:
    """Promise: nothing goes on with half of the cluster's nodes on the old schema."""
    ring = Ring("v1", "v1", "late")
    assert await agreement(ring).settled(60) == "v1"
    assert ring.looks == 3


async def test_a_node_that_is_down_is_left_out() -> None:
    """Promise: a dead node, which keeps its old version, doesn't hold up the others."""
    ring = Ring("v1", "v1", "v0")
    ring.down.add("127.0.0.3")
    assert await agreement(ring).settled(60) == "v1"


async def test_nodes_that_never_agree_are_named_by_their_versions() -> None:
    """Promise: who is to look at them sees which node has which version; the wait has an end."""
    ring = Ring("v1", "v2", "v2")
    with pytest.raises(SchemaDisagreement) as differ:
        await agreement(ring).settled(5)
    assert differ.value.code == "schema_disagreement"
    assert differ.value.fields["versions"] == {"v1": ["127.0.0.1"], "v2": ["127.0.0.2", "127.0.0.3"]}
