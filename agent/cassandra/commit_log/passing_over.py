"""The beginning of a segment that a replay is to pass over. In: a segment, how much of it. Out: the same file with that
part told as a write to a table that nobody has, which Cassandra passes over.

A snapshot has every write that was in whole sections of the log before Cassandra was asked for it. All the same they
are replayed where no SSTable of their table says so: one that was truncated before the snapshot has none, and of its
TRUNCATEs Cassandra keeps only the last, which a later one takes the place of. Rows would come back that were gone long
before.

Nothing is moved, so that every later write keeps its place: the first marker goes up to the end of that part, and the
part is one mutation whose first bytes name no table, with its CRCs. Cassandra counts such a one as skipped [T: 4.1,
5.0]. Compressed and encrypted segments stay as they are. The file is lent to Cassandra for one replay; should it be
offered for archiving by a start amid that, the archive command passes by it.
"""

import os
import shutil
import struct
import zlib
from pathlib import Path
from uuid import UUID

from agent.cassandra.commit_log.descriptor import Descriptor, descriptor_of
from agent.cassandra.commit_log.errors import SegmentUnreadable
from agent.cassandra.commit_log.sections import MARKER, section_ends
from agent.cassandra.staging import StagingRoot, settle_file, staging_error
from agent.plan.segment_names import parse_segment, segment_id
from kit.atomic_files import sync_directory

NOBODYS_TABLE = UUID("48656c65-6e75-1173-a05b-6e6f626f6479")
"""The archive command knows such a segment by it."""
_UPDATE = b"\x01" + NOBODYS_TABLE.bytes
"""How a mutation of one update begins."""
_SCRATCH = ".passing_over.tmp"
_WORD = struct.Struct(">I")
_CHUNK = 1 << 20


def flushed(directory: Path, floor: str) -> dict[str, int]:
    """Of each plain segment there that is newer than the floor, the bytes up to the end of its last whole section: what
    a snapshot has that is asked for afterwards; all but a write that hangs for longer than the order takes between the
    log and a memtable that is clean, for want of memory [X: ColumnFamilyStore.forceFlush]. One that can't be read is
    left out. Blocks, for some small reads."""
    found = {}
    try:
        paths = [*directory.iterdir()]
    except OSError:
        return {}  # as where no segment is found
    for path in paths:
        if parse_segment(path.name) is None or segment_id(path.name) <= segment_id(floor):
            continue
        try:
            ends = _ends(path, descriptor_of(path), path.stat().st_size)
        except (OSError, SegmentUnreadable):
            continue
        if ends:
            found[path.name] = ends[-1]
    return found


def pass_over(root: StagingRoot, segment: Path, until: int) -> None:
    """Have a replay of the segment begin with the first section that ends behind `until` (bytes). Replaces the file, by
    way of another one in `root`, on the same file system; other links to it stay what they are. The same again is fine.
    Blocks. Raises `SegmentUnreadable`, `NotEnoughSpace`, `StagingRefused`."""
    descriptor = descriptor_of(segment)
    try:
        ends = _ends(segment, descriptor, until)
        begin = descriptor.length + MARKER.size
        size = (ends[-1] if ends else begin) - begin - 3 * _WORD.size
        if size < len(_UPDATE):
            return
        scratch = root.path / _SCRATCH
        scratch.unlink(missing_ok=True)
        shutil.copyfile(segment, scratch)
        with scratch.open("r+b") as file:
            file.seek(descriptor.length)
            file.write(_WORD.pack(ends[-1]))
            told = _WORD.pack(size)
            checksum = zlib.crc32(told)
            file.seek(begin)
            file.write(told + _WORD.pack(checksum) + _UPDATE)
            file.seek(begin + 2 * _WORD.size)
            while size:
                piece = file.read(min(size, _CHUNK))
                checksum = zlib.crc32(piece, checksum)
                size -= len(piece)
            file.seek(ends[-1] - _WORD.size)
            file.write(_WORD.pack(checksum))
            file.flush()
            os.fsync(file.fileno())
        settle_file(root, scratch)
        scratch.replace(segment)
        sync_directory(segment.parent)
    except OSError as error:
        raise staging_error(error, f"{segment.name} can't be staged", root.path) from error


def _ends(path: Path, descriptor: Descriptor, until: int) -> list[int]:
    """Ends of the whole sections of a plain segment that lie before `until`."""
    if not descriptor.plain:
        return []
    with path.open("rb") as file:
        return [end for end in section_ends(file, descriptor) if end <= until]
