"""The agent's snapshots beside a Cassandra that is only directories: there is no schema to ask for."""

import asyncio
from typing import Any

from agent.cassandra.snapshots import NodeSnapshots
from agent.model.snapshot import KeyspaceSchema, SnapshotInfo
from agent.wire.commands import SnapshotArguments


class SchemalessSnapshots(NodeSnapshots):
    """Takes shop.orders, whatever else is there."""

    async def _take_settled(self, arguments: SnapshotArguments, copy_rate: float, chosen: Any) -> SnapshotInfo:
        schema: asyncio.Future[tuple[KeyspaceSchema, ...]] = asyncio.Future()
        schema.set_result(())
        return await self._take_once(arguments, {"shop": ["orders"]}, schema, copy_rate)
