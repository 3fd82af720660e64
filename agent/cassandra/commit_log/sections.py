"""How much of a segment Cassandra would replay. In: a file, finished or being written. Out: where its whole sections
end, whether it holds writes, what is wrong with it.

A segment is a chain of sections. Each begins with a marker: its end (int) and a CRC-32 of the segment's id (low, then
high half) and of the marker's place. A zero marker, or too few bytes for one, ends the chain. In a plain segment a
section is filled with mutations: size (int), CRC-32 of the size, the mutation, CRC-32 of size and mutation. Read from
Cassandra 4.0 to 5.0: a plain segment is a file of the full size from its creation on, its unused end is zeros; the
marker of a section is written as the section ends, ten times a second (also where the log is synced every ten seconds),
compressed and encrypted ones only as the log is synced.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from agent.cassandra.commit_log.descriptor import Descriptor, descriptor_of, unreadable

MARKER = struct.Struct(">II")
_ENTRY = struct.Struct(">II")
_LONG_ENTRY = 1 << 20
_CHUNK = 1 << 20
_SMALLEST_MUTATION = 10
_WORD = struct.Struct(">I")


class SegmentState(msgspec.Struct, frozen=True):
    """`synced`: bytes up to the end of the last whole section (the header's length where there is none): a copy of so
    many bytes is a segment that Cassandra replays without complaint. `written`: up to the last byte that is not zero;
    whatever was acknowledged to a client before the file was read is before it. `damage`: what Cassandra would complain
    of, as a clause, "" when nothing. `mutations`: those in whole sections, None where they were not counted (compressed
    or encrypted)."""

    descriptor: Descriptor
    size: int
    sections: int
    synced: int
    written: int
    damage: str
    mutations: int | None

    @property
    def held_data(self) -> bool:
        """Whether there is any write in it. One that was only allocated ahead has none; nor has the one that Cassandra
        leaves when it is drained or stopped (a section without a mutation), which is the last of its life."""
        counted = self.sections if self.mutations is None else self.mutations
        return counted > 0 or bool(self.damage) or not self.all_synced

    @property
    def all_synced(self) -> bool:
        """Whether nothing was written behind the last whole section."""
        return self.written <= self.synced


def segment_state(path: Path) -> SegmentState:
    """Walk the file from its beginning to its end, reading it once. Raises `SegmentUnreadable` when it has no header or
    that of another segment."""
    descriptor = descriptor_of(path)
    try:
        with path.open("rb") as file:
            return _Walk(file, descriptor).state()
    except OSError as error:
        raise unreadable(str(path), error.strerror or str(error)) from error


def section_ends(file: BinaryIO, descriptor: Descriptor) -> Iterator[int]:
    """Where each whole section ends, by the markers alone: what lies between them isn't read. Raises OSError."""
    walk, at = _Walk(file, descriptor), descriptor.length
    while end := walk.section_end(at)[0]:
        yield end
        at = end


class _Walk:
    def __init__(self, file: BinaryIO, descriptor: Descriptor) -> None:
        self._file = file
        self._descriptor = descriptor
        self._size = file.seek(0, 2)
        self._mutations = 0
        self._low, self._high = descriptor.id & 0xFFFFFFFF, descriptor.id >> 32

    def state(self) -> SegmentState:
        at, sections, damage = self._descriptor.length, 0, ""
        while not damage:
            end, damage = self.section_end(at)
            if damage or not end:
                break
            damage = self._mutations_in(at + MARKER.size, end) if self._descriptor.plain else ""
            if not damage:
                at, sections = end, sections + 1
        return SegmentState(
            descriptor=self._descriptor,
            size=self._size,
            sections=sections,
            synced=at,
            written=max(at, self._last_written(at)),
            damage=damage,
            mutations=self._mutations if self._descriptor.plain else None,
        )

    def section_end(self, at: int) -> tuple[int, str]:
        """The end of the section that begins there, 0 when the chain ends; and what is wrong."""
        if at > self._size - MARKER.size:
            return 0, ""
        self._file.seek(at)
        end, checksum = MARKER.unpack(self._file.read(MARKER.size))
        if (end, checksum) == (0, 0):
            return 0, ""
        if checksum != zlib.crc32(struct.pack(">III", self._low, self._high, at)):
            return 0, f"the marker at byte {at} has a wrong CRC"
        if end <= at:
            return 0, f"the marker at byte {at} points backwards"
        if end > self._size:
            return 0, f"it is cut: a section goes up to byte {end} and the file ends at {self._size}"
        return end, ""

    def _mutations_in(self, at: int, end: int) -> str:
        """What is wrong within a plain section; counts its mutations."""
        self._file.seek(at)
        count = 0
        while end - at >= _WORD.size:
            head = self._file.read(_ENTRY.size)
            size = _WORD.unpack_from(head)[0] if len(head) >= _WORD.size else 0
            if not size:
                break  # nothing more was written in this section
            if len(head) < _ENTRY.size or size < _SMALLEST_MUTATION or at + _ENTRY.size + size + _WORD.size > end:
                return f"the mutation at byte {at} has a wrong size"
            checksum = zlib.crc32(head[: _WORD.size])
            if checksum != _WORD.unpack_from(head, _WORD.size)[0]:
                return f"the size of the mutation at byte {at} has a wrong CRC"
            left = size
            while left:
                piece = self._file.read(min(left, _LONG_ENTRY))
                if not piece:
                    return f"the mutation at byte {at} is cut"
                checksum = zlib.crc32(piece, checksum)
                left -= len(piece)
            if self._file.read(_WORD.size) != _WORD.pack(checksum):
                return f"the mutation at byte {at} has a wrong CRC"
            at += _ENTRY.size + size + _WORD.size
            count += 1
        self._mutations += count
        return ""

    def _last_written(self, at: int) -> int:
        """Behind the last byte from there on that is not zero; `at` where all are."""
        self._file.seek(at)
        found = at
        while piece := self._file.read(_CHUNK):
            content = piece.rstrip(b"\0")
            if content:
                found = at + len(content)
            at += len(piece)
        return found
