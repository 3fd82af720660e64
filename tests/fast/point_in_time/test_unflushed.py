"""Whether a commit log may hold the only copy of a write, told from its files."""

from pathlib import Path

from agent.jobs.point_in_time.unflushed import ended_clean, holds_writes
from tests.cluster.log_segments import name_of, segment


def test_a_log_as_a_drain_leaves_it_holds_no_write(tmp_path: Path) -> None:
    """Promise: a segment that was only allocated, one with a section without a mutation, and other files, hold none."""
    assert not holds_writes(tmp_path)
    (tmp_path / name_of(11)).write_bytes(segment(11, [], size=4096))
    (tmp_path / name_of(12)).write_bytes(segment(12, [[]], size=4096))
    (tmp_path / "CommitLog-7-12_cdc.idx").write_bytes(b"0\nCOMPLETED")
    (tmp_path / ".helenus").mkdir()
    assert not holds_writes(tmp_path)


def test_a_single_write_anywhere_counts(tmp_path: Path) -> None:
    """Promise: one in a whole section, and one behind the last of them that Cassandra acknowledged and never synced."""
    (tmp_path / name_of(11)).write_bytes(segment(11, [[]], size=4096))
    (tmp_path / name_of(12)).write_bytes(segment(12, [[b"a mutation of some table"]], size=4096))
    assert holds_writes(tmp_path)
    (tmp_path / name_of(12)).write_bytes(segment(12, [], size=4096, unsynced=b"a mutation of some table"))
    assert holds_writes(tmp_path)


def test_what_cannot_be_read_counts_as_a_write(tmp_path: Path) -> None:
    """Promise: when in doubt, Cassandra itself replays it first."""
    (tmp_path / name_of(11)).write_bytes(b"no header")
    assert holds_writes(tmp_path)


def test_a_log_without_any_segment_was_not_left_by_cassandra(tmp_path: Path) -> None:
    """Promise: only a segment without a write says that Cassandra ended cleanly; an emptied directory says nothing."""
    assert not ended_clean(tmp_path)
    (tmp_path / name_of(5)).write_bytes(segment(5, [[]]))
    assert ended_clean(tmp_path)
    (tmp_path / name_of(6)).write_bytes(segment(6))
    assert not ended_clean(tmp_path)
