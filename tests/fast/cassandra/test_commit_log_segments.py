"""What a commit-log segment says of itself, whole, live, cut and damaged."""

import struct
import zlib
from pathlib import Path

import pytest

from agent.cassandra.commit_log.descriptor import LONGEST, descriptor_of, read_descriptor
from agent.cassandra.commit_log.errors import SegmentUnreadable
from agent.cassandra.commit_log.sections import SegmentState, segment_state
from tests.cluster.log_segments import MUTATION, entry, header, marker, name_of, segment

NUMBER = 1_795_904_262_200


def state(directory: Path, content: bytes, name: str = name_of(NUMBER)) -> SegmentState:
    path = directory / name
    path.write_bytes(content)
    return segment_state(path)


def test_a_header_tells_version_id_and_what_the_segment_is_written_with() -> None:
    """Promise: compressed and encrypted segments are known as such: a live one of them is not copied."""
    plain = read_descriptor(header(NUMBER) + b"more")
    assert (plain.version, plain.id, plain.plain, plain.length) == (7, NUMBER, True, 20)
    compressed = read_descriptor(header(NUMBER, parameters={"compressionClass": "LZ4Compressor"}))
    assert compressed.compression == "LZ4Compressor"
    assert not compressed.plain
    encrypted = read_descriptor(header(NUMBER, parameters={"encCipher": "AES/CBC/PKCS5Padding", "encKeyAlias": "a"}))
    assert encrypted.encrypted
    assert not encrypted.plain


def test_a_header_that_cassandra_would_refuse_is_refused() -> None:
    """Promise: one junk file among the segments to restore would stop Cassandra's start: it is told before, with the
    reason."""
    whole = header(NUMBER)
    for content, reason in (
        (b"", "shorter than a header"),
        (whole[:10], "shorter than a header"),
        (whole[:17], "cut within its header"),
        (bytes(4096), "doesn't begin with a header"),
        (b"hello, I am a text file and no segment", "doesn't begin with a header"),
        (header(NUMBER, version=6), "doesn't begin with a header"),
        (whole[:14] + b"[]" + whole[16:], "CRC is wrong"),
        (whole[:8] + b"\xff" + whole[9:], "CRC is wrong"),
    ):
        with pytest.raises(SegmentUnreadable, match=reason) as told:
            read_descriptor(content, "/some/file")
        assert told.value.fields["path"] == "/some/file"
    assert len(whole) < LONGEST


def test_a_header_whose_parameters_are_no_json_is_refused() -> None:
    """Promise: an odd header is an error with a code, not a fault of the agent."""
    odd = bytearray(header(NUMBER))
    odd[14:16] = b"{["
    crc = zlib.crc32(struct.pack(">iIIi", 7, NUMBER & 0xFFFFFFFF, NUMBER >> 32, 2) + b"{[")
    odd[16:20] = struct.pack(">I", crc)
    with pytest.raises(SegmentUnreadable, match="no JSON"):
        read_descriptor(bytes(odd))


def test_a_segment_under_another_name_is_refused(tmp_path: Path) -> None:
    """Promise: Cassandra refuses to start over one, so it is found out before."""
    for name in (name_of(NUMBER + 1), "CommitLog-6-1795904262200.log", "notes.txt"):
        path = tmp_path / name
        path.write_bytes(segment(NUMBER))
        with pytest.raises(SegmentUnreadable, match=f"header is that of CommitLog-7-{NUMBER}.log"):
            descriptor_of(path)
    with pytest.raises(SegmentUnreadable, match="No such file"):
        segment_state(tmp_path / name_of(1))


def test_a_whole_segment_is_synced_to_its_last_mutation(tmp_path: Path) -> None:
    """Promise: every section and mutation is walked, and a copy of the synced bytes alone is as whole."""
    content = segment(NUMBER, [[MUTATION] * 3, [], [b"x" * 3_000]], size=8_192)
    whole = state(tmp_path, content)
    assert (whole.sections, whole.mutations, whole.damage) == (3, 4, "")
    assert whole.held_data
    assert whole.all_synced
    assert whole.synced == len(content.rstrip(b"\0"))
    cut = state(tmp_path, content[: whole.synced])
    assert (cut.sections, cut.mutations, cut.damage, cut.synced) == (3, 4, "", whole.synced)


def test_an_allocated_segment_and_the_last_one_of_a_life_hold_nothing(tmp_path: Path) -> None:
    """Promise: what Cassandra allocates ahead, and what it leaves when it is stopped, counts as no loss when it
    vanishes."""
    allocated = state(tmp_path, segment(NUMBER, []))
    assert (allocated.sections, allocated.synced, allocated.held_data) == (0, 20, False)
    stopped = state(tmp_path, segment(NUMBER, [[]]))
    assert (stopped.sections, stopped.synced, stopped.held_data) == (1, 28, False)


def test_what_no_marker_closes_yet_is_told_apart_from_what_is_synced(tmp_path: Path) -> None:
    """Promise: of a live segment it is known up to where it can be replayed, and that more was acknowledged."""
    live = state(tmp_path, segment(NUMBER, [[MUTATION]], unsynced=entry() + entry()))
    assert (live.sections, live.mutations, live.damage) == (1, 1, "")
    assert live.written == live.synced + 8 + 2 * len(entry())
    assert not live.all_synced
    assert live.held_data
    assert state(tmp_path, segment(NUMBER, [], unsynced=entry())).held_data


def test_every_cut_within_a_section_is_seen_and_the_sections_before_it_count(tmp_path: Path) -> None:
    """Promise: whichever byte a segment is cut at, nothing is taken for whole that isn't."""
    content = segment(NUMBER, [[MUTATION], [MUTATION, MUTATION]]).rstrip(b"\0")
    ends = {20: 0, 20 + 8 + len(entry()): 1, len(content): 2}
    for length in range(20, len(content) + 1):
        found = state(tmp_path, content[:length])
        sections = sum(end <= length for end in ends) - 1
        assert found.sections == sections
        assert found.synced == sorted(ends)[sections]
        left = length - found.synced
        assert bool(found.damage) == (left >= 8), length
        if found.damage:
            assert "it is cut" in found.damage


def test_every_flipped_byte_is_seen(tmp_path: Path) -> None:
    """Promise: damage anywhere in what Cassandra would replay is found before it is given to Cassandra. (A marker's CRC
    doesn't cover the end it tells: one that points into the zeros behind the last mutation loses nothing.)"""
    content = segment(NUMBER, [[MUTATION], [MUTATION, MUTATION]], size=256)
    end = len(content.rstrip(b"\0"))
    for at in range(20, end):
        damaged = bytearray(content)
        damaged[at] ^= 0x55
        found = state(tmp_path, bytes(damaged))
        assert found.damage or found.mutations == 3, at
    assert state(tmp_path, content).damage == ""


def test_a_marker_that_points_backwards_ends_the_walk(tmp_path: Path) -> None:
    """Promise: no file makes the agent walk in circles."""
    content = header(NUMBER) + marker(NUMBER, 20, 20) + bytes(100)
    assert "points backwards" in state(tmp_path, content).damage


def test_mutations_of_impossible_sizes_are_damage(tmp_path: Path) -> None:
    """Promise: a size that leads out of its section is not followed."""
    for body in (entry(b"tiny"), b"\xff\xff\xff\xff" + bytes(20), entry()[:-8] + b"\0" * 4):
        content = header(NUMBER) + marker(NUMBER, 20, 28 + len(body)) + body
        assert "wrong size" in state(tmp_path, content.ljust(4096, b"\0")).damage


def test_a_compressed_segment_is_walked_by_its_markers_alone(tmp_path: Path) -> None:
    """Promise: what is in its sections isn't guessed at; a cut is seen all the same."""
    head = header(NUMBER, parameters={"compressionClass": "LZ4Compressor", "compressionParameters": {}})
    content = head + marker(NUMBER, len(head), len(head) + 8 + 50) + b"\x07" * 50
    whole = state(tmp_path, content)
    assert (whole.sections, whole.mutations, whole.damage, whole.held_data) == (1, None, "", True)
    assert "it is cut" in state(tmp_path, content[:-1]).damage
    assert not state(tmp_path, head).held_data
