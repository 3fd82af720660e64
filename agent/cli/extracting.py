"""`extract`: in, a backup of an open repository; out, its files below a directory, each with its digest verified.

    <into>/<host id>/data<n>/<keyspace>/<table>-<table id>/…     n: the data directory of the node that a file was in

What stands there already with the right bytes is not fetched again, so that an extract that was cut goes on. Nothing is
written outside: names are those that a manifest may have, and no link is followed below the directory.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import msgspec

from agent.cli.screen import Screen, size_of
from agent.model.manifest import FileEntry, TableReference
from agent.pipeline.errors import TargetUnwritable
from agent.pipeline.fetch import fetch_files
from agent.repository.errors import BackupNotFound, ZeroBackup
from agent.repository.keys import encoded
from agent.repository.manifest import Manifest, read_manifest
from agent.repository.opened import OpenedRepository
from kit.atomic_files import make_directory


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


async def extract(
    opened: OpenedRepository, hosts: Sequence[str], chosen: Chosen, into: Path, screen: Screen
) -> Extracted:
    """Fetch and verify. Raises BackupNotFound, ZeroBackup (nothing is of that name), ManifestInvalid, ObjectDamaged,
    FileDiffers, TargetFull, TargetUnwritable, a StorageError."""
    wanted = [host for host in hosts if chosen.node in (None, host)]
    if not wanted:
        raise BackupNotFound(f"the backup {chosen.tag} has no part of the node {chosen.node}", tag=chosen.tag)
    done = Extracted()
    make_directory(into)
    for host in sorted(wanted):
        manifest = await read_manifest(opened, chosen.tag, host)
        await _node(opened, manifest, chosen, into / encoded(host), done, screen)
    if not done.tables:
        raise ZeroBackup(f"the backup {chosen.tag} has nothing of {chosen.keyspace}.{chosen.table or '*'}")
    return done


async def _node(
    opened: OpenedRepository, manifest: Manifest, chosen: Chosen, below: Path, done: Extracted, screen: Screen
) -> None:
    tables = [
        one
        for one in manifest.head.tables
        if chosen.keyspace in (None, one.keyspace) and chosen.table in (None, one.table)
    ]
    total = sum(one.bytes for one in tables)
    moved = 0

    async def placed(one: Files) -> None:
        done.files += len(one.files)
        done.bytes += sum(entry.size for entry in one.files)

    def count(one: Files, size: int) -> None:
        nonlocal moved
        moved += size
        screen.progress(f"{below.name}: {one.keyspace}.{one.table}: {size_of(moved)} of {size_of(total)}")

    await fetch_files(
        opened, manifest.head.node.host_id, _wanted(manifest, tables, below), placed, count, gate=opened.gate
    )
    done.tables += len(tables)
    done.nodes += 1


async def _wanted(manifest: Manifest, tables: Sequence[TableReference], below: Path) -> AsyncIterator[Files]:
    for reference in tables:
        for one in _by_directory(reference, reference.own, (manifest.head.own_objects, manifest.head.own_coded), below):
            yield one
        async for part in manifest.parts(reference):
            for one in _by_directory(reference, part.files, (part.objects, part.coded), below):
                yield one


def _by_directory(
    reference: TableReference,
    entries: Sequence[FileEntry],
    objects: tuple[Mapping[str, int], Mapping[str, int]],
    below: Path,
) -> list[Files]:
    """The files, those of each data directory together. `objects`: their stored sizes and codecs."""
    volumes: dict[int, list[FileEntry]] = {}
    for entry in entries:
        volumes.setdefault(entry.volume, []).append(entry)
    found = []
    for volume, files in volumes.items():
        table = f"{reference.table}-{reference.table_id}"
        directory = below / f"data{volume}" / reference.keyspace / table
        make_directory(directory)
        base = below.parent.resolve()
        if directory.resolve() != base / below.name / f"data{volume}" / reference.keyspace / table:
            raise TargetUnwritable(f"a link leads out of {base}: {directory}", path=str(directory))
        found.append(Files(reference.keyspace, reference.table, files, directory, *objects))
    return found
