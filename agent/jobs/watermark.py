"""Keeps Cassandra from starving while bytes are copied: in, the node's snapshots; out, the oldest of the agent's own
given up, by name, whenever a data volume has too little free.

Only snapshots that were taken to be copied go, and only those that hold bytes of their own: first such as no command
works on any more, then the one that is being copied. On-server backups are a person's to delete.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from agent.cassandra.errors import CassandraError, NoDataDirectories, SnapshotMissing, SnapshotUnreadable
from agent.cassandra.protocol import OwnSnapshot, Snapshots
from agent.jobs.copying.errors import SnapshotGivenUp
from agent.jobs.giving_up import give_up
from agent.jobs.in_use import InUse
from agent.repository.on_server import OnServer

Result = TypeVar("Result")
EVERY_SECONDS = 5.0
_LONGEST_SECONDS = 60.0
_log = structlog.get_logger(__name__)


class Watermark:
    """`keep_free`: percent of each data volume that stays free."""

    def __init__(
        self,
        snapshots: Snapshots,
        on_server: OnServer,
        keep_free: float,
        in_use: InUse,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._snapshots = snapshots
        self._on_server = on_server
        self._keep_free = keep_free
        self._in_use = in_use
        self._sleep = sleep

    async def guarded(self, tag: str, work: Awaitable[Result], given_up: list[str]) -> Result:
        """The result of `work`, which copies the snapshot `tag`. Raises SnapshotGivenUp when that one had to go.
        `given_up` is told the tags of those that went before."""
        working = asyncio.ensure_future(work)
        guarding = asyncio.ensure_future(self._guard(tag, given_up))
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

    async def _guard(self, tag: str, given_up: list[str]) -> None:
        pause = EVERY_SECONDS
        while True:
            await self._sleep(pause)
            try:
                gone, paths = await self._look(tag, given_up)
            except CassandraError as error:  # the copy itself needs no Cassandra
                _log.warning("watermark_not_looked_at", code=error.code, reason=error.message)
                continue
            except Exception:  # noqa: BLE001 - and none of this may end it
                pause = min(pause * 2, _LONGEST_SECONDS)
                _log.exception("watermark_not_looked_at", next_in_seconds=pause)
                continue
            # A look for what can be freed walks whole snapshots: in vain, it need not be done again so soon.
            pause = min(pause * 2, _LONGEST_SECONDS) if paths and gone is None else EVERY_SECONDS
            if gone == tag:
                raise SnapshotGivenUp(
                    f"the snapshot {tag} was cleared: less than {self._keep_free:g} % is free on {', '.join(paths)}",
                    tag=tag,
                    volumes=paths,
                    given_up=list(given_up),
                )

    async def _look(self, tag: str, given_up: list[str]) -> tuple[str | None, list[str]]:
        """Give up a snapshot where a volume is too full; its tag and the volumes."""
        paths = [one.path for one in await self._snapshots.volumes_below(self._keep_free)]
        for one in await self._candidates(tag) if paths else ():
            if not await self._frees(one, copied=tag):
                continue
            async with self._in_use.clearing:
                if one.tag != tag and self._in_use.has(one.tag):
                    continue
                _log.warning("snapshot_given_up", tag=one.tag, volumes=paths)
                given_up.append(one.tag)  # before: the copy may end, and with it this, while Cassandra clears it
                try:
                    await give_up(one.tag, self._snapshots, self._on_server)
                except (NoDataDirectories, SnapshotUnreadable) as error:  # cleared as far as can be seen, else owed
                    _log.warning("snapshot_owed", tag=one.tag, code=error.code, reason=error.message)
                except Exception:
                    given_up.remove(one.tag)
                    raise
            return one.tag, paths
        return None, paths

    async def _candidates(self, tag: str) -> list[OwnSnapshot]:
        """What may go, in this order: those that no command works on, the oldest first; then `tag` itself."""
        own = [one for one in await self._snapshots.ours() if not (one.complete and one.kept)]
        idle = [one for one in own if one.tag != tag and not self._in_use.has(one.tag)]
        return [*sorted(idle, key=lambda one: one.began_at), *(one for one in own if one.tag == tag)]

    async def _frees(self, one: OwnSnapshot, copied: str) -> bool:
        """Whether the snapshot holds bytes that nothing else holds: clearing another one would lose it for nothing. One
        that is gone, wholly or in part (its time has passed, or somebody cleared it), is of no use to anybody: what is
        left of it and its note go too, unless the copy that is under way is about to find that out. One that can't be
        read wholly goes only for what it holds on the disks that answer."""
        try:
            await self._snapshots.inventory(one.tag)
        except SnapshotMissing:
            async with self._in_use.clearing:
                if one.tag != copied and not self._in_use.has(one.tag):
                    _log.warning("snapshot_vanished", tag=one.tag)
                    with contextlib.suppress(CassandraError):
                        await give_up(one.tag, self._snapshots, self._on_server)
            return False
        except (NoDataDirectories, SnapshotUnreadable) as error:
            _log.warning("snapshot_not_looked_at", tag=one.tag, code=error.code, reason=error.message)
        return (await self._snapshots.held_alone(one.tag)).data_bytes > 0
