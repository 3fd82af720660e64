"""The node's own part of its commit log, as a restore reads it (agent.pipeline.log_source). In: the directories of
segments and the ledger. Out: records without objects, and segments as links, or copies where the kernel refuses a link.

`KeptSegments` is the archive directory where logs are kept on the server; `OwnLog` is all that is on the node, in
Cassandra's own directory too.
"""

import asyncio
import contextlib
import errno
import filecmp
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from agent.cassandra.commit_log.errors import SegmentGone, SegmentUnreadable
from agent.cassandra.commit_log.sections import segment_state
from agent.jobs.archiving.errors import ArchiveUnread
from agent.jobs.archiving.ledger import Known
from agent.jobs.archiving.looking import Look, SeenFile
from agent.model.commit_log import LossRecord, SchemaRecord, SegmentRecord
from agent.pipeline.errors import TargetFull, TargetUnwritable
from agent.plan.log_lives import neighbours_of
from agent.plan.segment_names import segment_id
from kit.atomic_files import sync_directory

_LINK_REFUSED = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES)
Schemas = Callable[[], Awaitable[Sequence[SchemaRecord]]]


class KeptSegments:
    """A `LogSource`. `look`: the directories as they are now; blocks. `known`: the ledger. `schemas`: the history that
    the agent keeps itself."""

    def __init__(self, look: Callable[[], Look], known: Callable[[], Known], schemas: Schemas) -> None:
        self._look = look
        self._known = known
        self._schemas = schemas

    async def records(self, since: int = 0) -> Sequence[SegmentRecord]:
        """See `LogSource.records`: what Cassandra has archived. Raises ArchiveUnread: a volume that is away is no log
        that begins late."""
        seen, known = await asyncio.to_thread(self._look), self._known()
        if seen.unread:
            raise ArchiveUnread(seen.unread)
        return _records(seen, known, seen.archived, since)

    async def outlined(self, since: int, before: int) -> Sequence[SegmentRecord]:
        """See `LogSource.outlined`: nothing is read for them anyway."""
        return [record for record in await self.records(since) if segment_id(record.name) < before]

    async def losses(self) -> Sequence[LossRecord]:
        """See `LogSource.losses`."""
        return self._known().losses

    async def schemas(self) -> Sequence[SchemaRecord]:
        """See `LogSource.schemas`."""
        return await self._schemas()

    async def incomplete(self, records: Sequence[SegmentRecord]) -> Mapping[str, str]:
        """See `LogSource.incomplete`: what is listed is there."""
        return {}

    async def fetch(self, record: SegmentRecord, directory: Path) -> SegmentRecord:
        """See `LogSource.fetch`. Raises SegmentGone, TargetFull, TargetUnwritable."""
        await asyncio.to_thread(self._place, record, directory)
        return record

    def _place(self, record: SegmentRecord, directory: Path) -> None:
        seen = self._look()
        file = seen.archived.get(record.name) or seen.live.get(record.name)
        if file is None:
            raise _gone(record.name)
        place_file(file.path, directory / record.name)


class OwnLog(KeptSegments):
    """As `KeptSegments`, with Cassandra's own directory. While Cassandra is up the segments of it that may still change
    are not whole; `is_down`: Cassandra is not running, and what is there is all there will be."""

    def __init__(
        self,
        look: Callable[[], Look],
        known: Callable[[], Known],
        schemas: Schemas,
        is_down: Callable[[], Awaitable[bool]],
    ) -> None:
        super().__init__(look, known, schemas)
        self._is_down = is_down

    async def records(self, since: int = 0) -> Sequence[SegmentRecord]:
        """See `LogSource.records`: whatever is on the node."""
        seen, known = await asyncio.to_thread(self._look), self._known()
        files = {**seen.live, **seen.archived}
        if await self._is_down():
            return _records(seen, known, files, since)
        return await asyncio.to_thread(lambda: _records(seen, known, files, since, _unfinished(seen, known)))


def _unfinished(seen: Look, known: Known) -> set[str]:
    """Segments that may still change: a copy would lack what comes. Those that aren't closed; and closed ones, from the
    newest on, that await their last sync, for Cassandra makes the next segment meanwhile, several under load [X:
    AbstractCommitLogSegmentManager.advanceAllocatingFrom]. Blocks."""
    found = {name for name in seen.live if name not in seen.closed and name not in seen.archived}
    for name in reversed(seen.closed):
        if _is_finished(name, seen, known):
            break
        found.add(name)
    return found


def _is_finished(name: str, seen: Look, known: Known) -> bool:
    """Cassandra calls the archive command when a segment has had its last sync, not before [X:
    CommitLogArchiver.maybeArchive]. Where it calls none, that nothing is written behind whole sections has to do."""
    one = known.segments.get(name)
    if name in {*seen.archived, *seen.offered, *seen.failed} or (one is not None and (one.places or one.failed)):
        return True
    if known.in_force:
        return False
    try:
        return segment_state(seen.live[name].path).all_synced
    except SegmentUnreadable:
        return True  # none that Cassandra writes, or it is gone: whoever fetches it is told


def _records(
    seen: Look, known: Known, files: dict[str, SeenFile], since: int, written: set[str] | frozenset[str] = frozenset()
) -> list[SegmentRecord]:
    found = []
    there = {name for name, one in known.segments.items() if one.places} | seen.there
    wanted = [name for name in files if segment_id(name) >= since]
    unplaced = [name for name in wanted if (one := known.segments.get(name)) is None or one.previous is None]
    sightings = {name: one.sighting for name, one in known.segments.items()}
    neighbours = neighbours_of(unplaced, sightings, there)
    for name in sorted(wanted, key=segment_id):
        file, one = files[name], known.segments.get(name)
        size = file.size
        if name in written:
            try:
                size = segment_state(file.path).synced
            except SegmentUnreadable:
                continue  # it is just being made
        if one is not None and one.previous is not None:
            previous, follows, opened_at = one.previous, one.follows, one.opened_at
        else:
            neighbour = neighbours[name]
            previous, follows = neighbour.previous, neighbour.follows and not known.parts(name)
            opened_at = min(segment_id(name) / 1000, file.changed_at)
        found.append(
            SegmentRecord(
                name=name,
                size=size,
                digest="",
                piece_size=0,
                pieces=(),
                objects={},
                codecs={},
                whole=name not in written,
                opened_at=opened_at,
                closed_at=file.changed_at,
                previous=previous,
                follows=follows,
                copied_at=file.changed_at,
            )
        )
    return found


def place_file(source: Path, target: Path) -> None:
    """Have `source` at `target`, durably: a hard link, else a copy that has its name when it is whole. What is there
    with the same bytes stays (a segment has its full size from the beginning). Blocks. Raises SegmentGone where the
    source is by now, TargetFull, TargetUnwritable."""
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with contextlib.suppress(FileExistsError):
            os.link(source, target, follow_symlinks=False)
            sync_directory(target.parent)
            return
        if filecmp.cmp(source, target, shallow=False):
            sync_directory(target.parent)  # whoever put it there may have been cut before it was durable
            return
        target.unlink()
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _LINK_REFUSED:
            raise _told(source, target, error) from error
        try:
            shutil.copy2(source, unfinished)
            with unfinished.open("rb") as copy:
                os.fsync(copy.fileno())
            unfinished.rename(target)
        except OSError as failed:
            unfinished.unlink(missing_ok=True)
            raise _told(source, target, failed) from failed
    sync_directory(target.parent)


def _gone(name: str) -> SegmentGone:
    return SegmentGone(f"{name} is not on the node any more", path=name, reason="gone")


def _told(source: Path, target: Path, error: OSError) -> SegmentGone | TargetFull | TargetUnwritable:
    if isinstance(error, FileNotFoundError) and not source.exists():
        return _gone(source.name)  # shipped and removed since the look: the next source may have it
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TargetFull(f"no room for {target}", path=str(target))
    return TargetUnwritable(f"can't write {target}: {error.strerror}", path=str(target), errno=error.errno)
