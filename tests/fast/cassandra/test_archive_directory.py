"""The directory that segments are archived to, and whose it is."""

from pathlib import Path

import pytest

from agent.cassandra.commit_log.archive_command import MARK
from agent.cassandra.commit_log.archive_directory import have, owner_of
from agent.cassandra.commit_log.errors import ArchivingRefused


def _have(path: Path, *owners: str, cassandras: tuple[Path, ...] = (), marked: bool = False) -> str:
    return have(str(path), owners or ("h1",), [str(one) for one in cassandras], marked=marked, group=None)


def test_it_is_made_and_marked_as_the_nodes_own(tmp_path: Path) -> None:
    """Promise: made for both users, marked before anything names it, and the same again is fine; a mark that a kill
    left out is put by the next order."""
    path = tmp_path / "archive"
    assert _have(path) == owner_of(path) == "h1"
    assert path.stat().st_mode & 0o7777 == 0o2770
    assert _have(path, marked=True) == "h1"
    assert [one.name for one in path.iterdir()] == [MARK]
    (path / MARK).unlink()
    assert _have(path) == "h1"


def test_another_nodes_directory_is_refused(tmp_path: Path) -> None:
    """Promise: two nodes with one shared directory would ship and remove each other's segments; a node that got another
    host id keeps its own."""
    path = tmp_path / "shared"
    _have(path, "h2")
    with pytest.raises(ArchivingRefused, match="belongs to the node h2"):
        _have(path)
    assert owner_of(path) == "h2"
    assert _have(path, "h1", "h2") == "h2"


def test_cassandras_own_directories_are_refused(tmp_path: Path) -> None:
    """Promise: nothing is archived to where Cassandra keeps its data, log, hints, caches; not by way of a link."""
    data = tmp_path / "data"
    (data / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(data)
    for path in (data, data / "archive", data / "below" / "archive", tmp_path / "link" / "archive"):
        with pytest.raises(ArchivingRefused, match="lies in Cassandra's own"):
            _have(path, cassandras=(tmp_path / "other", data))
        assert not (path / MARK).exists()
    assert _have(tmp_path / "data-archive", cassandras=(data,)) == "h1"


def test_a_place_that_is_not_mounted_is_refused(tmp_path: Path) -> None:
    """Promise: neither a missing parent is made, nor the mount point of a volume that is away marked as a new one."""
    with pytest.raises(ArchivingRefused, match="is not there: mount its volume"):
        _have(tmp_path / "volume" / "archive")
    assert not (tmp_path / "volume").exists()
    path = tmp_path / "archive"
    path.mkdir()
    with pytest.raises(ArchivingRefused, match="is gone: mount its volume"):
        _have(path, marked=True)
    assert list(path.iterdir()) == []


def test_a_directory_of_other_things_is_refused(tmp_path: Path) -> None:
    """Promise: one that was named by mistake gets no mark and keeps its mode; segments of a former archive, a volume's
    own directory and hidden files make it no other."""
    path = tmp_path / "etc"
    path.mkdir(mode=0o755)
    for name in ("CommitLog-7-11.log", "lost+found", ".left.tmp"):
        (path / name).touch()
    (path / "passwd").touch()
    with pytest.raises(ArchivingRefused, match=r"holds other things \(passwd\)"):
        _have(path)
    assert owner_of(path) == ""
    assert path.stat().st_mode & 0o7777 == 0o755
    (path / "passwd").unlink()
    assert _have(path) == "h1"
