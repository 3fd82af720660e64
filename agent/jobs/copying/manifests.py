"""Manifests put together: in, tables as they are stored (or only listed); out, frames, references and heads."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from agent.model.manifest import MANIFEST_FORMAT, FileEntry, Head, TablePart, TableReference
from agent.model.snapshot import FileStat, SnapshotInfo, SnapshotTable
from agent.pipeline.own_files import StoredOwnFiles
from agent.pipeline.putting import Putting
from agent.pipeline.table_run import StoredTable
from agent.pipeline.targets import NamedObjects, StoreTarget
from agent.plan.layout import grouped
from agent.plan.sstables import OWN_FILES
from agent.repository.intents import Writer
from agent.repository.keys import manifest_key
from agent.repository.manifest import ManifestWriter
from agent.repository.manifest_check import check_written
from agent.repository.manifest_frame import FrameHeader, FrameWriter
from agent.storage.protocol import Buffer
from kit.errors import HelenusError
from kit.together import together

_TURN = 32
"""SSTables after which the event loop gets its turn."""
MOST_WARNINGS = 100
"""Tables whose warnings a result holds; each table's own counts have its in any case."""

Damage = Callable[[Mapping[str, HelenusError]], HelenusError | None]
"""See `Supply.damage`."""


class TargetManifest:
    """The manifest that goes into one destination: how objects are stored differs between them."""

    def __init__(self, target: StoreTarget, info: SnapshotInfo, own: StoredOwnFiles) -> None:
        self.target = target
        self.references: list[TableReference] = []
        self._own = target.name(own.objects)
        key = manifest_key(target.opened.cluster_id, info.tag, info.node.host_id)
        self._writer = ManifestWriter(target.form, key)

    async def add(self, reference: TableReference, frame: bytes, putting: Putting) -> None:
        """Take a table's frame; a large one is put as an object."""
        if ManifestWriter.is_inline(frame):
            offset, length = self._writer.inline(frame, reference.keyspace, reference.table)
            reference = msgspec.structs.replace(reference, offset=offset, length=length)
        else:
            object_id, length = await putting.frame(frame, self.target)
            reference = msgspec.structs.replace(reference, object=object_id.hex(), length=length)
        self.references.append(reference)

    def close(self, info: SnapshotInfo, writer: Writer, command_id: str, left_out: Mapping[str, str]) -> list[Buffer]:
        """The manifest as buffers. `left_out`: see `Head`."""
        cluster_id = self.target.opened.cluster_id
        return self._writer.close(_head(info, cluster_id, writer, command_id, self.references, self._own, left_out))


class TableCollector:
    """Takes stored tables and keeps what their manifests need. `tables`: the references, without places, of those that
    are whole; `corrupt`: the error of tables that were left out; `warnings`: what a person should know of those that
    were not. `lacking`: what was left out before, where the tables come from."""

    def __init__(
        self,
        putting: Putting,
        info: SnapshotInfo,
        own: StoredOwnFiles,
        damage: Damage,
        lacking: Mapping[str, str],
    ) -> None:
        self.manifests = [TargetManifest(target, info, own) for target in putting.targets]
        self.tables: list[TableReference] = []
        self.warnings: list[str] = []
        self._putting = putting
        self._own = own.entries
        self._damage = damage
        self._lacking = lacking
        self._errors = {f"{keyspace}.{table}": error for (keyspace, table), error in own.errors.items()}

    @property
    def corrupt(self) -> HelenusError | None:
        """What was wrong with tables, named in `fields`; None when nothing was."""
        return self._damage(self._errors)

    @property
    def left_out(self) -> dict[str, str]:
        """What the head has to name: see `Head`."""
        return {**self._lacking, **{name: error.code for name, error in self._errors.items()}}

    async def add(self, table: StoredTable) -> None:
        """Take a table that is done."""
        if table.error is not None:
            self._errors[f"{table.keyspace}.{table.table}"] = table.error
            return
        if table.warning and len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(f"{table.keyspace}.{table.table}: {table.warning}")
        own = tuple(self._own.get((table.keyspace, table.table), ()))
        reference = TableReference(
            keyspace=table.keyspace,
            table=table.table,
            table_id=table.table_id,
            files=table.files + len(own),
            bytes=table.size + sum(entry.size for entry in own),
            sstables=table.sstables,
            length=0,
            own=own,
        )
        self.tables.append(reference)
        alive = [(one, frame) for one, frame in zip(self.manifests, table.frames, strict=True) if one.target.alive]
        await together(*(one.add(reference, frame, self._putting) for one, frame in alive))


async def on_server_manifest(
    info: SnapshotInfo, tables: Sequence[SnapshotTable], writer: Writer, command_id: str
) -> list[Buffer]:
    """The manifest of an on-server backup: names, sizes and times, no digests; all frames inline."""
    manifest = ManifestWriter()
    references = []
    for table in tables:
        await asyncio.sleep(0)
        frame = FrameWriter(FrameHeader(table.keyspace, table.table, table.table_id))
        count = 0
        for number, group in enumerate(grouped(table), 1):
            count += group.is_table_data
            part = TablePart(*_plain(group.files))
            check_written(part, on_server=True)
            frame.add(part)
            if number % _TURN == 0:
                await asyncio.sleep(0)
        own, _, own_times = _plain([file for file in table.files if file.name in OWN_FILES])
        offset, length = manifest.inline(frame.close(), table.keyspace, table.table)
        references.append(
            TableReference(
                keyspace=table.keyspace,
                table=table.table,
                table_id=table.table_id,
                files=len(table.files),
                bytes=sum(file.size for file in table.files),
                sstables=count,
                length=length,
                offset=offset,
                own=own,
                own_times=own_times,
            )
        )
    return manifest.close(_head(info, "", writer, command_id, references, None, {}))


def _plain(files: Sequence[FileStat]) -> tuple[tuple[FileEntry, ...], dict[str, int], tuple[int, ...]]:
    """Files whose bytes stay where they are, as the fields of a part."""
    entries = tuple(FileEntry(file.name, file.size, file.volume, "", (), 0) for file in files)
    return entries, {}, tuple(file.mtime_ns for file in files)


def _head(
    info: SnapshotInfo,
    cluster_id: str,
    writer: Writer,
    command_id: str,
    references: Sequence[TableReference],
    own: NamedObjects | None,
    left_out: Mapping[str, str],
) -> Head:
    return Head(
        format=MANIFEST_FORMAT,
        tag=info.tag,
        backup_id=info.backup_id,
        cluster_id=cluster_id,
        taken_at=info.taken_at,
        node=info.node,
        data_directories=info.data_directories,
        schema=info.schema,
        commitlog_floor=info.commitlog_floor,
        agent_version=writer.version,
        agent_id=writer.agent_id,
        command=command_id,
        tables=tuple(sorted(references, key=lambda one: (one.keyspace, one.table))),
        own_objects=own.sizes if own is not None else {},
        own_codecs=(own is not None and own.codecs) or msgspec.UNSET,
        left_out=dict(sorted(left_out.items())) or msgspec.UNSET,
        taken_until=msgspec.UNSET if info.taken_until is None else info.taken_until,
        commitlog_flushed=info.commitlog_flushed or msgspec.UNSET,
    )
