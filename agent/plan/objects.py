"""A set of object ids with stored sizes that stays small: 24 bytes an object, so that millions fit.

In: ids as 32 bytes, of which the first 16 are kept (no two of a repository's contents share those by chance). Out:
sizes. Ids that come in order, as a listing gives them, are appended; others are inserted where they belong.
"""

import struct
from collections.abc import Iterator

_KEPT = 16
_RECORD = struct.Struct(">16sQ")
_WIDTH = _RECORD.size


class ObjectIndex:
    """Object id → stored size in bytes. Not safe for several threads at once."""

    def __init__(self) -> None:
        # By the first byte: each list stays short, and an insertion moves little.
        self._buckets: list[bytearray] = [bytearray() for _ in range(256)]

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets) // _WIDTH

    def __contains__(self, digest: bytes) -> bool:
        return self.get(digest) is not None

    def get(self, digest: bytes) -> int | None:
        """The stored size of an object, None if it is not in the set."""
        bucket = self._buckets[digest[0]]
        place = self._place(bucket, digest)
        if bucket[place : place + _KEPT] != digest[:_KEPT]:
            return None
        return int(_RECORD.unpack_from(bucket, place)[1])

    def add(self, digest: bytes, size: int) -> None:
        """Add an object, or change its size."""
        bucket = self._buckets[digest[0]]
        record = _RECORD.pack(digest[:_KEPT], size)
        if not bucket or bucket[-_WIDTH:-8] < digest[:_KEPT]:
            bucket += record
            return
        place = self._place(bucket, digest)
        present = bucket[place : place + _KEPT] == digest[:_KEPT]
        bucket[place : place + (_WIDTH if present else 0)] = record

    def discard(self, digest: bytes) -> None:
        """Take an object out, if it is there."""
        bucket = self._buckets[digest[0]]
        place = self._place(bucket, digest)
        if bucket[place : place + _KEPT] == digest[:_KEPT]:
            del bucket[place : place + _WIDTH]

    def missing_from(self, other: "ObjectIndex") -> Iterator[tuple[bytes, int]]:
        """Ids (their first 16 bytes) and sizes that are here and not in `other`."""
        for bucket in self._buckets:
            for place in range(0, len(bucket), _WIDTH):
                start, size = _RECORD.unpack_from(bucket, place)
                if start not in other:
                    yield start, size

    @staticmethod
    def _place(bucket: bytearray, digest: bytes) -> int:
        """Where the id is, or where it would have to be inserted."""
        wanted = digest[:_KEPT]
        low, high = 0, len(bucket) // _WIDTH
        while low < high:
            middle = (low + high) // 2
            start = middle * _WIDTH
            if bucket[start : start + _KEPT] < wanted:
                low = middle + 1
            else:
                high = middle
        return low * _WIDTH
