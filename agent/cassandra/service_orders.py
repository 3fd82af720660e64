"""Orders to Cassandra around its stop and start, by nodetool: they work while native transport is off. In: nothing but
names that were checked. Out: what happened, or an error of `agent.cassandra.errors`.

nodetool and not Jolokia: these are few, and a drained Cassandra answers JMX the longest.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from agent.cassandra.errors import CassandraUnavailable, ControlOfAnotherNode, NodetoolFailed, NodetoolTimeout
from agent.cassandra.nodetool import Nodetool
from agent.cassandra.service_errors import DrainFailed, NativeTransportNot
from agent.cassandra.settings import NodetoolSettings

NORMAL, DRAINED = "NORMAL", "DRAINED"
"""Modes of a node [X: StorageService.Mode]: in the ring and serving; drained, of no use until it is started anew."""

_MODE = re.compile(r"^Mode: ([A-Z_]+)$", re.MULTILINE)


class ServiceOrders:
    """`known_host_id`: who this node is, also while CQL doesn't answer."""

    def __init__(self, settings: NodetoolSettings, known_host_id: Callable[[], Awaitable[str]]) -> None:
        self._nodetool = Nodetool(settings)
        self._known_host_id = known_host_id
        self._where = f"{settings.host}:{settings.port}"
        self._rebuild_seconds = settings.import_deadline_seconds

    async def prove(self) -> None:
        """That nodetool leads to this agent's own node. Raises `ControlOfAnotherNode`, and the error of the call."""
        own, found = await self._known_host_id(), await self._nodetool.host_id()
        if own != found:
            raise ControlOfAnotherNode(
                f"`cassandra.nodetool` ({self._where}) leads to the node {found}, and this one is {own}",
                setting="cassandra.nodetool",
                where=self._where,
                host_id=own,
                other_host_id=found,
            )

    async def mode(self) -> str | None:
        """STARTING, NORMAL, DRAINING, DRAINED, …; None while it doesn't say: it starts, ends or hangs. Raises what is
        wrong with nodetool itself, or with the agent's user."""
        try:
            found = _MODE.search(await self._nodetool.order("netstats"))
        except (CassandraUnavailable, NodetoolFailed, NodetoolTimeout):
            return None
        return None if found is None else found[1]

    async def flush(self) -> None:
        """Flush every table, so that no closed segment of the commit log is needed any more."""
        await self._nodetool.order("flush")

    async def drain(self, deadline: float) -> None:
        """Let the node take nothing more, flush everything, and look that it is so. One that is drained already is
        fine; it is of no use until it is started anew. `deadline`: seconds. Raises `DrainFailed`."""
        if await self.mode() == DRAINED:
            return
        await self._nodetool.order("drain", deadline=deadline)
        mode = await self.mode()
        if mode != DRAINED:
            raise DrainFailed(f"after nodetool drain the node is {mode or 'silent'}, not {DRAINED}", mode=mode)

    async def native_running(self) -> bool:
        """Whether clients are let in."""
        return "not running" not in await self._nodetool.order("statusbinary")

    async def disable_native(self) -> None:
        """Let clients in no more, and look that it is so. Raises `NativeTransportNot`."""
        await self._switch("disablebinary", wanted="off")

    async def enable_native(self) -> None:
        """Let clients in, and look that it is so. Raises `NativeTransportNot`."""
        await self._switch("enablebinary", wanted="on")

    async def replay_batch_log(self, deadline: float) -> None:
        """Have every batch that is noted in the batch log applied now. `deadline`: seconds."""
        await self._nodetool.order("replaybatchlog", deadline=deadline)

    async def rebuild_index(self, keyspace: str, table: str, names: Sequence[str]) -> None:
        """Build indexes of the table anew from its rows, as long as an import may take. Raises `TableNotFound`."""
        await self._nodetool.order("rebuild_index", keyspace, table, *names, deadline=self._rebuild_seconds)

    async def _switch(self, order: str, *, wanted: Literal["on", "off"]) -> None:
        try:
            await self._nodetool.order(order)
        except NodetoolFailed:
            if await self.native_running() is not (wanted == "on"):
                raise
        if await self.native_running() is not (wanted == "on"):
            raise NativeTransportNot(f"after nodetool {order} native transport is not {wanted}", wanted=wanted)
