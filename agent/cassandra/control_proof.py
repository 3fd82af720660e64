"""Orders go to the very node that is asked by CQL. In: a control's orders, the doors they go through, and who the node
behind CQL is. Out: the same orders, or `ControlOfAnotherNode` before anything is done to a foreign node.

Several nodes on one machine differ by a port alone: one digit wrong in agent.toml, and an import, a clear or a snapshot
is carried out, well, by another node. A door is asked for its host id once in a life of Cassandra: nodetool starts a
JVM for it, so that its proof is kept over the agent's own starts too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.cassandra.errors import CassandraError, ControlOfAnotherNode, SnapshotExists, TableNotFound
from agent.cassandra.node_view import NodeLife
from agent.cassandra.proof_notes import Proof, ProofNotes
from agent.cassandra.protocol import MemberState, NodeOrders
from agent.wire.node import Tables
from kit.errors import HelenusError


@dataclass(frozen=True)
class Door:
    """A way of orders into Cassandra. `setting`: its name in agent.toml; `where` it leads, for a person; `host_id` asks
    the node behind it who it is; `dear`: that takes a JVM; `opened_with`: a digest of all its settings."""

    setting: str
    where: str
    host_id: Callable[[], Awaitable[str]]
    dear: bool
    opened_with: str


class ProvenControl:
    """See `NodeControl`. `life` asks CQL who its node is. `by`: the door of all orders but imports; `imports_by`: that
    of imports. `notes` keep what was proven of dear doors."""

    def __init__(
        self,
        orders: NodeOrders,
        life: Callable[[], Awaitable[NodeLife]],
        *,
        by: Door,
        imports_by: Door,
        notes: ProofNotes,
    ) -> None:
        self._orders = orders
        self._life = life
        self._by = by
        self._imports_by = imports_by
        self._notes = notes
        self._proven: dict[str, Proof] | None = None
        self._wrong: set[str] = set()
        self._taken: set[str] = set()
        self._one_at_a_time = asyncio.Lock()

    async def snapshot(self, tag: str, tables: Tables, ttl_seconds: int | None) -> None:
        """See `NodeOrders.snapshot`. A door that costs a JVM is asked beforehand only where it was wrong before: a
        backup has time for two of them, and a snapshot that another node made is missing here, which is noticed."""
        if not self._by.dear or self._by.setting in self._wrong:
            await self._prove(self._by)
        try:
            await self._orders.snapshot(tag, tables, ttl_seconds)
        except (SnapshotExists, TableNotFound) as error:
            raise await self.cause(error) from None
        self._taken.add(tag)

    async def clear_snapshot(self, tag: str) -> None:
        """See `NodeOrders.clear_snapshot`. One that was taken through the same door is not looked at again; any other
        may be another node's backup of that tag."""
        if tag not in self._taken:
            await self._prove(self._by)
        await self._orders.clear_snapshot(tag)
        self._taken.discard(tag)

    async def import_sstables(self, keyspace: str, table: str, directories: Sequence[Path]) -> str:
        """See `NodeOrders.import_sstables`."""
        await self._prove(self._imports_by)
        return await self._orders.import_sstables(keyspace, table, directories)

    async def members(self) -> dict[str, MemberState]:
        """See `NodeOrders.members`."""
        return await self._orders.members()

    async def prove(self) -> None:
        """See `NodeControl.prove`."""
        await self._prove(self._by)
        if self._imports_by is not self._by:
            await self._prove(self._imports_by)

    async def cause(self, error: CassandraError) -> CassandraError:
        """See `NodeControl.cause`."""
        return await self.astray() or error

    async def astray(self) -> ControlOfAnotherNode | None:
        """What `prove` would raise of a door that leads to another node; None also when that can't be found out."""
        try:
            await self.prove()
        except ControlOfAnotherNode as error:
            return error
        except HelenusError:
            return None  # who needs the door is told then
        return None

    async def _prove(self, door: Door) -> None:
        async with self._one_at_a_time:  # who comes meanwhile finds it proven
            life = await self._life()
            if self._proven is None:
                self._proven = await self._notes.load()
            proof = Proof(door.opened_with, life)
            if self._proven.get(door.setting) == proof:
                return
            found = await door.host_id()
            if found == life.host_id:
                self._wrong.discard(door.setting)
                self._proven[door.setting] = proof
                if door.dear:
                    await self._notes.keep({door.setting: proof})
                return
            self._wrong.add(door.setting)
            raise ControlOfAnotherNode(
                f"`{door.setting}` ({door.where}) leads to the node {found}, `cassandra.cql` to {life.host_id}",
                setting=door.setting,
                where=door.where,
                host_id=life.host_id,
                other_host_id=found,
            )
