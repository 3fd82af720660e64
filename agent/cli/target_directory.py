"""The directory that an extract puts a backup's files to. In: its path, and a node's manifest. Out: directories of
tables that hold nothing but this backup's files, or why that can't be.

Files of two backups in one directory of a table are taken for one: a tool that loads it brings back rows that were
deleted between them. So what is there is compared with the manifest before anything is made. Links are not followed.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agent.model.manifest import TableReference
from agent.pipeline.errors import TargetUnwritable
from agent.pipeline.writing import TEMPORARY
from agent.repository.keys import encoded
from agent.repository.manifest import Manifest
from kit.atomic_files import make_directory
from kit.errors import HelenusError

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SHOWN = 10

Place = tuple[str, str, str, str]
"""data<n>, keyspace, table's directory, file: where a file is below the directory of a node."""


class TargetForeign(HelenusError):
    """An extract's directory holds files of a table that are not of this backup."""

    code = "target_foreign"
    status = 409
    todo = "Give a directory of its own to each backup. An extract that was cut goes on in the directory that it had."


class TargetDirectory:
    """Where the files of a backup's nodes go."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def refuse_foreign(self, manifest: Manifest, tables: Sequence[TableReference]) -> None:
        """Compare what is there of these tables with the manifest, by names: bytes are verified by the fetch. Nothing
        is made. Raises TargetForeign, TargetUnwritable, ManifestInvalid, ObjectDamaged, a StorageError."""
        node = self.path / encoded(manifest.head.node.host_id)
        names = {(one.keyspace, one.table) for one in tables}
        with told(node):
            foreign = set(_there(node, names))
        there = {(keyspace, directory) for _, keyspace, directory, _ in foreign}
        for reference in tables:
            if (reference.keyspace, directory_of(reference)) not in there:
                continue
            foreign.difference_update(_place(reference, one.volume, one.name) for one in reference.own)
            async for part in manifest.parts(reference):
                foreign.difference_update(_place(reference, one.volume, one.name) for one in part.files)
        if foreign:
            files = ["/".join(place) for place in sorted(foreign)]
            more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
            raise TargetForeign(
                f"{node} holds files that are not of the backup {manifest.head.tag}: {', '.join(files[:_SHOWN])}{more}",
                path=str(node),
                files=files[:_SHOWN],
            )

    def make(self, host_id: str, volume: int, reference: TableReference) -> Path:
        """The directory of a table, made where it is missing. Raises TargetUnwritable: rights, or a link or a file in
        its place, before anything is made through it."""
        current = self.path
        with told(current):
            make_directory(current)
            descriptor = os.open(current, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in (encoded(host_id), f"data{volume}", reference.keyspace, directory_of(reference)):
                current /= name
                with told(current):
                    below = _below(descriptor, name)
                    os.close(descriptor)
                    descriptor = below
        finally:
            os.close(descriptor)
        return current


def directory_of(reference: TableReference) -> str:
    """The name of a table's directory, as Cassandra has it."""
    return f"{reference.table}-{reference.table_id}"


def _place(reference: TableReference, volume: int, name: str) -> Place:
    return f"data{volume}", reference.keyspace, directory_of(reference), name


def _there(node: Path, tables: set[tuple[str, str]]) -> Iterator[Place]:
    """What stands in the directories of the tables, whatever their ids. What a cut extract left unfinished has no name
    yet and doesn't count."""
    for directory in node.glob("data*/*/*-*"):
        volume, keyspace, name = directory.relative_to(node).parts
        if (keyspace, name.rpartition("-")[0]) in tables:
            for file in _files(directory):
                if not file.name.startswith(TEMPORARY):
                    yield volume, keyspace, name, str(file.relative_to(directory))


def _files(directory: Path) -> Iterator[Path]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            else:
                yield Path(entry.path)


def _below(descriptor: int, name: str) -> int:
    """The directory of that name in an open one, made if it is missing."""
    try:
        os.mkdir(name, 0o700, dir_fd=descriptor)
    except FileExistsError:
        pass
    else:
        os.fsync(descriptor)
    return os.open(name, _OPEN, dir_fd=descriptor)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """An OSError as the error that a person is shown."""
    try:
        yield
    except OSError as error:
        reason = "a link, or no directory" if path.is_symlink() else error.strerror
        raise TargetUnwritable(f"can't write {path}: {reason}", path=str(path), errno=error.errno) from error
