"""Writes past the page cache."""

import errno
import fcntl
import mmap
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.storage.direct import DirectWriter, open_direct
from agent.storage.threads import Stop, Stopped

CHECKOUT = Path(__file__).parents[3]
MIB = 1024 * 1024
SIZES = (0, 1, 4095, 4096, 4097, MIB - 1, MIB, MIB + 4096, 3 * MIB + 5)


class Writes:
    """What the code under test really asked of the kernel: bytes by way, as the descriptor's own flags tell it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.direct = 0
        self.buffered = 0
        self._pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", self.pwrite)

    def pwrite(self, descriptor: int, content: memoryview, at: int) -> int:
        done = self._pwrite(descriptor, content, at)
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            self.direct += done
        else:
            self.buffered += done
        return done


def _takes_direct_writes(directory: Path) -> bool:
    """Whether the file system does, found out without the code under test."""
    try:
        descriptor = os.open(directory / "probe", os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o600)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    try:
        with mmap.mmap(-1, 4096) as block:
            return os.pwrite(descriptor, block, 0) == 4096
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    finally:
        os.close(descriptor)


def _written(directory: Path, body: list[bytes], start: int = 0, *, directly: bool = True) -> bytes:
    """The file's content after one write."""
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    descriptor = os.open("file", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=parent)
    further = open_direct("file", parent) if directly else None
    try:
        DirectWriter().write(descriptor, further, start, body, Stop())
    finally:
        for one in (parent, descriptor, further):
            if one is not None:
                os.close(one)
    return (directory / "file").read_bytes()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(SIZES), max_size=4), st.booleans())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, sizes: list[int], directly: bool) -> None:
    """Promise: buffers of any length come out one after the other, whole blocks or not."""
    body = [os.urandom(size) for size in sizes]
    assert _written(tmp_path_factory.mktemp("direct"), body, directly=directly) == b"".join(body)


@pytest.mark.parametrize("start", [0, 4096, 8 * MIB, 5, 4097])
def test_a_write_may_begin_anywhere(tmp_path: Path, start: int) -> None:
    """Promise: a run has its place in the file; where the kernel refuses direct writes, off a block's border, its bytes
    get there all the same."""
    body = os.urandom(2 * MIB + 77)
    assert _written(tmp_path, [body], start) == bytes(start) + body


def test_whole_blocks_go_past_the_page_cache_where_the_file_system_lets_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: on a disk all but the tail, and nothing at all off a block's border; where the kernel has no direct
    writes (a tmpfs before Linux 6.6), all of it through the page cache. One of the places here is a disk."""
    body = os.urandom(2 * MIB + 77)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory, tempfile.TemporaryDirectory(dir=CHECKOUT) as disk:
        able = {place: _takes_direct_writes(place) for place in (tmp_path, Path(memory), Path(disk))}
        assert any(able.values())
        for place, direct in able.items():
            writes = Writes(monkeypatch)
            assert _written(place, [body]) == body
            assert (writes.direct, writes.buffered) == ((2 * MIB, 77) if direct else (0, len(body))), place
            writes = Writes(monkeypatch)
            assert _written(place, [body], 5) == bytes(5) + body
            assert (writes.direct, writes.buffered) == (0, len(body)), place


def test_a_file_system_without_direct_writes_gets_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: one that opens a file so and refuses the write, as one that refuses to open it, is as good."""
    body = os.urandom(2 * MIB + 77)
    pwrite, opened = os.pwrite, os.open

    def refuses_writes(descriptor: int, content: memoryview, at: int) -> int:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return pwrite(descriptor, content, at)

    def refuses_to_open(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return opened(path, flags, mode, dir_fd=dir_fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", refuses_writes)
        assert _written(tmp_path, [body]) == body
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuses_to_open)
        assert _written(tmp_path, [body]) == body


def test_a_write_can_be_stopped(tmp_path: Path) -> None:
    """Promise: a cancelled job does not write its whole piece to the end."""
    stop = Stop()
    stop.set()
    descriptor = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        with pytest.raises(Stopped):
            DirectWriter().write(descriptor, None, 0, [bytes(2 * MIB)], stop)
    finally:
        os.close(descriptor)
