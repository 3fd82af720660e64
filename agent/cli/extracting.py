"""`extract`: in, a backup of an open repository; out, its files below a directory, each with its digest verified.

    <into>/<host id>/data<n>/<keyspace>/<table>-<table id>/…     n: the data directory of the node that a file was in

What stands there already with the right bytes is not fetched again, so that an extract that was cut goes on; where
another backup's files stand it is refused before anything is made. Nothing is written outside: names are those that a
manifest may have, and no link is followed below the directory.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from agent.cli.screen import Screen, size_of
from agent.cli.target_directory import TargetDirectory
from agent.model.manifest import FileEntry, TableReference
from agent.pipeline.fetch import fetch_files
from agent.repository.manifest import Manifest, read_manifest
from agent.repository.opened import OpenedRepository
from kit.errors import HelenusError

_SHOWN = 20


class PartNotFound(HelenusError):
    """The backup has no such node, keyspace or table."""

    code = "part_not_found"
    status = 404
    todo = "Name one of those that the backup has: the message lists them."


class Chosen(msgspec.Struct, frozen=True):
    """Which part of a backup; None = all."""

    tag: str
    keyspace: str | None = None
    table: str | None = None
    node: str | None = None

    def nothing(self) -> str:
        """That nothing is of these names, in words."""
        if self.table is None:
            return "no tables" if self.keyspace is None else f"no keyspace {self.keyspace}"
        return f"no table {self.table if self.keyspace is None else f'{self.keyspace}.{self.table}'}"


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
    lacking: list[str] = msgspec.field(default_factory=list)
    """What of the tables that were asked for the backup itself was made without, and why, in words."""


async def extract(
    opened: OpenedRepository, hosts: Sequence[str], chosen: Chosen, into: Path, screen: Screen
) -> Extracted:
    """Fetch and verify. Raises PartNotFound, ManifestInvalid, ObjectDamaged,
    FileDiffers, TargetForeign (then nothing was written), TargetFull, TargetUnwritable, a StorageError."""
    wanted = [host for host in hosts if chosen.node in (None, host)]
    if not wanted:
        raise PartNotFound(
            f"the backup {chosen.tag} has no part of the node {chosen.node}: it has those of {_some(hosts)}",
            tag=chosen.tag,
        )
    done = Extracted()
    target = TargetDirectory(into)
    names: set[str] = set()
    found = False
    for host in sorted(wanted):
        manifest = await read_manifest(opened, chosen.tag, host)
        tables = _tables(manifest, chosen)
        found = found or bool(tables)
        names |= {f"{one.keyspace}.{one.table}" for one in manifest.head.tables}
        done.lacking += _lacking(manifest, chosen)
        await target.refuse_foreign(manifest, tables)
    if not found:
        raise PartNotFound(f"the backup {chosen.tag} has {chosen.nothing()}: it has {_some(names)}", tag=chosen.tag)
    for host in sorted(wanted):
        await _node(opened, await read_manifest(opened, chosen.tag, host), chosen, target, done, screen)
    return done


def _some(names: Iterable[str]) -> str:
    """The first of them; how many more there are."""
    known = sorted(names)
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return ", ".join(known[:_SHOWN]) + more or "none"


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


def _lacking(manifest: Manifest, chosen: Chosen) -> list[str]:
    left_out = {tuple(name.split(".")): code for name, code in manifest.head.lacking.items()}
    return [
        f"{keyspace}.{table} of {manifest.head.node.host_id} was left out, or a file of it: {code}"
        for (keyspace, table), code in left_out.items()
        if chosen.keyspace in (None, keyspace) and chosen.table in (None, table)
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
