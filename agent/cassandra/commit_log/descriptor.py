"""The header of a commit-log segment. In: the first bytes of a file. Out: what they say, or `SegmentUnreadable`.

As Cassandra 4.0, 4.1 and 5.0 write it: version (int), id (long), length of the parameters (short), the parameters as
JSON (`compressionClass`, `encCipher` …; `{}` for a plain segment), CRC-32 of version, low and high half of the id,
length as an int, and the parameters. All numbers are big-endian.
"""

import struct
import zlib
from pathlib import Path

import msgspec

from agent.cassandra.commit_log.errors import SegmentUnreadable
from agent.plan.segment_names import OLDEST_VERSION, parse_segment

_FIXED = struct.Struct(">iqH")
_CRC = struct.Struct(">I")
LONGEST = _FIXED.size + 65_535 + _CRC.size
"""Bytes of the longest header there can be."""
_COMPRESSION, _CIPHER = "compressionClass", "encCipher"


class Descriptor(msgspec.Struct, frozen=True):
    """What a header says. `compression`: Java class, "" for none. `length`: bytes of the header."""

    version: int
    id: int
    compression: str
    encrypted: bool
    length: int

    @property
    def plain(self) -> bool:
        """Neither compressed nor encrypted: the mutations stand in the file as they are."""
        return not self.compression and not self.encrypted


def read_descriptor(head: bytes, path: str = "") -> Descriptor:
    """The header that `head` begins with (give it `LONGEST` bytes, or the whole file). `path`: for the error."""
    if len(head) < _FIXED.size:
        raise unreadable(path, "it is shorter than a header")
    version, number, length = _FIXED.unpack_from(head)
    if not 0 <= number < 10**18 or not OLDEST_VERSION <= version <= 9_999:
        raise unreadable(path, "it doesn't begin with a header of Cassandra 4.0 or later")
    end = _FIXED.size + length
    if len(head) < end + _CRC.size:
        raise unreadable(path, "it is cut within its header")
    parameters = head[_FIXED.size : end]
    checked = struct.pack(">iIII", version, number & 0xFFFFFFFF, number >> 32, length)
    if zlib.crc32(parameters, zlib.crc32(checked)) != _CRC.unpack_from(head, end)[0]:
        raise unreadable(path, "its header's CRC is wrong")
    try:
        told = msgspec.json.decode(parameters, type=dict[str, object]) if parameters else {}
    except msgspec.DecodeError as error:
        raise unreadable(path, "its header's parameters are no JSON") from error
    return Descriptor(version, number, str(told.get(_COMPRESSION) or ""), _CIPHER in told, end + _CRC.size)


def descriptor_of(path: Path) -> Descriptor:
    """The header of a file. Raises `SegmentUnreadable` also when its name is that of another segment (Cassandra refuses
    to start over such a one in a restore directory)."""
    try:
        with path.open("rb") as file:
            found = read_descriptor(file.read(LONGEST), str(path))
    except OSError as error:
        raise unreadable(str(path), error.strerror or str(error)) from error
    named = parse_segment(path.name)
    if named is None or (named.version, named.id) != (found.version, found.id):
        raise unreadable(str(path), f"its header is that of CommitLog-{found.version}-{found.id}.log")
    return found


def unreadable(path: str, reason: str) -> SegmentUnreadable:
    """The error for a file that is none, or not whole; `reason` is a clause."""
    return SegmentUnreadable(f"{path or 'a file'} is no whole commit-log segment: {reason}", path=path, reason=reason)
