"""`extract`: in, a backup of an open repository; out, its files below a directory, each with its digest verified.

    <into>/<host id>/data<n>/<keyspace>/<table>-<table id>/…     n: the data directory of the node that a file was in

What stands there already with the right bytes is not fetched again, so that an extract that was cut goes on; where
another backup's files stand it is refused before anything is made. Nothing is written outside: names are those that a
manifest may have, and no link is followed below the directory.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import msgspec

from agent.cli.screen import Screen, size_of
from agent.cli.target_directory import TargetDirectory
from agent.model.manifest import FileEntry, TableReference
from agent.pipeline.fetch import fetch_files
from agent.repository.errors import BackupNotFound, ZeroBackup
from agent.repository.manifest import Manifest, read_manifest
from agent.repository.opened import OpenedRepository


class Chosen(msgspec.Struct, frozen=True):
    """Which part of a backup; None = all."""

    tag: str
    keyspace: str | None = None
    table: str | None = None
    node: str | None = None


class Files(msgspec.Struct, frozen=True):
    """Files of a table that go to one directory (agent.pipeline.fetch.Wanted)."""

    keyspace: str
    table: str
    files: Sequence[FileEntry]
    directory: Path
    objects: Mapping[str, int]
    codecs: Mapping[str, int]


class Extracted(msgspec.Struct):
    """What stands verified."""

    files: int = 0
    bytes: int = 0
    tables: int = 0
    nodes: int = 0
    directories: set[Path] = msgspec.field(default_factory=set)
    """Of the tables: nothing else is in them."""


async def extract(
    opened: OpenedRepository, hosts: Sequence[str], chosen: Chosen, into: Path, screen: Screen
) -> Extracted:
    """Fetch and verify. Raises BackupNotFound, ZeroBackup (nothing is of that name), ManifestInvalid, ObjectDamaged,
    FileDiffers, TargetForeign (then nothing was written), TargetFull, TargetUnwritable, a StorageError."""
    wanted = [host for host in hosts if chosen.node in (None, host)]
    if not wanted:
        raise BackupNotFound(f"the backup {chosen.tag} has no part of the node {chosen.node}", tag=chosen.tag)
    done = Extracted()
    target = TargetDirectory(into)
    for host in sorted(wanted):
        manifest = await read_manifest(opened, chosen.tag, host)
        await target.refuse_foreign(manifest, _tables(manifest, chosen))
    for host in sorted(wanted):
        await _node(opened, await read_manifest(opened, chosen.tag, host), chosen, target, done, screen)
    if not done.tables:
        raise ZeroBackup(f"the backup {chosen.tag} has nothing of {chosen.keyspace}.{chosen.table or '*'}")
    return done


async def _node(
    opened: OpenedRepository,
    manifest: Manifest,
    chosen: Chosen,
    target: TargetDirectory,
    done: Extracted,
    screen: Screen,
) -> None:
    host = manifest.head.node.host_id
    tables = _tables(manifest, chosen)
    total = sum(one.bytes for one in tables)
    moved = 0

    async def placed(one: Files) -> None:
        done.files += len(one.files)
        done.bytes += sum(entry.size for entry in one.files)
        done.directories.add(one.directory)

    def count(one: Files, size: int) -> None:
        nonlocal moved
        moved += size
        screen.progress(f"{host}: {one.keyspace}.{one.table}: {size_of(moved)} of {size_of(total)}")

    await fetch_files(opened, host, _wanted(manifest, tables, target), placed, count, gate=opened.gate)
    done.tables += len(tables)
    done.nodes += 1


def _tables(manifest: Manifest, chosen: Chosen) -> list[TableReference]:
    return [
        one
        for one in manifest.head.tables
        if chosen.keyspace in (None, one.keyspace) and chosen.table in (None, one.table)
    ]


async def _wanted(
    manifest: Manifest, tables: Sequence[TableReference], target: TargetDirectory
) -> AsyncIterator[Files]:
    host, own = manifest.head.node.host_id, (manifest.head.own_objects, manifest.head.own_coded)
    for reference in tables:
        for one in _by_directory(host, reference, reference.own, own, target):
            yield one
        async for part in manifest.parts(reference):
            for one in _by_directory(host, reference, part.files, (part.objects, part.coded), target):
                yield one


def _by_directory(
    host: str,
    reference: TableReference,
    entries: Sequence[FileEntry],
    objects: tuple[Mapping[str, int], Mapping[str, int]],
    target: TargetDirectory,
) -> list[Files]:
    """The files, those of each data directory together. `objects`: their stored sizes and codecs."""
    volumes: dict[int, list[FileEntry]] = {}
    for entry in entries:
        volumes.setdefault(entry.volume, []).append(entry)
    return [
        Files(reference.keyspace, reference.table, files, target.make(host, volume, reference), *objects)
        for volume, files in volumes.items()
    ]
