"""An object's bytes from the snapshot's files: in, a layout; out, its id, digests of its runs, and how it is stored.

Everything here blocks and is called in worker threads; reading, BLAKE3 and CRC-32 release the GIL.
"""

import errno
import mmap
import os
import stat
import time
from collections.abc import Sequence
from typing import NamedTuple

from zlib_ng import zlib_ng

from agent.crypto.digest import crc32_combined, digest
from agent.model.snapshot import FileStat
from agent.pipeline.compression import Compression
from agent.pipeline.errors import FileUnreadable, SnapshotVanished
from agent.plan.layout import ObjectLayout, component_of
from agent.plan.toc import as_listed, may_grow
from agent.repository.form import Form, Packed, Stored
from agent.repository.frame import Codec, ObjectType
from agent.storage.protocol import Buffer, Summed

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_POOLED = 1024 * 1024
_LARGE_READ = 4 * 1024 * 1024
_CRC_TEXT = 32
_LARGEST_TOC = 256 * 1024
_TOC_LOOKS = 20
_TOC_PAUSE_SECONDS = 0.05


class Loaded(NamedTuple):
    """An object ready to be put. `stored`: as each of the forms asked for has it; `runs`: the digest of each run;
    `crcs`: the CRC-32 of those asked for (file → CRC)."""

    id: bytes
    stored: tuple[Stored, ...]
    runs: tuple[bytes, ...]
    crcs: dict[int, int]
    text: bytes | None


class Buffers:
    """Reusable buffers: fresh megabytes cost the kernel as much as hashing them. For one event loop."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free: list[mmap.mmap] = []

    def take(self, length: int) -> bytearray | mmap.mmap:
        """A buffer of at least `length` bytes."""
        if not _POOLED < length <= self._size:
            return bytearray(length)
        # Its pages are made when a reader's thread fills them, not here.
        return self._free.pop() if self._free else mmap.mmap(-1, self._size)

    def give(self, buffer: bytearray | mmap.mmap) -> None:
        """Nobody looks at the buffer any more."""
        if isinstance(buffer, mmap.mmap):
            self._free.append(buffer)


def load(
    files: Sequence[FileStat],
    layout: ObjectLayout,
    buffer: bytearray | mmap.mmap,
    forms: Sequence[Form],
    compression: Compression,
    data: int | None = None,
    crc: int | None = None,
) -> Loaded:
    """Read the layout's runs into `buffer`, digest them, and make of them what is stored.

    `data`: the file whose CRC-32 is wanted; `crc`: the file whose text is wanted (a Digest.crc32, whole in one run).
    Raises SnapshotVanished, FileUnreadable.
    """
    plain = memoryview(buffer)[: layout.length]
    digests = []
    crcs = {}
    text = None
    offset = 0
    for run in layout.runs:
        part = plain[offset : offset + run.length]
        read_run(files[run.file], run.start, part, files)
        digests.append(digest(part))
        if run.file == data:
            crcs[run.file] = zlib_ng.crc32(part)
        elif run.file == crc:
            text = bytes(part[:_CRC_TEXT])
        offset += run.length
    object_id = digests[0] if len(digests) == 1 else digest(plain)
    compressed = compression.compressed(plain)
    packed = Packed(Codec.RAW, plain) if compressed is None else Packed(Codec.ZSTD, compressed)
    stored = tuple(form.encode(packed, layout.length, object_id, ObjectType.DATA) for form in forms)
    if compressed is None and data is not None and data in crcs and len(layout.runs) == 1:
        known = crcs[data], layout.length
        stored = tuple(
            one if form.is_sealed else one._replace(buffers=_summed(one.buffers, *known))
            for form, one in zip(forms, stored, strict=True)
        )
    return Loaded(object_id, stored, tuple(digests), crcs, text)


def _summed(frame: list[Buffer], payload: int, length: int) -> Summed:
    """The frame with its CRC-32, from that of the `length` bytes in its middle."""
    header, _, trailer = frame
    crc = crc32_combined(zlib_ng.crc32(header), payload, length)
    return Summed(frame, crc32_combined(crc, zlib_ng.crc32(trailer), memoryview(trailer).nbytes))


def read_text(file: FileStat) -> bytes:
    """The first bytes of a small file."""
    buffer = bytearray(min(file.size, _CRC_TEXT))
    read_run(file, 0, memoryview(buffer))
    return bytes(buffer)


def read_run(file: FileStat, start: int, into: memoryview, beside: Sequence[FileStat] = ()) -> None:
    """Fill `into` from `start` of the file, which must be the very one that the inventory saw. `beside`: the files of
    its SSTable, for a TOC.txt that has grown since."""
    try:
        descriptor = os.open(file.path, _OPEN)
    except OSError as error:
        raise _told(file, error) from error
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_ino != file.inode:
            raise _another(file)
        if about.st_size != file.size and may_grow(file.name):
            into[:] = _grown(descriptor, file, beside)[start : start + into.nbytes]
            return
        if about.st_size != file.size:
            raise _another(file)
        if into.nbytes >= _LARGE_READ:
            os.posix_fadvise(descriptor, start, into.nbytes, os.POSIX_FADV_SEQUENTIAL)
        filled = 0
        while filled < into.nbytes:
            count = os.preadv(descriptor, [into[filled:]], start + filled)
            if not count:
                raise SnapshotVanished(f"the file {file.path} became shorter while it was read", path=file.path)
            filled += count
    except OSError as error:
        raise _told(file, error) from error
    finally:
        os.close(descriptor)


def _grown(descriptor: int, file: FileStat, beside: Sequence[FileStat]) -> bytes:
    """What a TOC.txt that has grown held when it was listed. Cassandra writes it anew in place: for a moment it holds
    less."""
    components = {component_of(one.name) for one in beside}
    for left in range(_TOC_LOOKS, 0, -1):
        content = os.pread(descriptor, _LARGEST_TOC, 0)
        held = as_listed(content, components, file.size)
        if held is not None and file.size < len(content) < _LARGEST_TOC:
            return held
        if left > 1:
            time.sleep(_TOC_PAUSE_SECONDS)
    raise _another(file)


def _another(file: FileStat) -> SnapshotVanished:
    return SnapshotVanished(f"the file {file.path} is not the one that the inventory saw", path=file.path)


def _told(file: FileStat, error: OSError) -> SnapshotVanished | FileUnreadable:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
        return SnapshotVanished(f"the snapshot's file {file.path} is gone", path=file.path)
    return FileUnreadable(f"can't read {file.path}: {error.strerror}", path=file.path, errno=error.errno)
