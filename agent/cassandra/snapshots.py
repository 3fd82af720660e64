"""The agent's snapshots: take, list, clear. In: what to take. Out: facts of what was taken.

A snapshot counts only when the schema was one and the same on all nodes before and after it, and every table that was
asked for has a directory.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import structlog

from agent.cassandra.commit_log.passing_over import flushed
from agent.cassandra.cql import Cql
from agent.cassandra.directories import as_wire, volumes, volumes_that_answer
from agent.cassandra.errors import (
    CassandraError,
    CassandraUnavailable,
    KeyspaceNotFound,
    NoDataDirectories,
    NodetoolTimeout,
    NotEnoughSpace,
    SchemaChanged,
    SchemaDisagreement,
    SnapshotExists,
    SnapshotMissing,
    SnapshotUnreadable,
    TableNotFound,
)
from agent.cassandra.inventory import (
    SnapshotDirectory,
    held_where_readable,
    is_directory,
    live_bytes,
    read_inventory,
    snapshot_directories,
)
from agent.cassandra.node_directories import NodeDirectories, newest_closed_segment
from agent.cassandra.node_view import NodeView
from agent.cassandra.protocol import Held, NodeControl, OwnSnapshot, unheard
from agent.cassandra.schema_agreement import SchemaAgreement
from agent.cassandra.schema_capture import capture_schema
from agent.cassandra.selection import select_tables
from agent.cassandra.settings import CassandraSettings
from agent.cassandra.snapshot_gaps import refuse_incomplete, refuse_missing, refuse_unmade
from agent.cassandra.snapshot_manifest import not_found
from agent.cassandra.snapshot_notes import SnapshotNotes
from agent.model.snapshot import KeyspaceSchema, SnapshotInfo, SnapshotTable
from agent.plan.snapshot_ttl import UNMEASURED, time_to_live
from agent.wire.commands import SnapshotArguments
from agent.wire.names import check_name
from agent.wire.node import DataDirectory, Tables
from kit.errors import HelenusError

Found = TypeVar("Found")
_log = structlog.get_logger(__name__)
_TRIES = 3
_SETTLE_SECONDS = 15.0
_LATE_SECONDS = 600.0
"""How long after an unanswered call the snapshot may still appear: an order outlives the nodetool that gave it."""


class NodeSnapshots:
    """See `agent.cassandra.protocol.Snapshots`. `clock`: unix seconds."""

    def __init__(
        self,
        settings: CassandraSettings,
        control: NodeControl,
        cql: Cql,
        view: NodeView,
        agreement: SchemaAgreement,
        directories: NodeDirectories,
        state: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._control = control
        self._cql = cql
        self._view = view
        self._agreement = agreement
        self._directories = directories
        self._notes = SnapshotNotes(state / "on-server")
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._noting = asyncio.Lock()  # a note that goes is not one that comes

    async def take(
        self,
        arguments: SnapshotArguments,
        command_id: str,
        *,
        copy_rate: float = UNMEASURED,
        chosen: Callable[[Tables], None] = unheard,
    ) -> SnapshotInfo:
        """See `Snapshots.take`."""
        check_name("tag", arguments.tag)
        async with self._one_at_a_time:
            own = await self.own(arguments.tag)
            if own is not None and own.command_id != command_id:
                if own.complete or not own.made_by or own.made_by != arguments.made_by:
                    raise SnapshotExists(
                        f"the agent has a snapshot {arguments.tag} of another command", tag=arguments.tag
                    )
                await self.clear(arguments.tag)  # what an earlier try of the same backup left half done
                own = None
            taken = await self.info(arguments.tag) if own is not None else None
            if taken is not None:
                return taken
            await self._directories.renew()  # Cassandra may have been started with another list since
            await self._refuse_full_volumes()
            if own is not None:  # a run of this command left it half done
                await self._clear_on_node(arguments.tag)
            elif await self.exists(arguments.tag):
                raise SnapshotExists(f"the node has a snapshot {arguments.tag} already", tag=arguments.tag)
            async with self._noting:
                await asyncio.to_thread(
                    self._notes.begin,
                    arguments.tag,
                    command_id,
                    self._clock(),
                    made_by=arguments.made_by,
                    kept=arguments.keep,
                )
            try:
                info = await self._take_settled(arguments, copy_rate, chosen)
                await asyncio.to_thread(self._notes.complete, info)
            except Exception as error:
                await self._undo(arguments.tag)
                if isinstance(error, SnapshotMissing):
                    raise await self._control.cause(error) from None
                raise
            return info

    async def inventory(self, tag: str, tables: Mapping[str, Sequence[str]] | None = None) -> tuple[SnapshotTable, ...]:
        """See `Snapshots.inventory`. The tables of an own snapshot are those it was taken of."""
        check_name("tag", tag)
        taken = await self.info(tag)
        whole = tables is None
        if tables is None and taken is not None:
            tables = taken.tables
        ids = _table_ids(taken.schema) if taken is not None else {}
        vanished: list[str] = []
        found = await self._read(tag, tables, vanished, None if taken is None else taken.data_directories)
        if vanished:  # a manifest of what is left would pass for the whole
            raise SnapshotMissing(f"the snapshot {tag} is being cleared", tag=tag, files=vanished[:100])
        current = tuple(
            one for one in found if ids.get((one.keyspace, one.table), one.table_id) == one.table_id
        )  # a table dropped and made again has left a directory of its older id
        if tables is not None:
            refuse_missing(tag, tables, current)
        if whole:
            refuse_incomplete(tag, await _on_disk(lambda: not_found(current)))
        return current

    async def info(self, tag: str) -> SnapshotInfo | None:
        """See `Snapshots.info`."""
        return await asyncio.to_thread(self._notes.info, tag)

    async def own(self, tag: str) -> OwnSnapshot | None:
        """See `Snapshots.own`."""
        return await asyncio.to_thread(self._notes.find, tag)

    async def exists(self, tag: str) -> bool:
        """See `Snapshots.exists`."""
        return bool(await self._places(tag))

    async def clear(self, tag: str) -> None:
        """See `Snapshots.clear`."""
        own = await self.own(check_name("tag", tag))
        if own is None:
            if await self.exists(tag):
                raise SnapshotExists(f"the snapshot {tag} is not this agent's: it is left alone", tag=tag)
            return
        await self._clear_on_node(tag)
        since = await asyncio.to_thread(self._notes.unanswered_since, tag)
        if since is not None and self._clock() - since < _LATE_SECONDS:
            raise CassandraUnavailable(
                f"Cassandra may still make the snapshot {tag}: it did not answer the call for it", tag=tag
            )
        async with self._noting:
            now = await self.own(tag)
            if now is not None and now.command_id == own.command_id:
                await asyncio.to_thread(self._notes.forget, tag)

    async def ours(self) -> tuple[OwnSnapshot, ...]:
        """See `Snapshots.ours`."""
        return await asyncio.to_thread(self._notes.all)

    async def volumes_below(self, free_percent: float) -> tuple[DataDirectory, ...]:
        """See `Snapshots.volumes_below`."""
        found = await asyncio.to_thread(volumes_that_answer, await self._directories.every())
        return as_wire(one for one in found if one.free_percent < free_percent)

    async def held_alone(self, tag: str) -> Held:
        """See `Snapshots.held_alone`."""
        return await asyncio.to_thread(held_where_readable, await self._directories.every(), tag)

    async def _refuse_full_volumes(self) -> None:
        wanted = self._settings.space.backup_free
        found = await asyncio.to_thread(volumes, await self._directories.every())
        full = [one for one in found if one.free_percent < wanted]
        if full:
            raise NotEnoughSpace(
                f"less than {wanted:g} % is free on {', '.join(one.path for one in full)}",
                volumes=[
                    {"path": one.path, "free_bytes": one.free_bytes, "total_bytes": one.total_bytes} for one in full
                ],
            )

    async def _take_settled(
        self, arguments: SnapshotArguments, copy_rate: float, chosen: Callable[[Tables], None]
    ) -> SnapshotInfo:
        """Take it between two looks at the schema; a change in between clears it and tries again."""
        trouble: SchemaDisagreement | TableNotFound | KeyspaceNotFound | None = None
        for _ in range(_TRIES):
            try:
                before = await self._agreement.settled(_SETTLE_SECONDS)
            except SchemaDisagreement as error:
                trouble = error
                continue
            present = await self._view.keyspaces()
            excluded = {*self._settings.exclude_keyspaces, *arguments.exclude_keyspaces}
            tables = select_tables(arguments.keyspaces, present, excluded)
            chosen(tables)
            # Beside the snapshot: what the two looks at the schema's version show holds for both.
            schema = asyncio.create_task(capture_schema(self._cql, tables))
            try:
                info = await self._take_once(arguments, tables, schema, copy_rate)
            except (TableNotFound, KeyspaceNotFound) as error:  # dropped since it was selected
                trouble = error
                await self._clear_on_node(arguments.tag)
                continue
            finally:
                await _left(schema)
            if info.node.schema_version == before:
                return info
            await self._clear_on_node(arguments.tag)
        raise SchemaChanged(
            f"the schema changed, or differed between nodes, in {_TRIES} tries at the snapshot {arguments.tag}",
            tag=arguments.tag,
            reason=None if trouble is None else trouble.message,
        )

    async def _take_once(
        self,
        arguments: SnapshotArguments,
        tables: Tables,
        schema: Awaitable[tuple[KeyspaceSchema, ...]],
        copy_rate: float,
    ) -> SnapshotInfo:
        commitlog = await self._directories.commitlog()
        floor = await asyncio.to_thread(newest_closed_segment, commitlog)
        begun = await asyncio.to_thread(flushed, Path(commitlog), floor) if floor is not None else {}
        taken_at = self._clock()
        if any(tables.values()):
            ttl = None if arguments.keep else await self._time_to_live(tables, copy_rate)
            await asyncio.to_thread(self._notes.ask, arguments.tag, self._clock())
            try:
                await self._control.snapshot(arguments.tag, tables, ttl)
            except (NodetoolTimeout, CassandraUnavailable):
                raise
            except HelenusError:  # an answer: Cassandra makes nothing any more
                await asyncio.to_thread(self._notes.answered, arguments.tag)
                raise
            await asyncio.to_thread(self._notes.answered, arguments.tag)
            places = await self._places(arguments.tag)
            refuse_unmade(arguments.tag, places, await self._directories.every())
            refuse_missing(arguments.tag, tables, places)
        taken_until = self._clock()
        captured = await schema  # before the second look at its version, which is in the node's identity
        return SnapshotInfo(
            tag=arguments.tag,
            backup_id=arguments.backup_id,
            kept=arguments.keep,
            taken_at=taken_at,
            node=await self._view.identity(),
            schema=captured,
            tables=tables,
            data_directories=await self._directories.every(),
            commitlog_floor=floor,
            commitlog_flushed=begun,
            taken_until=taken_until,
        )

    async def _time_to_live(self, tables: Tables, copy_rate: float) -> int | None:
        """Seconds that the snapshot of these tables lives. Files are only counted where that can matter: what the
        volumes hold in all mostly shows that it can't."""
        least = self._settings.snapshot_ttl_seconds
        directories = await self._directories.every()
        devices = {one.device: one for one in await asyncio.to_thread(volumes, directories)}
        most = time_to_live(least, sum(one.total_bytes - one.free_bytes for one in devices.values()), copy_rate)
        if most is None or most == least:
            return most
        return time_to_live(least, await _on_disk(lambda: live_bytes(directories, tables)), copy_rate)

    async def _undo(self, tag: str) -> None:
        """After a failed try: what Cassandra may have made goes; if that fails as well, or Cassandra may make it yet,
        the note stays, and with it the debt (`ours` lists it)."""
        try:
            await self._clear_on_node(tag)
            if await asyncio.to_thread(self._notes.unanswered_since, tag) is None:
                await asyncio.to_thread(self._notes.forget, tag)
        except HelenusError as error:  # the try's own reason is what is to be told
            _log.warning("snapshot_not_undone", tag=tag, code=error.code, reason=error.message)

    async def _clear_on_node(self, tag: str) -> None:
        """Raises `SnapshotUnreadable` and `NoDataDirectories` only when Cassandra was told to clear it, and whether it
        is gone can't be seen."""
        with contextlib.suppress(NoDataDirectories, SnapshotUnreadable):  # its other disks get their room all the same
            if not await self.exists(tag):
                return
        await self._control.clear_snapshot(tag)
        left = await self._places(tag)
        if left:
            raise CassandraError(
                f"the snapshot {tag} was cleared, but directories of it are left", tag=tag, left=[left[0].path]
            )

    async def _read(
        self,
        tag: str,
        tables: Mapping[str, Sequence[str]] | None,
        vanished: list[str] | None = None,
        noted: Sequence[str] | None = None,
    ) -> tuple[SnapshotTable, ...]:
        """`noted`: the directories when it was taken, by which the files' `volume` counts."""
        wanted = None if tables is None else {keyspace: frozenset(names) for keyspace, names in tables.items()}
        if noted is None:
            directories: Sequence[str] = await self._directories.every()
        elif await _on_disk(lambda: _all_there(noted)):
            directories = noted
        else:
            now = await self._directories.every()
            directories = await _on_disk(lambda: _moved(noted, now))
        return await _on_disk(lambda: read_inventory(volumes(directories), tag, wanted, vanished))

    async def _places(self, tag: str) -> list[SnapshotDirectory]:
        """Raises `NoDataDirectories` where a disk is away: what it holds can't be seen, and is not gone."""
        directories = await self._directories.every()
        return await _on_disk(lambda: list(snapshot_directories([one.path for one in volumes(directories)], tag)))


async def _left(work: "asyncio.Task[Found]") -> None:
    """End what nobody waits for any more, if it has not ended."""
    work.cancel()
    await asyncio.wait([work])
    if not work.cancelled():
        work.exception()  # looked at, so that asyncio does not complain of an error that nobody read


async def _on_disk(look: Callable[[], Found]) -> Found:
    """What a look at the disk found. Raises `SnapshotUnreadable`."""
    try:
        return await asyncio.to_thread(look)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SnapshotUnreadable(
            f"{error.filename} can't be read: {reason}", path=str(error.filename), reason=reason
        ) from error


def _table_ids(schema: Sequence[KeyspaceSchema]) -> dict[tuple[str, str], str]:
    return {
        (keyspace.name, table): text.replace("-", "")
        for keyspace in schema
        for table, text in keyspace.table_ids.items()
    }


def _all_there(directories: Sequence[str]) -> bool:
    return all(is_directory(path) for path in directories)


def _moved(noted: Sequence[str], now: Sequence[str]) -> tuple[str, ...]:
    """The noted directories, with the node's new ones in the place of those that are not there any more: the data, and
    the snapshots with it, may have been moved."""
    new = iter([path for path in now if path not in noted])
    return tuple(path if is_directory(path) else next(new, path) for path in noted)
