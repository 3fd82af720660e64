"""A set of objects with stored sizes that stays small: 24 bytes an object, so that millions fit.

In: names as 32 bytes, of which the first 16 are kept (no two of a repository's contents share those by chance), and the
codec's number in the object frame, for one content stored in two codecs is two objects. Out: sizes. Objects that come
in order, as a listing gives them, are appended; others are inserted where they belong.
"""

import struct
from collections.abc import Iterator

_KEPT = 16
_KEY = 17
"""The kept part of the id and the codec: the order of the records."""
_RECORD = struct.Struct(">16sQ")
_WIDTH = _RECORD.size
_SIZE_BITS = 56
_SIZE = (1 << _SIZE_BITS) - 1


class ObjectIndex:
    """Object id and codec (0 raw) → stored size in bytes, less than 2^56. Not safe for several threads at once."""

    def __init__(self) -> None:
        # By the first byte: each list stays short, and an insertion moves little.
        self._buckets: list[bytearray] = [bytearray() for _ in range(256)]

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets) // _WIDTH

    def __contains__(self, digest: bytes) -> bool:
        return self.get(digest) is not None

    def get(self, digest: bytes, codec: int = 0) -> int | None:
        """The stored size of an object, None if it is not in the set."""
        bucket, key = self._buckets[digest[0]], _key(digest, codec)
        place = self._place(bucket, key)
        if bucket[place : place + _KEY] != key:
            return None
        return int(_RECORD.unpack_from(bucket, place)[1]) & _SIZE

    def add(self, digest: bytes, size: int, codec: int = 0) -> None:
        """Add an object, or change its size."""
        bucket, key = self._buckets[digest[0]], _key(digest, codec)
        record = _RECORD.pack(digest[:_KEPT], codec << _SIZE_BITS | size)
        if bucket[-_WIDTH : _KEY - _WIDTH] < key:  # an empty bucket's last key is b"", before all others
            bucket += record
            return
        place = self._place(bucket, key)
        present = bucket[place : place + _KEY] == key
        bucket[place : place + (_WIDTH if present else 0)] = record

    def discard(self, digest: bytes, codec: int) -> None:
        """Take an object out, if it is there."""
        bucket, key = self._buckets[digest[0]], _key(digest, codec)
        place = self._place(bucket, key)
        if bucket[place : place + _KEY] == key:
            del bucket[place : place + _WIDTH]

    def total(self) -> tuple[int, int]:
        """Stored bytes and number of all objects."""
        sizes = (value & _SIZE for bucket in self._buckets for _, value in _RECORD.iter_unpack(bucket))
        return sum(sizes), len(self)

    def missing_from(self, other: "ObjectIndex") -> Iterator[tuple[bytes, int, int]]:
        """Ids (their first 16 bytes), codecs and sizes that are here and not in `other`."""
        for bucket in self._buckets:
            for place in range(0, len(bucket), _WIDTH):
                start, value = _RECORD.unpack_from(bucket, place)
                codec = value >> _SIZE_BITS
                if other.get(start, codec) is None:
                    yield start, codec, value & _SIZE

    @staticmethod
    def _place(bucket: bytearray, wanted: bytes) -> int:
        """Where the key is, or where it would have to be inserted."""
        low, high = 0, len(bucket) // _WIDTH
        while low < high:
            middle = (low + high) // 2
            start = middle * _WIDTH
            if bucket[start : start + _KEY] < wanted:
                low = middle + 1
            else:
                high = middle
        return low * _WIDTH


def _key(digest: bytes, codec: int) -> bytes:
    return digest[:_KEPT] + bytes((codec,))
