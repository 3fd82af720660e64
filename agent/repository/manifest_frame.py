"""A table's frame of a manifest: in, its parts one by one; out, zstd-compressed JSON lines, and back.

    line 1    {"keyspace", "table", "table_id"}
    line 2…   one `TablePart` each

Written and read part by part, so that a table of any size needs little memory. Equal parts in equal order give equal
bytes: an unchanged table's frame is the same object. Frames come from a destination: everything is checked.
"""

from collections.abc import Iterator

import msgspec
import zstandard

from agent.model.manifest import TablePart, TableReference
from agent.repository.errors import ManifestInvalid, of_table
from agent.repository.manifest_check import check_part

INLINE_LIMIT = 64 * 1024
"""Bytes from which on a frame becomes an object of its own."""
_LEVEL = 3
_WINDOW = 1 << 23
_CHUNK = 256 * 1024
_encoder = msgspec.json.Encoder()
_part = msgspec.json.Decoder(TablePart)


class FrameHeader(msgspec.Struct, frozen=True):
    """The first line of a frame."""

    keyspace: str
    table: str
    table_id: str


_header = msgspec.json.Decoder(FrameHeader)


class FrameWriter:
    """Compresses a table's parts as they come, those of a small table at once: a node has hundreds of these, and what
    zstd keeps for content of unknown length is a megabyte for each."""

    def __init__(self, header: FrameHeader) -> None:
        self._compressor: zstandard.ZstdCompressionObj | None = None
        self._written: list[bytes] = []
        self._lines: list[bytes] = []
        self._waiting = 0
        self._line(_encoder.encode(header))

    def add(self, part: TablePart) -> None:
        """Append a part."""
        self._line(_encoder.encode(part))

    def close(self) -> bytes:
        """The whole frame."""
        if self._compressor is None:
            return _compressor().compress(self._taken())
        self._written += [self._compressor.compress(self._taken()), self._compressor.flush()]
        return b"".join(self._written)

    def _line(self, line: bytes) -> None:
        self._lines.append(line)
        self._waiting += len(line) + 1
        if self._waiting >= _CHUNK:
            if self._compressor is None:
                self._compressor = _compressor().compressobj()
            self._written.append(self._compressor.compress(self._taken()))

    def _taken(self) -> bytes:
        """The lines that wait, which don't any more."""
        lines, self._lines, self._waiting = self._lines, [], 0
        return b"".join(b"%b\n" % line for line in lines)


def _compressor() -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)


def read_parts(
    frame: bytes | memoryview, reference: TableReference, volumes: int, *, on_server: bool = False
) -> Iterator[TablePart]:
    """The parts of a table's frame, each one checked, against the reference and as a whole.

    `volumes`: how many data directories the head has. Raises ManifestInvalid, before much is unpacked.
    """
    lines = _lines(frame, _most(reference), reference)
    try:
        header = _header.decode(next(lines, b""))
        if (header.keyspace, header.table, header.table_id) != (
            reference.keyspace,
            reference.table,
            reference.table_id,
        ):
            raise _invalid(reference, "it is another table's")
        names = {(entry.volume, entry.name) for entry in reference.own}
        files, size = len(reference.own), sum(entry.size for entry in reference.own)
        for line in lines:
            part = _part.decode(line)
            try:
                check_part(part, volumes, names, on_server=on_server)
            except ManifestInvalid as error:
                raise of_table(error, reference.keyspace, reference.table) from error
            files += len(part.files)
            size += sum(entry.size for entry in part.files)
            yield part
    except msgspec.DecodeError as error:
        raise _invalid(reference, f"a line of it can't be read ({error})") from error
    if files != reference.files or size != reference.bytes:
        raise _invalid(reference, "it has other files than the head says")


def _lines(frame: bytes | memoryview, most: int, reference: TableReference) -> Iterator[bytes]:
    """The frame's lines; at most `most` bytes are unpacked."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    unpacked = 0
    rest = b""
    try:
        with unpacker.stream_reader(frame, read_across_frames=False) as reader:
            while chunk := reader.read(_CHUNK):
                unpacked += len(chunk)
                if unpacked > most:
                    raise _invalid(reference, "it unpacks to far more than its files need")
                *whole, rest = (rest + chunk).split(b"\n")
                yield from whole
    except zstandard.ZstdError as error:
        raise _invalid(reference, f"it can't be unpacked ({error})") from error
    if rest:
        raise _invalid(reference, "it is cut")


def _most(reference: TableReference) -> int:
    """More bytes than any honest frame of so many files and bytes unpacks to (a piece is 1 MiB at least)."""
    return 64 * 1024 + 2048 * max(0, reference.files) + 128 * (max(0, reference.bytes) // (1024 * 1024) + 1)


def _invalid(reference: TableReference, reason: str) -> ManifestInvalid:
    return ManifestInvalid(
        f"the frame of {reference.keyspace}.{reference.table} is invalid: {reason}",
        keyspace=reference.keyspace,
        table=reference.table,
    )
