"""A node's part of a backup, fetched whole. In: an open repository, a tag and a host id. Out: every file's bytes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.model.manifest import FileEntry, TableReference
from agent.pipeline.fetch import fetch_files
from agent.repository.manifest import Manifest, read_manifest
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN


@dataclass
class Wanted:
    """An SSTable's files and where they go."""

    files: Sequence[FileEntry]
    directory: Path
    objects: Mapping[str, int]
    codecs: Mapping[str, int]
    keyspace: str
    table: str


async def files_of(repository: OpenedRepository, tag: str, host_id: str, into: Path) -> dict[str, dict[str, bytes]]:
    """`keyspace.table` → name → bytes, without what the snapshot itself wrote."""
    manifest = await read_manifest(repository, tag, host_id)
    found = {}
    for reference in manifest.head.tables:
        directory = into / tag / f"{reference.keyspace}.{reference.table}"
        directory.mkdir(parents=True)
        await fetch_files(
            repository, host_id, _wanted(manifest, reference, directory), _placed, lambda *_: None, gate=OPEN
        )
        paths = [path for path in directory.rglob("*") if path.is_file()]
        found[directory.name] = {str(path.relative_to(directory)): path.read_bytes() for path in paths}
    return found


async def _wanted(manifest: Manifest, reference: TableReference, directory: Path) -> AsyncIterator[Wanted]:
    async for part in manifest.parts(reference):
        for file in part.files:
            (directory / file.name).parent.mkdir(exist_ok=True)
        yield Wanted(part.files, directory, part.objects, part.coded, reference.keyspace, reference.table)


async def _placed(_: Wanted) -> None:
    return None
