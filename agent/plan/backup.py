"""What of an SSTable must be read and put: in, its layout, what is remembered of its files, and which objects are in
the destinations; out, one decision per object. Pure.

Reuse is decided against what a listing of this job showed, never from memory alone: memory only tells which object an
unchanged file's bytes are in.
"""

from collections.abc import Callable, Mapping

import msgspec

from agent.model.snapshot import FileStat
from agent.plan.layout import ObjectLayout, SSTable


class KnownFile(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is remembered of a file since its bytes were last read: the stat that proves it unchanged, its digest and
    its CRC-32 (of a Data.db), and where its bytes are: objects of `piece_size` bytes each, or one from `offset` on."""

    inode: int
    mtime_ns: int
    size: int
    digest: bytes
    crc: int | None
    objects: tuple[bytes, ...]
    offset: int
    piece_size: int


Known = Mapping[str, KnownFile]
"""by file name"""

Present = Callable[[bytes, int], bool]
"""whether every destination that is still written to has the object of that id, of so many plain bytes"""


class PlannedObject(msgspec.Struct, frozen=True):
    """An object of a layout with its id, where the files are unchanged, and whether it must be read."""

    layout: ObjectLayout
    id: bytes | None
    read: bool


def is_unchanged(file: FileStat, known: KnownFile | None) -> bool:
    """Whether the stat proves that the file's bytes are those that were read then."""
    return (
        known is not None and known.size == file.size and known.mtime_ns == file.mtime_ns and known.inode == file.inode
    )


def plan_sstable(sstable: SSTable, known: Known, present: Present, piece_size: int) -> list[PlannedObject]:
    """A decision for each object of the SSTable, in the layout's order."""
    unchanged = [known.get(file.name) if is_unchanged(file, known.get(file.name)) else None for file in sstable.files]
    planned = []
    for layout in sstable.objects:
        object_id = _object_of(layout, unchanged, piece_size)
        read = object_id is None or not present(object_id, layout.length)
        planned.append(PlannedObject(layout, object_id, read))
    return planned


def _object_of(layout: ObjectLayout, unchanged: list[KnownFile | None], piece_size: int) -> bytes | None:
    """The id of the object that holds exactly this layout, if all its files are known to be unchanged."""
    found: bytes | None = None
    offset = 0
    for run in layout.runs:
        file = unchanged[run.file]
        if file is None or file.piece_size != piece_size:
            return None
        if run.length == file.size:
            if len(file.objects) != 1 or file.offset != offset:
                return None
            name = file.objects[0]
        else:
            place = run.start // piece_size
            if place >= len(file.objects) or len(layout.runs) != 1:
                return None
            name = file.objects[place]
        if found is not None and name != found:
            return None
        found = name
        offset += run.length
    return found
