"""Keeps Cassandra from starving while bytes are copied: in, the node's snapshots; out, the oldest of the agent's own
given up, by name, whenever a data volume has too little free.

Snapshots that were only taken to be copied go before on-server backups, older ones before younger ones.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from agent.cassandra.errors import CassandraError
from agent.cassandra.protocol import OwnSnapshot, Snapshots
from agent.jobs.copy_errors import SnapshotGivenUp
from agent.repository.on_server import OnServer

Result = TypeVar("Result")
EVERY_SECONDS = 5.0
_log = structlog.get_logger(__name__)


class Watermark:
    """`keep_free`: percent of each data volume that stays free."""

    def __init__(
        self,
        snapshots: Snapshots,
        on_server: OnServer,
        keep_free: float,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._snapshots = snapshots
        self._on_server = on_server
        self._keep_free = keep_free
        self._sleep = sleep

    async def guarded(self, tag: str, work: Awaitable[Result]) -> Result:
        """The result of `work`, which copies the snapshot `tag`. Raises SnapshotGivenUp when that one had to go."""
        working = asyncio.ensure_future(work)
        guarding = asyncio.ensure_future(self._guard(tag))
        try:
            await asyncio.wait([working, guarding], return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                working.cancel()
                await asyncio.wait([working])
                guarding.result()  # raises what ended it
            return working.result()
        finally:
            for task in (guarding, working):
                if not task.done():
                    task.cancel()
            await asyncio.gather(guarding, working, return_exceptions=True)

    async def _guard(self, tag: str) -> None:
        while True:
            await self._sleep(EVERY_SECONDS)
            try:
                gone, paths = await self._look()
            except CassandraError as error:  # the copy itself needs no Cassandra
                _log.warning("watermark_not_looked_at", code=error.code, reason=error.message)
                continue
            if gone == tag:
                raise SnapshotGivenUp(
                    f"the snapshot {tag} was cleared: less than {self._keep_free:g} % is free on {', '.join(paths)}",
                    tag=tag,
                    volumes=paths,
                )

    async def _look(self) -> tuple[str | None, list[str]]:
        """Give up a snapshot where a volume is too full; its tag and the volumes."""
        paths = [one.path for one in await self._snapshots.volumes_below(self._keep_free)]
        oldest = _first_to_go(await self._snapshots.ours()) if paths else None
        if oldest is None:
            return None, paths
        _log.warning("snapshot_given_up", tag=oldest.tag, volumes=paths)
        await self._on_server.forget(oldest.tag)
        await self._snapshots.clear(oldest.tag)
        return oldest.tag, paths


def _first_to_go(own: tuple[OwnSnapshot, ...]) -> OwnSnapshot | None:
    def order(one: OwnSnapshot) -> tuple[bool, float]:
        return (one.info is not None and one.info.kept, one.began_at)

    return min(own, key=order, default=None)
