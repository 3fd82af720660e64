"""A node's part of an ended request as the store keeps it. In: the part. Out: bytes, and the part again.

Its counts are packed: of a thousand nodes with a thousand tables they would be 100 MB of JSON, here they are ten. To
pack or unpack those of all nodes is half a second of work: it is done while the event loop turns.
"""

import zlib
from array import array
from collections.abc import Iterable

import msgspec

from coordinator.model.requests import NodePart
from coordinator.model.table_counts import Layouts, TableCounts
from kit.slices import Slices


class _Counts(msgspec.Struct, frozen=True):
    """Of one destination. `tables`: keyspace → tables, in the order in which `numbers` has four for each; `errors`:
    number of the table → its errors."""

    tables: dict[str, list[str]]
    numbers: list[int]
    errors: dict[int, list[str]] = {}


class _Kept(msgspec.Struct, frozen=True):
    part: NodePart
    places: dict[str, _Counts]


class _Bare(msgspec.Struct, frozen=True):
    """The same, its counts unread."""

    part: NodePart
    places: msgspec.Raw


_decode = msgspec.msgpack.Decoder(_Kept).decode
_decode_bare = msgspec.msgpack.Decoder(_Bare).decode


def packed(part: NodePart, layouts: Layouts) -> bytes:
    """The part as bytes."""
    places = {}
    for place, told in part.progress.items():
        counts = layouts.pack(told)
        tables: dict[str, list[str]] = {}
        for keyspace, table in counts.layout.names:
            tables.setdefault(keyspace, []).append(table)
        places[place] = _Counts(tables, counts.numbers.tolist(), dict(counts.errors))
    bare = msgspec.structs.replace(part, progress={})
    return zlib.compress(msgspec.msgpack.encode(_Kept(bare, places)), 1)


def unpacked(data: bytes, layouts: Layouts) -> NodePart:
    """The part that `packed` made these bytes of."""
    kept = _decode(zlib.decompress(data))
    progress = {}
    for place, counts in kept.places.items():
        names = tuple((keyspace, table) for keyspace, tables in counts.tables.items() for table in tables)
        progress[place] = TableCounts(layouts.of(names), array("q", counts.numbers), counts.errors)
    return msgspec.structs.replace(kept.part, progress=progress)


def bare(data: bytes) -> NodePart:
    """The same without its counts, in a tenth of the time."""
    return _decode_bare(zlib.decompress(data)).part


async def packed_in_turns(parts: Iterable[NodePart], layouts: Layouts) -> list[bytes]:
    """Each part as bytes."""
    kept, slices = list[bytes](), Slices()
    for part in parts:
        kept.append(packed(part, layouts))
        await slices.pause()
    return kept


async def unpacked_in_turns(kept: Iterable[bytes], layouts: Layouts) -> list[NodePart]:
    """The parts again."""
    parts, slices = list[NodePart](), Slices()
    for data in kept:
        parts.append(unpacked(data, layouts))
        await slices.pause()
    return parts
