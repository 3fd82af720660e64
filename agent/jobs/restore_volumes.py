"""Which volume each SSTable is staged on. In: where it was backed up from and what this node has. Out: a root's number.

An SSTable goes to the data directory of the same path as in the backup, else to the one with most room.
"""

from collections.abc import AsyncIterator, Sequence

from agent.cassandra.directories import Volume
from agent.cassandra.errors import SstableDamaged
from agent.cassandra.sstables import DATA, group, is_staged
from agent.jobs.restore_source import BackupSource
from agent.model.manifest import FileEntry, TableReference


class StagingPlan:
    """Assigns SSTables to data directories, counting the bytes on each."""

    def __init__(self, backed_up_from: Sequence[str], volumes: Sequence[Volume]) -> None:
        here = {volume.path: number for number, volume in enumerate(volumes)}
        self._numbers = [here.get(path) for path in backed_up_from]
        self._volumes = volumes
        self.bytes_on = [0] * len(volumes)

    def place(self, files: Sequence[FileEntry]) -> int:
        """The number of the data directory for an SSTable's files, whose bytes are counted there."""
        number = self._numbers[files[0].volume]
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
        return self._volumes[number].free_bytes - assigned

    def needs(self) -> list[tuple[Volume, int]]:
        """Each device once, by its first directory, with the bytes that are staged on it."""
        found: dict[int, tuple[Volume, int]] = {}
        for volume, size in zip(self._volumes, self.bytes_on, strict=True):
            first, before = found.get(volume.device, (volume, 0))
            found[volume.device] = (first, before + size)
        return list(found.values())


async def staged_sstables(
    source: BackupSource, reference: TableReference
) -> AsyncIterator[tuple[str, tuple[FileEntry, ...]]]:
    """The table's SSTables with the files that are staged, as the manifest names them.

    Raises `UnsafeName` for a name that is no component, `SstableDamaged` for an SSTable without Data.db, and what
    reading the manifest raises.
    """
    async for part in source.parts(reference):
        staged = [(entry.name, entry) for entry in part.files if is_staged(entry.name)]
        for sstable, files in group(staged).items():
            if f"{sstable}-{DATA}" not in (name for name, _ in files):
                raise SstableDamaged(
                    f"the backup's {sstable} of {reference.keyspace}.{reference.table} has no Data.db",
                    keyspace=reference.keyspace,
                    table=reference.table,
                    sstable=sstable,
                )
            yield sstable, tuple(entry for _, entry in files)
