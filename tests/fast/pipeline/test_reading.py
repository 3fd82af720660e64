"""What is read of a snapshot's files on the way into an object."""

import os
import threading
import zlib
from pathlib import Path

import pytest

from agent.model.snapshot import FileStat
from agent.pipeline.compression import Compression
from agent.pipeline.errors import FileUnreadable, SnapshotVanished
from agent.pipeline.reading import Loaded, load, read_run
from agent.plan.layout import ObjectLayout, Run
from agent.repository.form import PLAIN
from agent.storage.protocol import Summed

PIECE = 300_000


def file(path: Path, content: bytes) -> FileStat:
    path.write_bytes(content)
    about = path.stat()
    return FileStat(path.name, str(path.parent), 0, about.st_size, about.st_ino, about.st_mtime_ns, "fs")


def loaded_of(files: list[FileStat], layout: ObjectLayout) -> Loaded:
    """The layout's bytes as a plain repository has them; the CRC-32 of the first file is asked for."""
    return load(files, layout, bytearray(layout.length), [PLAIN], Compression(), data=0)


@pytest.mark.parametrize(("start", "length"), [(0, PIECE), (PIECE, PIECE), (2 * PIECE, 5)])
def test_the_checksum_of_a_piece_of_data_comes_with_its_frame(start: int, length: int, tmp_path: Path) -> None:
    """Promise: a store that verifies a CRC-32 gets one of all it is sent, though only the file was summed."""
    content = os.urandom(2 * PIECE + 5)
    data = file(tmp_path / "nb-1-big-Data.db", content)
    loaded = loaded_of([data], ObjectLayout((Run(0, start, length),), length))
    assert loaded.crcs == {0: zlib.crc32(content[start : start + length])}
    (stored,) = loaded.stored
    assert isinstance(stored.buffers, Summed)
    assert stored.buffers.crc32 == zlib.crc32(b"".join(stored.buffers))


def test_what_was_not_summed_whole_promises_no_checksum(tmp_path: Path) -> None:
    """Promise: the sum of one file never passes for that of an object of several."""
    files = [file(tmp_path / "nb-1-big-Data.db", b"data"), file(tmp_path / "nb-1-big-Index.db", b"index")]
    packed = loaded_of(files, ObjectLayout((Run(0, 0, 4), Run(1, 0, 5)), 9))
    alone = loaded_of(files, ObjectLayout((Run(1, 0, 5),), 5))
    assert not isinstance(packed.stored[0].buffers, Summed)
    assert not isinstance(alone.stored[0].buffers, Summed)


def test_a_toc_that_is_being_written_anew_is_waited_for(tmp_path: Path) -> None:
    """Promise: an index that is made while a snapshot is copied costs the backup nothing, though Cassandra empties
    TOC.txt before it writes it."""
    listed = b"Data.db\nTOC.txt\n"
    toc = file(tmp_path / "nb-1-big-TOC.txt", listed)
    files = [file(tmp_path / "nb-1-big-Data.db", b"x"), toc]
    for emptied in (b"", b"Data.db\n"):
        Path(toc.path).write_bytes(emptied)
        later = threading.Timer(0.2, Path(toc.path).write_bytes, [b"Data.db\nSAI+aa+by_v+Meta.db\nTOC.txt\n"])
        later.start()
        read = bytearray(toc.size)
        read_run(toc, 0, memoryview(read), files)
        later.join()
        assert bytes(read) == listed


def test_a_toc_that_stays_short_is_another_file(tmp_path: Path) -> None:
    """Promise: the wait has an end, and what is left of a file never passes for it."""
    toc = file(tmp_path / "nb-1-big-TOC.txt", b"Data.db\nTOC.txt\n")
    Path(toc.path).write_bytes(b"Data.db\n")
    with pytest.raises(SnapshotVanished):
        read_run(toc, 0, memoryview(bytearray(toc.size)), [toc])


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    """Promise: a snapshot's file that the kernel refuses ends its table with its path; a link in its place is never
    followed."""
    data = file(tmp_path / "nb-1-big-Data.db", b"data")
    os.rename(data.path, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", data.path)
    with pytest.raises(FileUnreadable) as refused:
        read_run(data, 0, memoryview(bytearray(4)))
    assert (refused.value.code, refused.value.fields["path"]) == ("file_unreadable", data.path)
