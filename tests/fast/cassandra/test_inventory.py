"""What is in a snapshot, over several data directories."""

import contextlib
import os
from pathlib import Path

import pytest

from agent.cassandra.directories import parse_setting, volumes
from agent.cassandra.inventory import (
    held_where_readable,
    live_bytes,
    read_inventory,
    snapshot_directories,
    snapshot_tags,
)
from agent.cassandra.node_directories import newest_closed_segment
from agent.cassandra.protocol import Held

ID = "7fe7d710e77b11f18a68917191c0c181"


def _file(path: Path, size: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def test_a_snapshot_is_the_union_of_all_data_directories(tmp_path: Path) -> None:
    """JBOD: parts of one table lie on several disks, a legacy index beside its table, other tags are left out."""
    one, two = tmp_path / "one", tmp_path / "two"
    _file(one / f"Ks/Tab-{ID}/snapshots/t/nb-1-big-Data.db", 5)
    _file(one / f"Ks/Tab-{ID}/snapshots/t/manifest.json")
    _file(two / f"Ks/Tab-{ID}/snapshots/t/nb-2-big-Data.db")
    _file(two / f"Ks/Tab-{ID}/snapshots/t/.idx/nb-2-big-Data.db")
    _file(two / f"Ks/Tab-{ID}/snapshots/other/nb-3-big-Data.db")
    _file(two / f"Ks/Other-{ID}/snapshots/t/nb-1-big-Data.db")
    _file(two / f".helenus/Tab-{ID}/snapshots/t/nb-1-big-Data.db")
    found = read_inventory(volumes([str(one), str(two)]), "t", None)
    assert [(table.keyspace, table.table, table.table_id) for table in found] == [
        ("Ks", "Other", ID),
        ("Ks", "Tab", ID),
    ]
    assert [(file.name, file.volume, file.size) for file in found[1].files] == [
        (".idx/nb-2-big-Data.db", 1, 3),
        ("manifest.json", 0, 3),
        ("nb-1-big-Data.db", 0, 5),
        ("nb-2-big-Data.db", 1, 3),
    ]
    only = read_inventory(volumes([str(one), str(two)]), "t", {"Ks": frozenset({"Other"})})
    assert [table.table for table in only] == ["Other"]


def test_the_load_is_that_of_the_live_files_on_all_disks(tmp_path: Path) -> None:
    """What OpsCenter shows as a node's data: snapshots, staged files and what a link leads to are not counted."""
    one, two = tmp_path / "one", tmp_path / "two"
    _file(one / f"Ks/Tab-{ID}/nb-1-big-Data.db", 1000)
    _file(one / f"Ks/Tab-{ID}/.idx/nb-1-big-Data.db", 200)
    _file(one / f"Ks/Tab-{ID}/snapshots/t/nb-1-big-Data.db", 7)
    _file(one / f"Ks/Tab-{ID}/backups/nb-1-big-Data.db", 7)
    _file(two / f"other/Tab-{ID}/nb-1-big-Data.db", 30)
    _file(two / f".helenus/Tab-{ID}/nb-1-big-Data.db", 7)
    (two / f"other/Tab-{ID}/nb-2-big-Data.db").symlink_to(_file(tmp_path / "elsewhere", 7))
    assert live_bytes([str(one), str(two), str(tmp_path / "none")]) == 1230


def test_symbolic_links_in_a_snapshot_are_not_followed(tmp_path: Path) -> None:
    """Whoever can write there can't make the agent read other files."""
    secret = _file(tmp_path / "secret")
    place = _file(tmp_path / f"data/ks/t-{ID}/snapshots/t/nb-1-big-Data.db").parent
    (place / "nb-2-big-Data.db").symlink_to(secret)
    (place / ".idx").symlink_to(tmp_path)
    (found,) = read_inventory(volumes([str(tmp_path / "data")]), "t", None)
    assert [file.name for file in found.files] == ["nb-1-big-Data.db"]


def test_only_bytes_without_another_link_are_freed_by_a_clear(tmp_path: Path) -> None:
    """A snapshot's files cost nothing while the table has them too."""
    live = _file(tmp_path / f"data/ks/t-{ID}/nb-1-big-Data.db", 100)
    shared = tmp_path / f"data/ks/t-{ID}/snapshots/t/nb-1-big-Data.db"
    shared.parent.mkdir(parents=True)
    shared.hardlink_to(live)
    _file(tmp_path / f"data/ks/t-{ID}/snapshots/t/nb-2-big-Data.db", 7)
    _file(tmp_path / f"data/ks/t-{ID}/snapshots/t/manifest.json", 2)
    assert held_where_readable([str(tmp_path / "data")], "t") == Held(bytes=9, data_bytes=7, files=3)


def test_directories_and_tags_are_found(tmp_path: Path) -> None:
    """Also of an empty table's snapshot, which has no file."""
    (tmp_path / f"ks/t-{ID}/snapshots/truncated-1-t").mkdir(parents=True)
    (tmp_path / f"ks/t-{ID}/snapshots/mine").mkdir(parents=True)
    assert list(snapshot_tags([str(tmp_path)], "truncated-")) == ["truncated-1-t"]
    assert [place.table for place in snapshot_directories([str(tmp_path)], "mine")] == ["t"]
    assert not list(snapshot_directories([str(tmp_path)], "mine", {"other": {"t"}}))


def test_a_table_is_found_without_a_look_at_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: what is asked of one table costs no system call for each of the thousands beside it."""
    for number in range(50):
        (tmp_path / f"ks/t{number}-{ID}/snapshots/mine").mkdir(parents=True)
    looked: list[object] = []
    really = os.stat

    def noted(path: str) -> os.stat_result:
        looked.append(path)
        return really(path)

    monkeypatch.setattr(os, "stat", noted)
    assert [place.table for place in snapshot_directories([str(tmp_path)], "mine", {"ks": {"t7"}})] == ["t7"]
    assert len(looked) == 1


def test_the_setting_of_the_data_directories_is_read_as_cassandra_prints_it() -> None:
    """`[/a, /b]` in 4.1 and 5.0."""
    assert parse_setting("[/var/a, /var/b]") == ("/var/a", "/var/b")
    assert parse_setting("[]") == ()


def test_only_a_segment_that_is_certainly_closed_is_the_floor(tmp_path: Path) -> None:
    """The newest two may be the active one and one allocated ahead. Those before them may be gone: a node that flushed
    has a floor all the same."""
    assert newest_closed_segment(str(tmp_path)) is None
    for number in (9, 10):
        _file(tmp_path / f"CommitLog-7-{number}.log")
    assert newest_closed_segment(str(tmp_path)) == "CommitLog-7-8.log"
    _file(tmp_path / "CommitLog-7-2.log")
    _file(tmp_path / ".CommitLog-7-99.log.1.tmp")
    assert newest_closed_segment(str(tmp_path)) == "CommitLog-7-8.log"
    assert newest_closed_segment(str(tmp_path / "none")) is None


def test_files_that_vanish_while_they_are_listed_are_told_and_end_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cassandra clears a snapshot whose time has passed under whoever reads it: a file after it was listed, and the
    directory of an index before it is."""
    place = tmp_path / f"data/ks/t-{ID}/snapshots/t"
    _file(place / "nb-1-big-Data.db", 5)
    gone = _file(place / "nb-2-big-Data.db")
    index = _file(place / ".idx/nb-1-big-Data.db")
    scandir = os.scandir

    def clearing(path: str) -> contextlib.nullcontext[list[os.DirEntry[str]]]:
        with scandir(path) as entries:
            found = list(entries)
        if path == str(place):
            gone.unlink()
            index.unlink()
            index.parent.rmdir()
        return contextlib.nullcontext(found)

    monkeypatch.setattr(os, "scandir", clearing)
    vanished: list[str] = []
    (found,) = read_inventory(volumes([str(tmp_path / "data")]), "t", None, vanished)
    assert [file.name for file in found.files] == ["nb-1-big-Data.db"]
    assert sorted(vanished) == [str(index.parent), str(gone)]
