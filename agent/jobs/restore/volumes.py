"""Which volume each SSTable is staged on. In: where it was backed up from and what this node has. Out: a root's number.

An SSTable stays where an earlier run of the job began it, for the room on the volumes is another one by now. Else it
goes to the data directory of the same path as in the backup, else to the one with most room.
"""

import os
from collections.abc import AsyncIterator, Mapping, Sequence

from agent.cassandra.directories import Volume
from agent.cassandra.errors import SstableDamaged
from agent.cassandra.sstables import checked, is_staged
from agent.cassandra.staging import StagingRoot, remove_below
from agent.jobs.restore.source import BackupSource
from agent.model.manifest import FileEntry, TablePart, TableReference
from agent.plan.sstables import DATA, group


class StagingPlan:
    """Assigns SSTables to data directories, counting the bytes on each."""

    def __init__(self, backed_up_from: Sequence[str], volumes: Sequence[Volume]) -> None:
        here = {volume.path: number for number, volume in enumerate(volumes)}
        self._numbers = [here.get(path) for path in backed_up_from]
        self._volumes = volumes
        self._free: dict[int, int] = {}
        """By device: directories of one device were looked at one after the other, while others wrote there."""
        for volume in volumes:
            self._free.setdefault(volume.device, volume.free_bytes)
        self.bytes_on = [0] * len(volumes)

    def place(self, files: Sequence[FileEntry], begun_on: int | None = None) -> int:
        """The number of the data directory for an SSTable's files, whose bytes are counted there. `begun_on`: where an
        earlier run of the job put some of them already."""
        number = begun_on if begun_on is not None else self._numbers[files[0].volume]
        if number is None:
            number = max(range(len(self._volumes)), key=self._room)
        self.bytes_on[number] += sum(entry.size for entry in files)
        return number

    def _room(self, number: int) -> int:
        """What is free on the directory's device, less what was assigned to directories of the same device."""
        device = self._volumes[number].device
        assigned = sum(
            size for volume, size in zip(self._volumes, self.bytes_on, strict=True) if volume.device == device
        )
        return self._free[self._volumes[number].device] - assigned

    def needs(self) -> list[tuple[Volume, int]]:
        """Each device once, by its first directory, with the bytes that are staged on it."""
        found: dict[int, tuple[Volume, int]] = {}
        for volume, size in zip(self._volumes, self.bytes_on, strict=True):
            first, before = found.get(volume.device, (volume, 0))
            found[volume.device] = (first, before + size)
        return list(found.values())


async def staged_sstables(
    source: BackupSource, reference: TableReference, *, indexes: bool = False
) -> AsyncIterator[tuple[str, tuple[FileEntry, ...], TablePart]]:
    """The table's SSTables with the files that are staged, and the part of the manifest that names their objects.
    `indexes`: also SSTables of legacy indexes, `.<index>/` before their names.

    Raises `UnsafeName` for a name that is no component, `SstableDamaged` for an SSTable without Data.db, and what
    reading the manifest raises.
    """
    async for part in source.parts(reference):
        staged = [
            (entry.name, entry)
            for entry in part.files
            if is_staged(entry.name) or (indexes and checked(entry.name) is not None)
        ]
        for sstable, files in group(staged).items():
            if f"{sstable}-{DATA}" not in (name for name, _ in files):
                raise SstableDamaged(
                    f"the backup's {sstable} of {reference.keyspace}.{reference.table} has no Data.db",
                    keyspace=reference.keyspace,
                    table=reference.table,
                    sstable=sstable,
                )
            yield sstable, tuple(entry for _, entry in files), part


def begun_sstables(roots: Sequence[StagingRoot], keyspace: str, table: str) -> dict[str, int]:
    """SSTable → the number of the first root in whose held/ any of its files is."""
    found: dict[str, int] = {}
    for number, root in enumerate(roots):
        for sstable in group((name, None) for name in _names(root, keyspace, table)):
            found.setdefault(sstable, number)
    return found


def remove_strays(roots: Sequence[StagingRoot], keyspace: str, table: str, placed: Mapping[str, int]) -> list[str]:
    """Remove from held/ what belongs to no SSTable that was placed on that root (`placed`: SSTable → root number): an
    import takes all that it finds there. The removed names."""
    removed = []
    indexes = {sstable.rpartition("/")[0] for sstable in placed}
    for number, root in enumerate(roots):
        names = [name for name in _names(root, keyspace, table) if name not in indexes]
        right = {
            name
            for sstable, files in group((name, None) for name in names).items()
            if placed.get(sstable) == number
            for name, _ in files
        }
        for name in names:
            if name not in right:
                path = root.held(keyspace, table) / name
                if path.is_dir() and not path.is_symlink():
                    remove_below(root, "held", keyspace, table, *name.split("/"))
                else:
                    path.unlink(missing_ok=True)
                removed.append(name)
    return removed


def _names(root: StagingRoot, keyspace: str, table: str) -> list[str]:
    """What is in held/, with what is in directories there, `<directory>/` before it."""
    held = root.held(keyspace, table)
    try:
        names = sorted(os.listdir(held))
    except FileNotFoundError:
        return []
    below = [name for name in names if (held / name).is_dir() and not (held / name).is_symlink()]
    return names + [f"{directory}/{name}" for directory in below for name in sorted(os.listdir(held / directory))]
