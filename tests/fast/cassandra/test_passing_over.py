"""The beginning of a segment that a replay passes over. That Cassandra does: tests/real/point_in_time."""

import os
from pathlib import Path

import pytest

from agent.cassandra.commit_log import archive_command
from agent.cassandra.commit_log.passing_over import NOBODYS_TABLE, flushed, pass_over
from agent.cassandra.commit_log.sections import segment_state
from agent.cassandra.staging import StagingRoot, make_root
from tests.cluster.log_segments import header, name_of, segment
from tests.fast.cassandra.test_archive_command import NUMBER, Place

EARLY, LATER = b"a mutation that a snapshot has", b"a later mutation"
SECTIONS = ((EARLY, EARLY), (EARLY,), (LATER,))


@pytest.fixture
def root(tmp_path: Path) -> StagingRoot:
    made = StagingRoot(str(tmp_path), str(tmp_path), ("staging",))
    make_root(made)
    return made


def written(directory: Path, number: int, content: bytes) -> Path:
    path = directory / name_of(number)
    path.write_bytes(content)
    return path


def test_what_is_whole_before_a_snapshot_is_told_by_its_markers(tmp_path: Path) -> None:
    """Promise: of every segment above the floor, up to the last marker, not to what lies behind it; a closed one, one
    without a section, a compressed one and one that is none are not in it."""
    written(tmp_path, 10, segment(10, SECTIONS))
    written(tmp_path, 11, segment(11, SECTIONS[:2], unsynced=b"behind the last marker"))
    written(tmp_path, 12, segment(12, ()))
    written(tmp_path, 13, header(13, parameters={"compressionClass": "LZ4Compressor"}) + bytes(100))
    written(tmp_path, 14, b"no segment")
    (tmp_path / "other").touch()
    state = segment_state(tmp_path / name_of(11))
    assert flushed(tmp_path, name_of(10)) == {name_of(11): state.synced}


def test_what_is_passed_over_is_one_write_to_nobodys_table(tmp_path: Path, root: StagingRoot) -> None:
    """Promise: later sections stay byte for byte where they are, the whole is without damage, and of the early writes
    none can be read any more. Another link to the file stays as it was, and the same again changes nothing."""
    before = segment(11, SECTIONS)
    path = written(root.path, 11, before)
    os.link(path, tmp_path / "its own")
    until = flushed_until(root.path, 2)
    pass_over(root, path, until)
    state = segment_state(path)
    assert (state.damage, state.sections, state.mutations) == ("", 2, 2)
    after = path.read_bytes()
    assert after[until:] == before[until:]
    assert after.count(NOBODYS_TABLE.bytes) == 1
    assert (tmp_path / "its own").read_bytes() == before
    assert {one.name for one in root.path.iterdir()} == {path.name, "owner"}
    pass_over(root, path, until)
    assert path.read_bytes() == after


def test_only_whole_sections_are_passed_over(root: StagingRoot) -> None:
    """Promise: a copy of a part, which ends earlier, is passed over as far as it goes; nothing before the first
    section's end, or of a compressed segment, is touched."""
    for number, until, mutations in ((11, flushed_until(root.path, 2) - 1, 3), (12, 100, 4), (13, 10_000, 1)):
        path = written(root.path, number, segment(number, SECTIONS))
        before = path.read_bytes()
        pass_over(root, path, until)
        assert segment_state(path).mutations == mutations
        assert (path.read_bytes() == before) == (number == 12)
    packed = header(14, parameters={"compressionClass": "LZ4Compressor"}) + bytes(100)
    path = written(root.path, 14, packed)
    pass_over(root, path, 90)
    assert path.read_bytes() == packed


def flushed_until(directory: Path, sections: int) -> int:
    """Where that many sections end."""
    path = written(directory, 99, segment(99, SECTIONS[:sections]))
    try:
        return segment_state(path).synced
    finally:
        path.unlink()


def test_a_scratch_file_that_a_kill_left_is_in_nobodys_way(root: StagingRoot) -> None:
    """Promise: killed before the rename the segment is as it was, and the same again ends it."""
    path = written(root.path, 11, segment(11, SECTIONS))
    (root.path / ".passing_over.tmp").write_bytes(b"half of it")
    pass_over(root, path, flushed_until(root.path, 2))
    assert segment_state(path).mutations == 2
    assert not (root.path / ".passing_over.tmp").exists()


def test_a_segment_that_only_holds_the_words_is_archived(tmp_path: Path) -> None:
    """Promise: what is passed by is known by its place and its bytes, not by what somebody wrote."""
    place = Place(tmp_path)
    place.segment.write_bytes(segment(NUMBER, ((b"\x01" + bytes(16) + b"Helenus" + NOBODYS_TABLE.bytes,),)))
    assert place.run().returncode == 0
    assert place.target.exists()


@pytest.mark.parametrize("still_there", [True, False], ids=["in the archive", "shipped"])
def test_what_was_lent_so_is_not_archived(tmp_path: Path, root: StagingRoot, *, still_there: bool) -> None:
    """Promise: Cassandra, ended amid the replay and started again, offers what it was lent as its own segment: the
    archive command passes by it, and neither takes it into the archive nor calls the true one there false."""
    place = Place(tmp_path)
    true = segment(NUMBER, SECTIONS)
    lent = written(root.path, NUMBER, true)
    pass_over(root, lent, flushed_until(root.path, 2))
    place.segment.write_bytes(lent.read_bytes())
    if still_there:
        place.target.write_bytes(true)
    assert place.run().returncode == 0
    assert place.target.exists() is still_there
    assert not still_there or place.target.read_bytes() == true
    assert archive_command.failures(place.program) == archive_command.offers(place.program) == []
