"""Snapshots on the node that bear the name of a backup and that no agent knows of. In: the data directories, and the
agent's own snapshots. Out: their tags.

After an agent's state directory was lost its snapshots stay on the disk: nothing lists, restores or clears them any
more, and they pin the space of what they hold.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog

from agent.cassandra.inventory import snapshot_tags
from agent.cassandra.protocol import OwnSnapshot

NAME = re.compile(r"opscenter_.+_\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-UTC")
"""How OpsCenter and a coordinator name the snapshot of a backup; anybody else's snapshots are nobody's business."""

log = structlog.get_logger(__name__)


class Strays:
    """`data`: asks for the data directories; `ours`: for the snapshots that the agent knows."""

    def __init__(
        self, data: Callable[[], Awaitable[Sequence[str]]], ours: Callable[[], Awaitable[Iterable[OwnSnapshot]]]
    ) -> None:
        self._data = data
        self._ours = ours
        self._told: list[str] = []

    async def look(self) -> list[str]:
        """Their tags, in order; new ones are told in the log. Goes through every table's directory. Raises what asking
        raises, OSError."""
        found = await self._strays()
        if found and found != self._told:
            log.warning("stray_snapshots", tags=found)
        self._told = found
        return found

    async def _strays(self) -> list[str]:
        # Known before or after the look at the disk: one that is taken or cleared meanwhile is no stray.
        before = {one.tag for one in await self._ours()}
        tags = await asyncio.to_thread(snapshot_tags, await self._data(), "opscenter_")
        after = {one.tag for one in await self._ours()}
        return sorted(tag for tag in tags if NAME.fullmatch(tag) and tag not in before | after)
