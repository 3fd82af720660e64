"""Snapshots on the node that bear the name of a backup and that no agent knows of. In: the data directories, and the
agent's own snapshots. Out: their tags, looked at once a minute at most.

After an agent's state directory was lost its snapshots stay on the disk: nothing lists, restores or clears them any
more, and they pin the space of what they hold.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog

from agent.cassandra.inventory import snapshot_tags
from agent.cassandra.protocol import OwnSnapshot
from kit.errors import HelenusError

FRESH_SECONDS = 60.0
"""How long a look is good: a node may have thousands of tables."""
PATIENCE_SECONDS = 2.0
"""How long an asker waits for the look; it goes on behind and the next one gets it."""
NAME = re.compile(r"opscenter_.+_\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-UTC")
"""How OpsCenter and a coordinator name the snapshot of a backup; anybody else's snapshots are nobody's business."""

log = structlog.get_logger(__name__)


class Strays:
    """`data`: asks for the data directories; `ours`: for the snapshots that the agent knows. `clock`: seconds that only
    grow."""

    def __init__(
        self,
        data: Callable[[], Awaitable[Sequence[str]]],
        ours: Callable[[], Awaitable[Iterable[OwnSnapshot]]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._data = data
        self._ours = ours
        self._clock = clock
        self._known: list[str] = []
        self._read_at: float | None = None
        self._looking: asyncio.Task[None] | None = None

    async def read(self) -> list[str]:
        """Their tags, in order, as last seen. Never raises, and never waits long for a slow disk."""
        if self._read_at is None or self._clock() - self._read_at >= FRESH_SECONDS:
            if self._looking is None:
                self._looking = asyncio.create_task(self._renew())
            await asyncio.wait({self._looking}, timeout=PATIENCE_SECONDS)
        return self._known

    async def close(self) -> None:
        """Wait for no look any more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    async def _renew(self) -> None:
        try:
            found = await self._look()
            if found and found != self._known:
                log.warning("stray_snapshots", tags=found)
            self._known, self._read_at = found, self._clock()
        except (HelenusError, OSError) as error:  # who asks for the node is told the trouble by its other questions
            log.debug("stray_snapshots_not_read", reason=str(error))
        finally:
            self._looking = None

    async def _look(self) -> list[str]:
        # Known before or after the look at the disk: one that is taken or cleared meanwhile is no stray.
        before = {one.tag for one in await self._ours()}
        tags = await asyncio.to_thread(snapshot_tags, await self._data(), "opscenter_")
        after = {one.tag for one in await self._ours()}
        return sorted(tag for tag in tags if NAME.fullmatch(tag) and tag not in before | after)
