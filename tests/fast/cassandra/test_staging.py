"""Staging: beside the data directory, usable by Cassandra's user, removed only where it is ours."""

import errno
import os
import stat
from pathlib import Path

import pytest

from agent.cassandra import staging
from agent.cassandra.errors import NotEnoughSpace, SnapshotMissing, StagingRefused
from agent.cassandra.rights import Account, allowed, refusal, shared_group
from agent.cassandra.staging import (
    StagingRoot,
    link_or_copy,
    make_directory,
    make_root,
    probe,
    remove_below,
    remove_root,
    staging_root,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "cassandra" / "data"
    (directory / "system").mkdir(parents=True)
    return directory


def test_staging_lies_beside_the_data_directory(data: Path) -> None:
    """Two data directories with one parent do not share a root."""
    root = staging_root(str(data), "job-1")
    assert root.path == data.parent / ".helenus" / "data" / "job-1"
    assert (root.group, root.owner) == (None, None)  # agent and Cassandra are one user here


def test_staging_lies_where_start_up_checks_look_away_when_beside_is_impossible(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data directory is a mount point, or its parent is not ours: then under `backups` inside of it."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != data.parent)
    assert staging_root(str(data), "job-1").path == data / ".helenus" / "backups" / "job-1"


def test_the_probe_creates_renames_and_links_and_leaves_only_the_marked_root(data: Path) -> None:
    """What preflight promises, tried on the real volume."""
    root = staging_root(str(data), "job-1")
    assert probe(root).links
    assert [path.name for path in root.path.iterdir()] == ["owner"]
    assert stat.S_IMODE(root.path.stat().st_mode) == 0o770


def test_where_the_kernel_refuses_links_files_are_copied(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fs.protected_hardlinks, or a volume that has none: preflight counts the room of the copies."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    root = staging_root(str(data), "job-1")
    assert not probe(root).links
    source, target = root.path / "source", root.path / "target"
    source.write_bytes(b"content")
    assert not link_or_copy(root, source, target)
    assert target.read_bytes() == b"content"
    assert stat.S_IMODE(target.stat().st_mode) == 0o660
    assert [path.name for path in root.path.glob(".*")] == []


def test_a_full_volume_is_told_by_its_own_code(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a fault of the agent: the restore waits or is aborted, and what was half copied is no file of a component."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    root = staging_root(str(data), "job-1")
    make_root(root)
    source, target = root.path / "source", root.path / "nb-1-big-Data.db"
    source.write_bytes(b"content")
    monkeypatch.setattr(os, "link", full)
    with pytest.raises(NotEnoughSpace):
        link_or_copy(root, source, target)
    assert not target.exists()
    monkeypatch.undo()
    with pytest.raises(SnapshotMissing):
        link_or_copy(root, root.path / "gone", target)


def test_a_symbolic_link_in_the_way_is_refused(data: Path, tmp_path: Path) -> None:
    """Nobody can lead the agent's writes elsewhere."""
    root = staging_root(str(data), "job-1")
    make_root(root)
    (root.path / "held").symlink_to(tmp_path)
    with pytest.raises(StagingRefused):
        make_directory(root, ("held", "ks"))
    assert not (tmp_path / "ks").exists()


def test_only_what_bears_the_mark_is_removed(data: Path) -> None:
    """A directory that somebody else made at that place stays."""
    root = staging_root(str(data), "job-1")
    root.path.mkdir(parents=True)
    (root.path / "precious").write_text("mine")
    with pytest.raises(StagingRefused):
        remove_root(root)
    assert (root.path / "precious").exists()


def test_removing_follows_no_link_and_takes_empty_parents_along(data: Path, tmp_path: Path) -> None:
    """Another job's staging stays; after the last job nothing is left."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("stays")
    roots = [staging_root(str(data), job) for job in ("job-1", "job-2")]
    for root in roots:
        make_directory(root, ("held", "ks", "t"))
        make_root(root)
        (root.path / "import").symlink_to(outside)
    assert remove_root(roots[0])
    assert roots[1].path.is_dir()
    assert remove_root(roots[1])
    assert not remove_root(roots[1])
    assert not (data.parent / ".helenus").exists()
    assert (outside / "file").exists()


def test_removing_goes_on_when_somebody_takes_a_file_meanwhile(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: Cassandra moves a file out of a batch just then: no failure, and the rest is removed all the same."""
    root = staging_root(str(data), "job-1")
    make_root(root)
    batch = make_directory(root, ("import", "1", "ks", "t"))
    for name in ("nb-1-big-Data.db", "nb-1-big-Index.db", "nb-2-big-Data.db"):
        (batch / name).write_bytes(b"x")
    unlink = os.unlink
    taken: list[str] = []

    def vanished(path: str, *, dir_fd: int | None = None) -> None:
        unlink(path, dir_fd=dir_fd)
        if not taken:
            taken.append(path)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    monkeypatch.setattr(os, "unlink", vanished)
    remove_below(root, "import")
    assert len(taken) == 1
    assert [path.name for path in root.path.iterdir()] == ["owner"]


def test_rights_are_judged_by_owner_group_and_mode(tmp_path: Path) -> None:
    """As the kernel does: the first class that fits decides, and every directory above must let one through."""
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(0o770)
    about = place.stat()
    stranger = Account(about.st_uid + 1, "stranger", frozenset())
    member = Account(about.st_uid + 1, "member", frozenset({about.st_gid}))
    assert not allowed(stranger, about, 7)
    assert allowed(member, about, 7)
    assert refusal(Account(0, "root", frozenset()), place) is None
    reason = refusal(stranger, place)
    assert reason is not None
    assert "stranger" in reason
    owner = Account(about.st_uid, "owner", frozenset({about.st_gid}))
    place.chmod(0o070)
    if owner.uid:
        assert not allowed(owner, place.stat(), 7)


def test_a_group_is_shared_only_when_both_are_in_it() -> None:
    """The data directory's group first; root can give any group that Cassandra has."""
    cassandra = Account(1000, "cassandra", frozenset({50, 60}))
    assert shared_group(Account(2000, "agent", frozenset({60, 70})), cassandra, 50) == 60
    assert shared_group(Account(2000, "agent", frozenset({50, 60})), cassandra, 50) == 50
    assert shared_group(Account(2000, "agent", frozenset({70})), cassandra, 50) is None
    assert shared_group(Account(0, "root", frozenset({0})), cassandra, 50) == 50


def test_two_users_without_a_common_group_are_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is fetched, not when the next snapshot fails."""
    monkeypatch.setattr(staging, "own_account", lambda: Account(4001, "agent", frozenset({4001})))
    monkeypatch.setattr(staging, "cassandra_account", lambda *_: Account(4002, "cassandra", frozenset({4002})))
    with pytest.raises(StagingRefused) as caught:
        staging_root(str(data), "job-1")
    assert caught.value.fields["reason"] == "no_shared_group"


def test_a_job_name_is_checked_before_it_becomes_a_path(data: Path) -> None:
    """Jobs come over HTTP."""
    with pytest.raises(Exception, match="can't be the name of a job"):
        staging_root(str(data), "../escape")


def test_roots_survive_their_notes(data: Path) -> None:
    """They are kept as JSON between the phases."""
    import msgspec

    root = staging_root(str(data), "job-1")
    assert msgspec.json.decode(msgspec.json.encode(root), type=StagingRoot) == root
