"""The files of a snapshot that is only taken to be copied: in, its tables; out, `on-server/<tag>/listing`, and back.

zstd-compressed msgpack with a checksum. Nobody restores from it: it holds what a look at the directories shows and no
more, so that noting it costs little beside that look.
"""

import os
from collections.abc import Sequence

import msgspec
import zstandard

from agent.model.snapshot import SnapshotInfo, SnapshotTable
from agent.repository.errors import ManifestInvalid

_LEVEL = 1


class ListedFile(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A file: its name relative to its table's directory, as the file system has it; bytes; nanoseconds."""

    raw_name: bytes
    size: int
    mtime_ns: int

    @property
    def name(self) -> str:
        """The name as `FileStat` has it."""
        return os.fsdecode(self.raw_name)


class ListedTable(msgspec.Struct, frozen=True, array_like=True):
    """A table's files."""

    keyspace: str
    table: str
    files: tuple[ListedFile, ...]


class SnapshotListing(msgspec.Struct, frozen=True, array_like=True):
    """What the snapshot of that backup id, taken at `taken_at` (unix seconds), held."""

    backup_id: str
    taken_at: float
    tables: tuple[ListedTable, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SnapshotListing)


def packed_listing(info: SnapshotInfo, tables: Sequence[SnapshotTable]) -> bytes:
    """The listing as it is stored."""
    listing = SnapshotListing(
        info.backup_id,
        info.taken_at,
        tuple(
            ListedTable(
                table.keyspace,
                table.table,
                tuple(ListedFile(os.fsencode(file.name), file.size, file.mtime_ns) for file in table.files),
            )
            for table in tables
        ),
    )
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(_encoder.encode(listing))


def unpacked_listing(content: bytes, tag: str) -> SnapshotListing:
    """The listing again. Raises ManifestInvalid when it isn't what was stored."""
    # Not in one go, which takes as much memory at once as a damaged frame says.
    unpacker = zstandard.ZstdDecompressor().decompressobj()
    try:
        packed = unpacker.decompress(content)
        if not unpacker.eof:
            raise zstandard.ZstdError("it is cut")
        return _decoder.decode(packed)
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise ManifestInvalid(f"what was noted of the files of the snapshot {tag} can't be read: {error}") from error
