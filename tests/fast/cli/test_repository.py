"""`helenus-repository` over a directory, with nothing else running."""

import shutil
from pathlib import Path

import msgspec
import pytest

from agent.cli import checking
from agent.cli.drilling import drill
from agent.cli.screen import Screen
from tests.fast.cli.conftest import Place
from tests.fast.jobs.node import HOST


def extracted(into: Path) -> dict[tuple[str, str, str], bytes]:
    """(keyspace, table, file) → bytes, without what the snapshot itself wrote."""
    found = {}
    for path in into.rglob("*"):
        if path.is_file() and path.name not in ("manifest.json", "schema.cql"):
            _, _, keyspace, table, *name = path.relative_to(into).parts
            found[keyspace, table.partition("-")[0], "/".join(name)] = path.read_bytes()
    return found


def test_it_lists_backups_with_what_is_to_be_known(place: Place) -> None:
    """Promise: tag, date, state, nodes, completeness, size and keyspaces stand in a line."""
    code, told = place.run("list")
    assert code == 0
    line = told.splitlines()[1]
    for part in ("t1", "2023-11-14 22:13:20Z", "success", "1/1", "yes", "3.0 MB", "many,shop"):
        assert part in line


def test_an_agents_own_file_of_a_destination_will_do(place: Place) -> None:
    """Promise: on a node no settings need to be written again."""
    record = {"id": "d1", "revision": 3, "settings": msgspec.json.decode(place.file.read_bytes())}
    place.file.write_bytes(msgspec.json.encode(record))
    assert place.run("list")[0] == 0


def test_a_settings_file_that_everybody_may_read_is_refused(place: Place) -> None:
    """Promise: nobody is tempted to leave secrets open."""
    place.file.chmod(0o644)
    code, told = place.run("list")
    assert code == 78
    assert "everybody" in told


@pytest.mark.parametrize("body", [b"", b"{}", b'{"provider": "tape"}', b'{"provider": "local", "path": "x", "y": 1}'])
def test_a_settings_file_that_is_none_is_refused(place: Place, body: bytes) -> None:
    """Promise: exit code 78 and a sentence, no traceback."""
    place.file.write_bytes(body)
    code, told = place.run("list")
    assert code == 78
    assert "is no destination" in told


def test_a_sound_repository_passes_the_check(place: Place) -> None:
    """Promise: with `--read` every object was read."""
    code, told = place.run("check")
    assert (code, "nothing is wrong" in told) == (0, True)
    code, told = place.run("check", "--read")
    assert code == 0
    assert f"{len(place.objects())} objects read" in told


def test_a_flipped_byte_is_found_by_reading(place: Place) -> None:
    """Promise: `check` alone doesn't see it, `--read` names backup, node, table and file; exit code 3."""
    largest = place.objects()[0]
    body = bytearray(largest.read_bytes())
    body[1000] ^= 1
    largest.write_bytes(body)
    assert place.run("check")[0] == 0
    code, told = place.run("check", "t1", "--read")
    assert code == 3
    assert f"t1: {HOST}: shop.orders nb-1-big-Data.db: damaged" in told
    code, told = place.run("extract", "t1", "--into", str(place.root.parent / "out"))
    assert code == 3
    assert "object_damaged" in told


def test_what_is_missing_cut_or_incomplete_is_found_without_reading(place: Place) -> None:
    """Promise: an object that is gone, one that is cut, and a node without a manifest are named."""
    first, second, *_ = place.objects()
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    code, told = place.run("check")
    assert code == 3
    assert "nb-1-big-Data.db: missing" in told
    assert "bytes instead of" in told
    next(place.root.rglob("*.manifest")).unlink()
    code, told = place.run("check")
    assert code == 3
    assert f"t1: not complete: without 1 of its 1 nodes: {HOST}" in told


def test_where_too_much_is_gone_the_first_are_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: memory is bounded when all objects are missing, and it is said that there are more."""
    for path in place.objects():
        path.unlink()
    every = place.run("check")[1]
    monkeypatch.setattr(checking, "MOST_WRONG", 1)
    code, told = place.run("check")
    assert code == 3
    assert "more objects than 1 are wrong" in told
    assert "more objects than" not in every
    assert told.count(": missing: ") < every.count(": missing: ")


def test_an_extract_is_the_nodes_files_and_goes_on(place: Place, tmp_path: Path) -> None:
    """Promise: byte for byte what the node had; called again it brings back what is gone or wrong, and no more."""
    into = tmp_path / "out"
    code, told = place.run("extract", "t1", "--into", str(into))
    assert code == 0, told
    wanted = place.node.files()
    assert extracted(into) == wanted
    files = sorted((path for path in into.rglob("*Data.db")), key=lambda path: -path.stat().st_size)
    files[0].unlink()
    files[1].write_bytes(b"wrong")
    kept = files[2].stat().st_ino
    assert place.run("extract", "t1", "--into", str(into))[0] == 0
    assert extracted(into) == wanted
    assert files[2].stat().st_ino == kept


def test_an_extract_of_a_part_holds_that_part(place: Place, tmp_path: Path) -> None:
    """Promise: keyspace, table and node choose; what nobody has is an error and not an empty success."""
    assert place.run("extract", "t1", "--into", str(tmp_path / "a"), "--keyspace", "many", "--table", "t1")[0] == 0
    assert {name[:2] for name in extracted(tmp_path / "a")} == {("many", "t1")}
    for wrong in (("--keyspace", "nobodys"), ("--node", "nobodys")):
        assert place.run("extract", "t1", "--into", str(tmp_path / "b"), *wrong)[0] == 1
    assert place.run("extract", "t9", "--into", str(tmp_path / "b"))[0] == 1


def test_a_drill_verifies_what_cassandra_promised(place: Place, tmp_path: Path) -> None:
    """Promise: an SSTable that was broken before it was backed up is told by its own checksum or TOC."""
    into = tmp_path / "out"
    code, told = place.run("drill", "t1", "--into", str(into))
    assert code == 0, told
    assert "all are whole" in told
    next(into.rglob("nb-1-big-Digest.crc32")).write_bytes(b"7")
    next(into.rglob("nb-2-big-TOC.txt")).unlink()
    assert drill(into, into.glob("*/*/*/*"), Screen()) == 2


def test_an_empty_directory_is_no_repository(place: Place) -> None:
    """Promise: nothing is made there, and the exit code says that it could not be done."""
    shutil.rmtree(place.root)
    place.root.mkdir()
    code, told = place.run("list")
    assert code == 1
    assert "not_a_repository" in told
    assert list(place.root.iterdir()) == []
