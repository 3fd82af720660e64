"""What is noted of a snapshot's files, and read again."""

import os

import pytest

from agent.model.snapshot import FileStat, SnapshotInfo, SnapshotTable
from agent.repository.errors import ManifestInvalid
from agent.repository.snapshot_listing import ListedFile, ListedTable, SnapshotListing, packed_listing, unpacked_listing
from tests.fast.repository.manifests import head

INFO = SnapshotInfo("t1", "adhoc", False, 1.5, head().node, (), {"ks": ["t"]}, ("/data",))


def _file(name: str, size: int = 5, mtime_ns: int = 1) -> FileStat:
    return FileStat(name, "/d", 0, size, 77, mtime_ns, "fs")


def _table(*files: FileStat, table: str = "t") -> SnapshotTable:
    return SnapshotTable("ks", table, "0" * 32, files)


def test_a_listing_comes_back_as_it_was() -> None:
    """Promise: each file by its table, name, size and time, a name that isn't UTF-8 and a table without files too."""
    odd = os.fsdecode(b"nb-1-\xff-Data.db")
    tables = [
        _table(
            FileStat("nb-1-big-Data.db", "/d", 0, 5, 77, 1_234_567_890_123, "fs"),
            FileStat(odd, "/d", 1, 0, 78, 0, "fs"),
        ),
        _table(table="empty"),
    ]
    listing = unpacked_listing(packed_listing(INFO, tables), "t1")
    files = ListedFile(b"nb-1-big-Data.db", 5, 1_234_567_890_123), ListedFile(b"nb-1-\xff-Data.db", 0, 0)
    assert listing == SnapshotListing("adhoc", 1.5, (ListedTable("ks", "t", files), ListedTable("ks", "empty", ())))
    assert [file.name for file in listing.tables[0].files] == ["nb-1-big-Data.db", odd]


def test_a_listing_of_which_a_bit_flipped_is_never_another() -> None:
    """Promise: whichever it is: no snapshot is compared with what a disk made of its listing."""
    names = [os.urandom(12).hex() for _ in range(20)]
    stored = packed_listing(INFO, [_table(*(_file(name) for name in names))])
    listing, told = unpacked_listing(stored, "t1"), 0
    for position in range(8 * len(stored)):
        flipped = bytearray(stored)
        flipped[position // 8] ^= 1 << position % 8
        try:
            assert unpacked_listing(bytes(flipped), "t1") == listing
        except ManifestInvalid as error:
            told += "snapshot t1" in error.message
    assert told > 7 * len(stored)


def test_a_listing_that_was_cut_is_none() -> None:
    """Promise: nothing is taken for noted that was only begun to be, and that is said."""
    stored = packed_listing(INFO, [_table(_file("nb-1-big-Data.db"))])
    for end in range(len(stored)):
        with pytest.raises(ManifestInvalid, match="snapshot t1 can't be read: it is cut"):
            unpacked_listing(stored[:end], "t1")
