"""Writes past the page cache."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.storage.direct import DirectWriter, open_direct
from agent.storage.threads import Stop, Stopped

MIB = 1024 * 1024
SIZES = (0, 1, 4095, 4096, 4097, MIB - 1, MIB, MIB + 4096, 3 * MIB + 5)


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


def test_a_file_system_in_memory_gets_its_bytes() -> None:
    """Promise: where the kernel has no direct writes (a tmpfs before Linux 6.6), files are as good."""
    body = os.urandom(2 * MIB + 77)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        assert _written(Path(place), [body]) == body


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
