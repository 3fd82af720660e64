"""A proven control over any orders: a test says which node answers by CQL, and which one is behind nodetool."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.cassandra.control_proof import Door, ProvenControl
from agent.cassandra.node_view import NodeLife
from agent.cassandra.proof_notes import ProofNotes
from agent.cassandra.protocol import NodeOrders

OWN = "f07c0f1d-962d-4981-b44f-35682d1a3fe8"
OTHER = "0e0b4a52-6c0f-4d7b-9d3c-5f6f0a1f2c33"
NOWHERE = Path("/proc/self/control-proof.json")
"""Where nothing can be kept."""


class Site:
    """`own`: the node behind CQL, in its `generation`; `behind`: the nodes behind the doors by their setting; `asked`:
    which doors were asked who they lead to."""

    def __init__(self, behind: dict[str, str]) -> None:
        self.own = OWN
        self.generation = 1
        self.behind = behind
        self.asked: list[str] = []

    async def life(self) -> NodeLife:
        """Who answers by CQL."""
        return NodeLife(self.own, self.generation)

    def door(self, setting: str, *, dear: bool) -> Door:
        """A door to whatever node is behind it by then."""
        return Door(setting, "127.0.0.1:7299", self._asks(setting), dear, opened_with="7299")

    def _asks(self, setting: str) -> Callable[[], Awaitable[str]]:
        async def host_id() -> str:
            self.asked.append(setting)
            return self.behind[setting]

        return host_id


def proven(orders: NodeOrders, behind: str = OWN) -> ProvenControl:
    """A control by nodetool, which leads to the node `behind`."""
    site = Site({"cassandra.nodetool": behind})
    door = site.door("cassandra.nodetool", dear=True)
    return ProvenControl(orders, site.life, by=door, imports_by=door, notes=ProofNotes(NOWHERE))
