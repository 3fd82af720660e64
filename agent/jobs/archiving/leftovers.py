"""Segments that Cassandra's archive command could not archive. In: looks at the directories. Out: the same segments in
the archive, and a commit-log directory that stays under its bound.

Cassandra never offers such a segment again while it lives, and never deletes it (4.1, 5.0); at its next start it offers
it once more, replays it, and deletes it whatever comes of that. So the agent archives it itself, with the same program,
as soon as there is room.

Cassandra leaves a segment, too, where the command can't run at all (a volume mounted noexec, no shell for its user) and
notes nothing: it is closed for half a minute, and the command was not even called for it. The agent calls the command
by way of the shell. One that was called may still be at it: that one is left alone as long as it can last.

Deleting one from Cassandra's directory needs care, for a closed segment may hold writes that are in no SSTable yet, and
is then what Cassandra replays after a crash; whether it is mapped or open says nothing of that. What makes it safe: the
segment was closed (not among the newest two) before a `flush` of all tables began, and that flush ended well: all its
writes are in SSTables (by the same process that was asked who it is before the look: one that was started since may
not have replayed them yet); and Cassandra ignores it: its archiving is noted as failed, or it is still there half a
minute after that flush, when Cassandra would have deleted it (one that it would delete itself must not be gone before).
Then it goes when its copy in the archive is durable and has the same bytes, or when leftovers take more than the bound:
then its loss is noted, durably, before. Killed in between, it is there and looked at again, or gone and told as lost.
"""

import asyncio
import contextlib
import filecmp
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from agent.cassandra.child import run_child
from agent.cassandra.commit_log.archive_command import (
    forget_difference,
    forget_failure,
    forget_offers,
    unfinished_copies,
)
from agent.jobs.archiving.ledger import Ledger
from agent.jobs.archiving.looking import Look, SeenFile
from agent.jobs.archiving.node_side import NodeSide
from agent.jobs.archiving.removal import remove
from agent.jobs.archiving.seeing import Sights
from agent.model.commit_log import LossRecord
from agent.model.own_state import own_state
from agent.pipeline.errors import SnapshotVanished
from agent.pipeline.segments import digest_of_file
from agent.plan.segment_names import parse_segment, segment_id

GIVEN_UP = "they could not be archived, and what was left took more than leftover_bytes of the commit-log directory"
_GRACE_SECONDS = 30.0
_DEADLINE_SECONDS = 300.0
_LONGEST_SECONDS = 2 * _DEADLINE_SECONDS
_FLUSH_EVERY_SECONDS = 300.0
_log = structlog.get_logger(__name__)


class Leftovers:
    """`node`: its archive command, and a flush of all tables, which raises a CassandraError when it didn't end well.
    `clock`: unix seconds."""

    def __init__(self, node: NodeSide, ledger: Ledger, sights: Sights, clock: Callable[[], float]) -> None:
        self._program = node.program
        self._flush = node.flush
        self._life = node.life
        self._bound = node.leftover_bytes
        self._ledger = ledger
        self._sights = sights
        self._clock = clock
        self._flushed_at = 0.0
        self._flushed: dict[str, float] = {}
        self._closed_at: dict[str, float] = {}
        self.refused = ""
        """Why the last one that was tried could not be archived, "" = it was."""

    def watch(self, look: Look) -> None:
        """See which segments are closed, and for how long that was seen; know in the ledger which of them Cassandra
        leaves. Only of a Cassandra that was told to archive."""
        now = self._clock()
        self._closed_at = {name: self._closed_at.get(name, now) for name in look.closed}
        left = [self._ledger.known.segments[file.path.name] for file in self.waiting(look)]
        self._ledger.put_all(msgspec.structs.replace(one, failed=True) for one in left)

    def waiting(self, look: Look) -> list[SeenFile]:
        """Closed segments of Cassandra's directory whose archiving failed, or that were seen closed for a while and not
        archived, by this process or an earlier one; oldest first. What the ledger doesn't know is none of this log: a
        restore to a point gave it back to Cassandra, and a long replay leaves it there closed for minutes."""
        now = self._clock()
        found = []
        for name in look.closed:
            one = self._ledger.get(name)
            if one is None or one.places or name in look.archived:
                continue
            grace = _LONGEST_SECONDS if name in look.offered else _GRACE_SECONDS
            ignored = not look.unread and now - self._closed_at.get(name, now) > grace
            if name in look.failed or one.failed or ignored:
                found.append(look.live[name])
        return found

    async def archive(self, look: Look, directory: str) -> int:
        """Archive what waits and is known as left, oldest first, up to the first that can't be; how many were. One
        whose name is taken by other bytes keeps no younger one out. What waits only since `watch` is left to the next
        look: our call is noted as Cassandra's own would be, and then nothing tells that Cassandra leaves it."""
        done = 0
        kept_out = {path.name for path in look.kept_out(directory)}
        for file in self.waiting(look):
            one = self._ledger.get(file.path.name)
            if file.path.name in kept_out or one is None or not one.failed:
                continue
            if await self.archive_one(file.path, directory):
                break
            done += 1
        return done

    async def archive_one(self, segment: Path, directory: str) -> str:
        """Archive a segment as Cassandra would; why it isn't, "" = it is."""
        self.refused = await self._run(str(segment), f"{directory}/{segment.name}")
        return self.refused

    async def tidy(self, look: Look, generation: int) -> list[LossRecord]:
        """Delete leftovers that are archived, and the oldest others while they take more than the bound; the losses.
        `generation`: Cassandra's, as it was before the look. Raises CassandraError when it can't flush or tell,
        StateFailed."""
        closed = set(look.closed)
        self._flushed = {name: at for name, at in self._flushed.items() if name in closed}
        known = self._ledger.known.segments
        given_up = {(loss.after, loss.before) for loss in self._ledger.known.losses if loss.reason == GIVEN_UP}
        # One that the ledger doesn't know is left, too, where a kill or an error kept it after its loss was noted.
        ignored = {name for name in closed if (known[name].failed if name in known else _around(name) in given_up)}
        left = [look.live[name] for name in sorted(closed & (look.failed | ignored), key=segment_id)]
        size = sum(file.size for file in left)
        unflushed = any(file.path.name not in self._flushed for file in left)
        if unflushed and size <= self._bound // 4 and self._clock() - self._flushed_at < _FLUSH_EVERY_SECONDS:
            return []
        with own_state():
            archived = await asyncio.to_thread(lambda: [file for file in left if self._is_archived(look, file)])
        if not archived and size <= self._bound:
            return []
        if unflushed:
            await self._flush()
        if (await self._life()).generation != generation:
            self._flushed = {}
            return []  # of another life, that may not have replayed them
        if unflushed:
            self._flushed_at = self._clock()
            self._flushed = dict.fromkeys(closed, self._flushed_at) | self._flushed
        await self._delete([file for file in archived if self._is_left(look, file)])
        done = {file.path.name for file in archived}
        kept = [file for file in left if file.path.name not in done]
        size = sum(file.size for file in kept)
        going = []
        for file in kept:
            if size > self._bound and self._is_left(look, file):
                size -= file.size
                going.append(file)
        return await self._give_up(going)

    def _is_left(self, look: Look, file: SeenFile) -> bool:
        """Whether Cassandra will not delete it itself any more."""
        name, now = file.path.name, self._clock()
        return name in look.failed or now - self._flushed.get(name, now) > _GRACE_SECONDS

    async def forget(self, look: Look) -> None:
        """Let go of notes about segments that Cassandra has deleted, once they are archived or told as lost."""
        if look.unread:
            return
        known = self._ledger.known
        for name in look.differs - look.false.keys():
            await asyncio.to_thread(forget_difference, self._program, name)
        for name in look.failed - look.live.keys():
            one = self._ledger.get(name)
            if (one is None and known.in_force) or (one and one.places) or name in look.archived:
                await asyncio.to_thread(forget_failure, self._program, name)
        told = [
            name
            for name in look.offered
            if name in look.archived
            or ((one := known.segments.get(name)) is not None and bool(one.places))
            or (one is None and known.in_force and name not in look.live)
        ]
        if told:
            await asyncio.to_thread(forget_offers, self._program, told)

    async def clean(self, directory: str) -> None:
        """Remove what copies that were cut left in the archive directory: none takes as long as the deadline twice."""
        with own_state():
            await asyncio.to_thread(self._clean, Path(directory))

    def _clean(self, directory: Path) -> None:
        for path in unfinished_copies(directory):
            with contextlib.suppress(FileNotFoundError):
                if self._clock() - path.lstat().st_ctime > _LONGEST_SECONDS:
                    path.unlink()

    def _is_archived(self, look: Look, file: SeenFile) -> bool:
        """Whether the same bytes are in the archive, or were shipped. Sizes say nothing: all segments have the same.
        Blocks."""
        one = self._ledger.get(file.path.name)
        copy = look.archived.get(file.path.name)
        try:
            if copy is None:
                return one is not None and bool(one.places) and one.digest == digest_of_file(file.path, file.size)
            return copy.path.samefile(file.path) or filecmp.cmp(copy.path, file.path, shallow=False)
        except (FileNotFoundError, SnapshotVanished):
            return False  # one of them went meanwhile: the next look tells

    async def _give_up(self, files: list[SeenFile]) -> list[LossRecord]:
        """Delete them, once their loss is noted."""
        if not files:
            return []
        losses = [self._loss_of(file) for file in files]
        self._sights.lose(losses)
        self._sights.drop(frozenset(file.path.name for file in files))
        await self._ledger.save()
        for file, loss in zip(files, losses, strict=True):
            _log.error("commit_log_segment_given_up", segment=file.path.name, since=loss.since, until=loss.until)
        await self._delete(files)
        return losses

    def _loss_of(self, file: SeenFile) -> LossRecord:
        before, after = _around(file.path.name)
        known = self._ledger.get(before)
        since = min(known.changed_at if known is not None else segment_id(file.path.name) / 1000, file.changed_at)
        return LossRecord(before, after, since, file.changed_at, GIVEN_UP)

    async def _delete(self, files: list[SeenFile]) -> None:
        await remove(files)
        for file in files:
            await asyncio.to_thread(forget_failure, self._program, file.path.name)

    async def _run(self, segment: str, target: str) -> str:
        try:
            ended = await run_child(["/bin/sh", str(self._program), segment, target], deadline=_DEADLINE_SECONDS)
        except (OSError, TimeoutError) as error:
            reason = str(error) or "the archive command did not end"
        else:
            if not ended.exit_code:
                return ""
            reason = ended.output.strip()[-500:] or f"the archive command ended with {ended.exit_code}"
        _log.warning("commit_log_segment_not_archived", segment=segment, reason=reason)
        return reason


def _around(segment: str) -> tuple[str, str]:
    """The names right before and after a segment's."""
    name = parse_segment(segment)
    if name is None:
        raise ValueError(segment)
    return name.neighbour(-1).file_name, name.neighbour(1).file_name
