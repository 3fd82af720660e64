"""What an SSTable's Statistics.db says of its writes. In: the file's bytes and name. Out: the oldest and newest write's
time, how far the commit log was in it.

As Cassandra 3.0 to 5.0 write it, all numbers big-endian: how many parts (int), for each its kind and place (two ints),
the parts. In `bti`, and in `big` from version `na` on (4.0), a CRC-32 follows the number, the places and each part. The
part STATS begins with two histograms (number of buckets, then two longs for each), the commit-log position up to which
the SSTable has its table's writes (segment id as a long, place in it as an int), the oldest and the newest timestamp
(longs).
"""

import struct
import zlib

import msgspec

from agent.cassandra.errors import SstableDamaged
from agent.plan.sstables import parse

_STATS = 2
_MOST_PARTS = 16
_FIRST_WITH_CRC = "na"
_INT = struct.Struct(">i")
_PLACE = struct.Struct(">ii")
_REST = struct.Struct(">qiqq")
_BUCKET = 16
_UNSET = (-(1 << 63), (1 << 63) - 1)


class SstableStatistics(msgspec.Struct, frozen=True):
    """Times as the clients gave them: microseconds since 1970, unless they used another unit; None where there is no
    write with a time. `log_segment`, `log_position`: the commit log's, -1 and 0 for none (a streamed SSTable)."""

    oldest_write: int | None
    newest_write: int | None
    log_segment: int
    log_position: int


def statistics_of(name: str, content: bytes) -> SstableStatistics:
    """What the file says; `name`: such as nb-1-big-Statistics.db, also with an index's directory before it. Raises
    `SstableDamaged` when it is cut or its CRC is wrong."""
    component = parse(name)
    if component is None or component.component != "Statistics.db":
        raise SstableDamaged(f"«{name[:120]}» is no Statistics.db of an SSTable", name=name[:120])
    try:
        big = component.sstable.endswith("-big")
        stats = _part(content, checked=not big or component.sstable[:2] >= _FIRST_WITH_CRC)
        at = _after_histogram(stats, _after_histogram(stats, 0))
        segment, position, oldest, newest = _REST.unpack_from(stats, at)
    except (struct.error, ValueError) as error:
        raise SstableDamaged(f"{name} can't be read: {error}", name=name) from error
    return SstableStatistics(
        None if oldest in _UNSET else oldest, None if newest in _UNSET else newest, segment, position
    )


def _part(content: bytes, *, checked: bool) -> memoryview:
    """The part STATS. Raises struct.error or ValueError."""
    whole = memoryview(content)
    (parts,) = _INT.unpack_from(whole)
    if not 0 < parts <= _MOST_PARTS:
        raise ValueError("it doesn't begin with a number of parts")
    begin = _INT.size * (2 if checked else 1)
    places = [_PLACE.unpack_from(whole, begin + _PLACE.size * number) for number in range(parts)]
    starts = [start for _, start in places]
    found = next((number for number, (kind, _) in enumerate(places) if kind == _STATS), None)
    if found is None:
        raise ValueError("it has no part of statistics")
    start, end = starts[found], starts[found + 1] if found + 1 < parts else len(whole)
    if not 0 < start < end <= len(whole):
        raise ValueError("its parts lie outside of it")
    if not checked:
        return whole[start:end]
    end -= _INT.size
    if zlib.crc32(whole[start:end]) != _INT.unpack_from(whole, end)[0] & 0xFFFFFFFF:
        raise ValueError("the CRC of its statistics is wrong")
    return whole[start:end]


def _after_histogram(stats: memoryview, at: int) -> int:
    buckets: int = _INT.unpack_from(stats, at)[0]
    if buckets < 0:
        raise ValueError("a histogram has less than no buckets")
    return at + _INT.size + _BUCKET * buckets
