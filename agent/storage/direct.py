"""Writes past the page cache. In: a file and buffers. Out: their bytes in the file; durable after the caller's fsync.

What is backed up or fetched is written once and not read soon: through the page cache it would push out the pages that
Cassandra reads, and take a copy into fresh memory besides, which costs more than all digests (docs/decisions/0004).
Direct writes want memory, place and length in whole blocks, so bytes go through a small aligned chunk; a tail that is
no whole block, and all of it on a file system without direct writes, goes through the page cache.
"""

import errno
import mmap
import os
from collections.abc import Iterator, Sequence

from agent.storage.protocol import Buffer
from agent.storage.threads import Stop

DIRECT_FROM = 1024 * 1024
"""Bytes from which a write is worth a chunk."""
_BLOCK = 4096
"""Bytes that every disk's logical block divides (open(2), O_DIRECT)."""
_CHUNK = 1024 * 1024


def open_direct(name: str, directory: int) -> int | None:
    """A further descriptor of an existing file, for direct writes, to be closed by the caller; None where there are
    none."""
    try:
        return os.open(name, os.O_WRONLY | os.O_DIRECT | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return None


class DirectWriter:
    """Writes for any number of threads; keeps as many chunks as ever wrote at the same time."""

    def __init__(self) -> None:
        self._free: list[mmap.mmap] = []

    def write(self, descriptor: int, direct: int | None, start: int, body: Sequence[Buffer], stop: Stop) -> None:
        """Write the buffers one after the other from byte `start` of the file that is open as `descriptor` and, for
        direct writes, as `direct`. Direct is what begins at a multiple of 4096 bytes, in whole blocks."""
        if start % _BLOCK:
            direct = None  # a disk with small blocks might take it, most refuse it: not worth the try
        chunk = self._free.pop() if self._free else mmap.mmap(-1, _CHUNK)
        try:
            with memoryview(chunk) as room:
                at = start
                for filled in _chunks(body, room):
                    stop.check()
                    whole = filled - filled % _BLOCK
                    done = _write_blocks(direct, room[:whole], at) if direct is not None else 0
                    if done < whole:
                        direct = None  # the file system wants larger blocks
                    _write_rest(descriptor, room[done:filled], at + done)
                    at += filled
        finally:
            self._free.append(chunk)


def _chunks(body: Sequence[Buffer], room: memoryview) -> Iterator[int]:
    """Fill `room` again and again; how many bytes are in it each time. Only the last is less than all of it."""
    filled = 0
    for part in body:
        view = memoryview(part).cast("B")
        at = 0
        while at < len(view):
            count = min(len(room) - filled, len(view) - at)
            room[filled : filled + count] = view[at : at + count]
            filled += count
            at += count
            if filled == len(room):
                yield filled
                filled = 0
    if filled:
        yield filled


def _write_blocks(direct: int, blocks: memoryview, at: int) -> int:
    """How many bytes were written directly; fewer than asked when the file system wants other blocks."""
    done = 0
    while done < len(blocks):
        try:
            done += os.pwrite(direct, blocks[done:], at + done)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            break
    return done


def _write_rest(descriptor: int, rest: memoryview, at: int) -> None:
    done = 0
    while done < len(rest):
        done += os.pwrite(descriptor, rest[done:], at + done)
