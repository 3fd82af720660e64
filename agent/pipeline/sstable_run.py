"""One SSTable on its way: in, its planned objects and, one by one, what was read; out, its part of the manifest and
what is remembered of it. Cassandra's own Digest.crc32 is compared here.
"""

from typing import NamedTuple

from agent.crypto.digest import crc32_combined, file_digest
from agent.model.manifest import FileEntry, Piece
from agent.model.snapshot import FileStat
from agent.pipeline.errors import SstableCorrupt
from agent.pipeline.reading import Loaded
from agent.plan.backup import Known, KnownFile, PlannedObject
from agent.plan.layout import SSTable


class DoneSSTable(NamedTuple):
    """An SSTable that is where it belongs: its files as a manifest has them, its objects (id, plain bytes), which are
    the same whatever a destination makes of them, and what is to be remembered of its files."""

    files: tuple[FileEntry, ...]
    objects: tuple[tuple[bytes, int], ...]
    remembered: dict[str, KnownFile]


class SSTableRun:
    """The state of one SSTable until all its objects are where they belong."""

    def __init__(self, sstable: SSTable, planned: list[PlannedObject], known: Known, piece_size: int) -> None:
        self.sstable = sstable
        self.planned = planned
        self.pending = sum(1 for one in planned if one.read)
        self.crc_text: bytes | None = None
        self._known = known
        self._piece_size = piece_size
        self._ids: list[bytes | None] = [one.id for one in planned]
        self._runs: dict[tuple[int, int], tuple[bytes, int | None]] = {}

    def loaded(self, place: int, loaded: Loaded) -> None:
        """Note what was read of the object at `place` of the plan. Raises SstableCorrupt when an unchanged file reads
        otherwise than before."""
        expected = self._ids[place]
        if expected is not None and expected != loaded.id:
            raise SstableCorrupt(
                f"{self._first_path} reads otherwise than before although its stat is the same", path=self._first_path
            )
        self._ids[place] = loaded.id
        for run, digest in zip(self.planned[place].layout.runs, loaded.runs, strict=True):
            self._runs[run.file, run.start] = (digest, loaded.crcs.get(run.file))
        if loaded.text is not None:
            self.crc_text = loaded.text

    @property
    def needs_crc_text(self) -> FileStat | None:
        """The Digest.crc32 that must still be read, because Data.db was and it was not."""
        sstable = self.sstable
        if sstable.crc is None or sstable.data is None or self.crc_text is not None:
            return None
        return sstable.files[sstable.crc] if any(file == sstable.data for file, _ in self._runs) else None

    def finish(self) -> DoneSSTable:
        """The SSTable, all of whose objects are done. Raises SstableCorrupt."""
        places: dict[int, list[tuple[int, bytes, int, int]]] = {}
        objects: dict[bytes, int] = {}
        for object_id, planned in zip(self._ids, self.planned, strict=True):
            assert object_id is not None, "every object is known or was read"  # noqa: S101 - an invariant of ours
            objects[object_id] = planned.layout.length
            offset = 0
            for run in planned.layout.runs:
                places.setdefault(run.file, []).append((run.start, object_id, offset, run.length))
                offset += run.length
        known = [self._remembered(place, file, places.get(place, [])) for place, file in enumerate(self.sstable.files)]
        self._check_crc(known)
        entries = tuple(
            FileEntry(
                name=file.name,
                size=file.size,
                volume=file.volume,
                digest=known[place].digest.hex(),
                pieces=tuple(Piece(name.hex(), offset, length) for _, name, offset, length in places.get(place, [])),
                piece_size=self._piece_size,
            )
            for place, file in enumerate(self.sstable.files)
        )
        remembered = {file.name: one for file, one in zip(self.sstable.files, known, strict=True)}
        return DoneSSTable(entries, tuple(objects.items()), remembered)

    def _remembered(self, place: int, file: FileStat, pieces: list[tuple[int, bytes, int, int]]) -> KnownFile:
        before = self._known.get(file.name)
        if before is not None and pieces and not self._runs:
            return before  # nothing was read
        starts = [start for start, *_ in pieces]
        runs = [self._runs.get((place, start)) for start in starts]
        if pieces and any(run is None for run in runs):
            assert before is not None, "a file that was not read is known"  # noqa: S101 - an invariant of ours
            return before
        crc: int | None = None
        if place == self.sstable.data:
            crc = 0
            for (_, _, _, length), run in zip(pieces, runs, strict=True):
                crc = crc32_combined(crc, run[1] or 0, length) if run else crc
        return KnownFile(
            inode=file.inode,
            mtime_ns=file.mtime_ns,
            size=file.size,
            digest=file_digest([run[0] for run in runs if run], file.size),
            crc=crc,
            objects=tuple(name for _, name, _, _ in pieces),
            offset=pieces[0][2] if pieces else 0,
            piece_size=self._piece_size,
        )

    def _check_crc(self, known: list[KnownFile]) -> None:
        sstable = self.sstable
        if sstable.data is None or self.crc_text is None:
            return
        data = sstable.files[sstable.data]
        found = known[sstable.data].crc
        try:
            promised = int(self.crc_text.decode("ascii").strip())
        except ValueError:
            promised = -1
        if found is not None and found != promised:
            says = self.crc_text.decode("ascii", "replace")
            raise SstableCorrupt(
                f"{data.path} has the CRC-32 {found}, its Digest.crc32 says {says!r}",
                path=data.path,
                found=found,
            )

    @property
    def _first_path(self) -> str:
        return self.sstable.files[0].path if self.sstable.files else self.sstable.name
