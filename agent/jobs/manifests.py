"""Manifests put together: in, tables as they are stored (or only listed); out, frames, references and heads."""

import asyncio
from collections.abc import Sequence

import msgspec

from agent.model.manifest import MANIFEST_FORMAT, FileEntry, Head, TablePart, TableReference
from agent.model.snapshot import FileStat, SnapshotInfo, SnapshotTable
from agent.pipeline.errors import SstableCorrupt
from agent.pipeline.store import OwnFile, Store, StoredOwnFiles
from agent.pipeline.table_run import StoredTable
from agent.pipeline.targets import StoreTarget
from agent.plan.layout import grouped
from agent.plan.sstables import OWN_FILES
from agent.repository.frame import ObjectType, stored_size
from agent.repository.intents import Writer
from agent.repository.manifest import ManifestWriter
from agent.repository.manifest_check import check_written
from agent.repository.manifest_frame import FrameHeader, FrameWriter
from agent.storage.protocol import Buffer
from kit.errors import HelenusError

_TURN = 32
"""SSTables after which the event loop gets its turn."""
MOST_WARNINGS = 100
"""Tables whose warnings a result holds; each table's own counts have its in any case."""


class TableCollector:
    """Takes stored tables and keeps what their manifest needs. `corrupt`: the error of tables that were left out;
    `warnings`: what a person should know of those that were not."""

    def __init__(
        self, store: Store, targets: Sequence[StoreTarget], own: Sequence[OwnFile], stored: StoredOwnFiles
    ) -> None:
        self.writer = ManifestWriter()
        self.references: list[TableReference] = []
        self.own_objects = stored.objects
        self.warnings: list[str] = []
        self._store = store
        self._own: dict[tuple[str, str], list[FileEntry]] = {}
        self._errors: dict[str, HelenusError] = {}
        for file, entry in zip(own, stored.entries, strict=True):
            self._own.setdefault((file.keyspace, file.table), []).append(entry)
        for target in targets:
            target.name(stored.objects)

    @property
    def corrupt(self) -> SstableCorrupt | None:
        """What was wrong with tables, named in `fields`; None when nothing was."""
        if not self._errors:
            return None
        first = next(iter(self._errors.values()))
        return SstableCorrupt(
            f"{len(self._errors)} tables can't be backed up ({', '.join(sorted(self._errors))}): {first.message}",
            tables={name: {"code": error.code, "message": error.message} for name, error in self._errors.items()},
        )

    async def add(self, table: StoredTable) -> None:
        """Take a table that is done; a large frame is put as an object."""
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
            length=len(table.frame),
            own=own,
        )
        if ManifestWriter.is_inline(table.frame):
            reference = msgspec.structs.replace(reference, offset=self.writer.inline(table.frame))
        else:
            name = (await self._store.object(table.frame, ObjectType.TABLE)).hex()
            reference = msgspec.structs.replace(reference, object=name, length=stored_size(len(table.frame)))
        self.references.append(reference)


def head_of(info: SnapshotInfo, cluster_id: str, writer: Writer, command_id: str, collector: TableCollector) -> Head:
    """The head of a stored backup's manifest."""
    return _head(info, cluster_id, writer, command_id, collector.references, collector.own_objects)


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
        packed = frame.close()
        references.append(
            TableReference(
                keyspace=table.keyspace,
                table=table.table,
                table_id=table.table_id,
                files=len(table.files),
                bytes=sum(file.size for file in table.files),
                sstables=count,
                length=len(packed),
                offset=manifest.inline(packed),
                own=own,
                own_times=own_times,
            )
        )
    return manifest.close(_head(info, "", writer, command_id, references, {}))


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
    own_objects: dict[str, int],
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
        own_objects=own_objects,
    )
