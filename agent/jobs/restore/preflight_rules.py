"""The single reasons for and against a restore: refusals (error objects) and warnings (plain sentences)."""

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from agent.cassandra.directories import volumes
from agent.cassandra.errors import KeyspaceNotEmptied, KeyspaceRefused
from agent.jobs.restore.errors import NodesDown, PartitionerDiffers, TableNotInBackup, VersionOlder
from agent.jobs.restore.tools import RestoreTools
from agent.model.manifest import Head
from agent.model.snapshot import KeyspaceSchema
from agent.wire.commands import RestoreArguments
from agent.wire.names import CLUSTER_KEYSPACES, NODE_KEYSPACES
from agent.wire.node import NodeIdentity
from agent.wire.results import VolumeNeed
from kit.errors import HelenusError


def refuse_what_cannot_be(
    arguments: RestoreArguments, head: Head, identity: NodeIdentity, excluded: Collection[str], down: Sequence[str]
) -> list[dict[str, Any]]:
    """What no `force` makes possible, as error objects."""
    found: list[HelenusError] = []
    emptied = emptied_keyspaces(arguments)
    for keyspace in sorted(arguments.tables):
        if keyspace in NODE_KEYSPACES or keyspace in excluded:
            found.append(KeyspaceRefused(f"{keyspace} is not restored on a live cluster", keyspace=keyspace))
        elif keyspace in CLUSTER_KEYSPACES and keyspace in emptied:
            found.append(KeyspaceNotEmptied(f"{keyspace} can't be emptied, the cluster lives by it", keyspace=keyspace))
    found += _not_in_backup(arguments, head)
    if _release(identity.version) < _release(head.node.version):
        found.append(
            VersionOlder(
                f"Cassandra {identity.version} can't be given SSTables of {head.node.version}",
                live=identity.version,
                backup=head.node.version,
            )
        )
    if identity.partitioner != head.node.partitioner:
        found.append(
            PartitionerDiffers(
                f"the node has {identity.partitioner}, the backup {head.node.partitioner}",
                live=identity.partitioner,
                backup=head.node.partitioner,
            )
        )
    if down and emptied:
        found.append(NodesDown(f"TRUNCATE needs every node, and {', '.join(down)} is down", nodes=list(down)))
    return [error.as_dict() for error in found]


def emptied_keyspaces(arguments: RestoreArguments) -> set[str]:
    """The asked keyspaces whose tables are truncated before the import."""
    if not arguments.truncate:
        return set()
    named = arguments.truncate_keyspaces
    return {*arguments.tables} if named is None else {*arguments.tables} & {*named}


def _not_in_backup(arguments: RestoreArguments, head: Head) -> list[HelenusError]:
    found: list[HelenusError] = []
    schemas = {schema.name: schema for schema in head.schema}
    for keyspace, tables in sorted(arguments.tables.items()):
        schema = schemas.get(keyspace)
        if schema is None:
            found.append(TableNotInBackup(f"the backup has no keyspace {keyspace}", keyspace=keyspace))
            continue
        held = {one.table for one in head.tables if one.keyspace == keyspace}
        absent = [table for table in tables if table not in schema.columns or table not in held]
        if absent:
            known = absent[0] in schema.columns  # its SSTables on that node were corrupt, or it came just then
            where = "this node's part of the backup lacks the" if known else "the backup has no"
            message = f"{where} table {keyspace}.{absent[0]}"
            found.append(TableNotInBackup(message, keyspace=keyspace, tables=absent[:100]))
    return found


def _release(version: str) -> tuple[int, ...]:
    """Major and minor: what decides about SSTable formats."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


async def warnings_of(
    tools: RestoreTools,
    arguments: RestoreArguments,
    head: Head,
    backup: Mapping[str, KeyspaceSchema],
    live: Mapping[str, KeyspaceSchema],
    needs: Sequence[VolumeNeed],
) -> list[str]:
    """What a person should know before going on."""
    warnings = _old_tombstones(arguments, live, tools.clock() - head.taken_at)
    emptied = emptied_keyspaces(arguments)
    counters = sorted(
        f"{keyspace}.{table}"
        for keyspace, tables in arguments.tables.items()
        for table in tables
        if keyspace not in emptied and any(column.type == "counter" for column in _columns(live, keyspace, table))
    )
    if counters:
        warnings.append(f"without truncate the counters keep their newer values: {', '.join(counters)}")
    for keyspace, tables in sorted(arguments.tables.items()):
        lost = _lost_indexes(backup.get(keyspace), live.get(keyspace), tables)
        if lost:
            warnings.append(f"the backup's indexes {', '.join(lost)} of {keyspace} are not there now and stay so")
    floor = tools.node.settings.space.keep_free
    for volume in await asyncio.to_thread(volumes, await tools.node.directories.data()):
        need = next((one.needed_bytes for one in needs if one.path == volume.path), 0)
        left = 100.0 * (volume.free_bytes - need) / max(volume.total_bytes, 1)
        if need and left < floor:
            warnings.append(f"{volume.path} will have {max(left, 0):.1f} % free while the restore is under way")
    return warnings


def _old_tombstones(arguments: RestoreArguments, live: Mapping[str, KeyspaceSchema], age: float) -> list[str]:
    older = sorted(
        f"{keyspace}.{table}"
        for keyspace, tables in arguments.tables.items()
        for table in tables
        if keyspace in live and age > live[keyspace].gc_grace_seconds.get(table, float("inf"))
    )
    if not older:
        return []
    return [
        f"the backup is {age / 86400:.0f} days old, more than gc_grace_seconds of {', '.join(older[:20])}: what was "
        "deleted since may come back"
    ]


def _columns(schemas: Mapping[str, KeyspaceSchema], keyspace: str, table: str) -> Sequence[Any]:
    return schemas[keyspace].columns.get(table, ()) if keyspace in schemas else ()


def _lost_indexes(backup: KeyspaceSchema | None, live: KeyspaceSchema | None, tables: Collection[str]) -> list[str]:
    if backup is None or live is None:
        return []
    now = {one.name for one in live.objects if one.kind == "index"}
    return [
        one.name
        for one in backup.objects
        if one.kind == "index" and one.base in tables and one.base in live.columns and one.name not in now
    ]
