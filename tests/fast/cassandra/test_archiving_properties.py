"""What Cassandra is told of archiving, and the node's own file that makes room for it."""

from pathlib import Path

import pytest

from agent.cassandra.commit_log import archiving_properties as properties
from agent.cassandra.commit_log.archiving_properties import Archiving
from agent.cassandra.commit_log.errors import ArchivingRefused

PROGRAM = "/var/lib/helenus/archive-commitlog"
ARCHIVING = Archiving(PROGRAM, "/var/lib/helenus/archive")
OWN = "# commitlog archiving configuration\narchive_command=/bin/cp %path /mnt/%name\nrestore_command=\n"


def test_archiving_is_told_as_cassandra_reads_it() -> None:
    """Promise: one program, the segment's path, the full target; nothing is restored."""
    text = properties.render(ARCHIVING)
    assert properties.is_ours(text)
    assert properties.properties_of(text) == {
        "archive_command": f"{PROGRAM} %path /var/lib/helenus/archive/%name",
        "restore_command": "",
        "restore_directories": "",
        "restore_point_in_time": "",
        "precision": "MICROSECONDS",
    }
    assert properties.properties_of(properties.render(Archiving(PROGRAM)))["archive_command"] == ""


def test_a_point_is_never_rounded_up() -> None:
    """Promise: a version that knows fewer digits restores a little less, never a write of later."""
    assert properties.point_text(1_999_999) == "1970:01:01 00:00:01.999999"
    assert properties.point_text(1_999_999, 3) == "1970:01:01 00:00:01.999"
    assert properties.point_text(1_999_999, 0) == "1970:01:01 00:00:01"
    assert properties.point_text(1_000_001) == "1970:01:01 00:00:01.000001"


def test_paths_that_cassandra_would_take_apart_are_refused() -> None:
    """Promise: no properties file is written that makes Cassandra call something else."""
    for archiving in (
        Archiving("/a b", "/archive"),
        Archiving(PROGRAM, "/archive,other"),
        Archiving(PROGRAM, "/ar%chive"),
        Archiving(PROGRAM, "/archive\nrestore_command=/bin/rm"),
    ):
        with pytest.raises(ArchivingRefused):
            properties.render(archiving)


def test_the_nodes_own_file_is_kept_and_put_back(tmp_path: Path) -> None:
    """Promise: whatever archiving a node had, it has again afterwards, byte for byte."""
    path = tmp_path / "commitlog_archiving.properties"
    path.write_text(OWN)
    assert properties.put(path, ARCHIVING)
    assert properties.is_ours(path.read_text())
    assert properties.kept(path).read_text() == OWN
    assert not properties.put(path, ARCHIVING)
    assert properties.put(path, Archiving(PROGRAM, "/elsewhere"))
    assert properties.kept(path).read_text() == OWN
    assert properties.put_back(path)
    assert path.read_text() == OWN
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name]


def test_a_node_without_a_file_has_none_again(tmp_path: Path) -> None:
    """Promise: nothing of ours is left."""
    path = tmp_path / "commitlog_archiving.properties"
    assert properties.put(path, ARCHIVING)
    assert properties.put_back(path)
    assert list(tmp_path.iterdir()) == []
    assert not properties.put_back(path)


def test_killed_between_the_two_steps_of_either_way_the_same_call_ends_it(tmp_path: Path) -> None:
    """Promise: the kept file is written before ours takes the place, so there is no moment without a whole file, and
    none at which the node's own is lost."""
    path = tmp_path / "commitlog_archiving.properties"
    path.write_text(OWN)
    properties.kept(path).write_text(OWN)  # killed after the copy, before ours was put
    assert properties.put(path, ARCHIVING)
    assert properties.kept(path).read_text() == OWN
    path.unlink()  # gone by another's hand
    assert not properties.put_back(path)
    assert path.read_text() == OWN


def test_a_file_that_somebody_put_in_ours_place_stays(tmp_path: Path) -> None:
    """Promise: a person's change is not undone by switching archiving off."""
    path = tmp_path / "commitlog_archiving.properties"
    assert properties.put(path, ARCHIVING)
    path.write_text("archive_command=/their/own %path\n")
    assert not properties.put_back(path)
    assert path.read_text() == "archive_command=/their/own %path\n"
    assert properties.properties_of(path.read_text()) == {"archive_command": "/their/own %path"}


def test_a_file_that_cant_be_read_or_written_is_refused_with_its_path(tmp_path: Path) -> None:
    """Promise: the error says which path, so that its rights can be mended."""
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "commitlog_archiving.properties"
    with pytest.raises(ArchivingRefused) as told:
        properties.put(path, ARCHIVING)
    assert told.value.fields["path"] == str(path)
    missing = tmp_path / "no" / "commitlog_archiving.properties"
    assert properties.read(missing) is None
    with pytest.raises(ArchivingRefused):
        properties.put(missing, ARCHIVING)
