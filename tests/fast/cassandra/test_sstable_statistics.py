"""What an SSTable's Statistics.db says of its writes, in every version that can be met."""

import struct
import zlib

import pytest

from agent.cassandra.errors import SstableDamaged
from agent.cassandra.sstable_statistics import SstableStatistics, statistics_of

OLDEST, NEWEST = 1_700_000_000_000_001, 1_700_000_000_000_009
NB = "nb-1-big-Statistics.db"


def stats(oldest: int = OLDEST, newest: int = NEWEST) -> bytes:
    """The part STATS: two histograms, the commit log's position, the times, and more that isn't read."""
    histogram = struct.pack(">i", 3) + struct.pack(">qq", 1, 2) * 3
    return histogram + struct.pack(">i", 0) + struct.pack(">qiqq", 1_795_904_262_200, 77, oldest, newest) + b"and more"


def statistics(part: bytes, *, checked: bool, kinds: tuple[int, ...] = (0, 1, 2, 3)) -> bytes:
    """The file with that part as STATS and some bytes in the others."""

    def crc(content: bytes) -> bytes:
        return struct.pack(">I", zlib.crc32(content)) if checked else b""

    parts = [part if kind == 2 else b"other part" for kind in kinds]
    count = struct.pack(">i", len(kinds))
    at = len(count) + 8 * len(kinds) + 2 * len(crc(b""))
    places = b""
    for kind, content in zip(kinds, parts, strict=True):
        places += struct.pack(">ii", kind, at)
        at += len(content) + len(crc(content))
    return count + crc(count) + places + crc(count + places) + b"".join(content + crc(content) for content in parts)


@pytest.mark.parametrize(
    ("name", "checked"),
    [
        ("mc-1-big-Statistics.db", False),
        ("me-12-big-Statistics.db", False),
        ("na-1-big-Statistics.db", True),
        (NB, True),
        ("oa-3h5r_1exz_1gq5m2pt5okj23mzwb-big-Statistics.db", True),
        ("da-3-bti-Statistics.db", True),
        (".by_v/nb-1-big-Statistics.db", True),
    ],
)
def test_every_version_is_read(name: str, *, checked: bool) -> None:
    """Promise: SSTables of an older version stay on a node after its upgrade, and count too."""
    told = SstableStatistics(OLDEST, NEWEST, 1_795_904_262_200, 77)
    assert statistics_of(name, statistics(stats(), checked=checked)) == told
    assert statistics_of(name, statistics(stats(), checked=checked, kinds=(2,))) == told


def test_without_any_write_there_is_no_time() -> None:
    """Promise: Cassandra's «no time yet» is not taken for the year 292278."""
    found = statistics_of(NB, statistics(stats(-(2**63), 2**63 - 1), checked=True))
    assert (found.oldest_write, found.newest_write) == (None, None)


def test_damage_is_told_and_never_read_as_a_time() -> None:
    """Promise: a cut file, one without the part, a flipped byte: each an error with the name."""
    whole = statistics(stats(), checked=True)
    for content in (
        b"",
        whole[:6],
        whole[:70],
        statistics(stats(), checked=True, kinds=(0, 1, 3)),
        statistics(struct.pack(">i", -5) + bytes(64), checked=True),
        statistics(struct.pack(">i", 1_000) + bytes(64), checked=True),
        struct.pack(">i", 500) + whole[4:],
        whole.replace(b"and more", b"and mure"),
    ):
        with pytest.raises(SstableDamaged) as told:
            statistics_of(NB, content)
        assert told.value.fields["name"] == NB
    with pytest.raises(SstableDamaged, match=r"no Statistics.db"):
        statistics_of("nb-1-big-Data.db", whole)
