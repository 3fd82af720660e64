"""Destination settings on disk, and which secrets an update keeps."""

from pathlib import Path

import pytest

from agent.repository.destination_files import DestinationFileDamaged, DestinationFiles, StoredDestination, unmasked
from agent.wire.destinations import MASK, Encryption, LocalSettings, S3Settings, Settings
from kit.errors import InvalidInput


def record(name: str, revision: int = 1) -> StoredDestination:
    """A destination of which everything is known."""
    return StoredDestination(name, revision, LocalSettings("a"), "r1", "c1", True, True, 3)


def test_records_are_kept_by_id_until_they_are_removed(tmp_path: Path) -> None:
    """Promise: each comes back as it was written last, whole; what a crash left half-written is swept away, and what is
    no record is left alone."""
    files = DestinationFiles(tmp_path / "made" / "here")
    assert files.read_all() == {}
    for one in (record("b"), record("a"), record("b", 2)):
        files.write(one)
    directory = tmp_path / "made" / "here"
    (directory / ".helenus-new-0123").write_bytes(b"half")
    (directory / "note.txt").write_bytes(b"a person's")
    assert files.read_all() == {"a": record("a"), "b": record("b", 2)}
    assert sorted(path.name for path in directory.iterdir()) == ["a.json", "b.json", "note.txt"]
    files.remove("a")
    assert files.read_all() == {"b": record("b", 2)}


@pytest.mark.parametrize("damage", ["content", "directory"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, damage: str) -> None:
    """Promise: a person knows which file to remove, also by a field; no destination is passed over in silence."""
    files = DestinationFiles(tmp_path)
    files.write(record("a"))
    bad = tmp_path / "b.json"
    if damage == "content":
        bad.write_bytes(b"{}")
    else:
        bad.mkdir()
    with pytest.raises(DestinationFileDamaged) as told:
        files.read_all()
    assert told.value.message.startswith(f"{bad} can't be read: ")
    assert told.value.fields == {"file": str(bad)}


def settings(secret: str = "s", token: str = "", phrase: str = "p") -> S3Settings:
    """Settings with three secrets."""
    return S3Settings(path="bucket", access_secret=secret, session_token=token, encryption=Encryption(phrase))


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (settings(MASK, "t2", MASK), settings("s1", "t2", "p1")),
        (settings("s2", MASK, "p2"), settings("s2", "t1", "p2")),
        (settings(MASK, "", MASK), settings("s1", "", "p1")),
        (settings("s2", "t2", "p2"), settings("s2", "t2", "p2")),
    ],
)
def test_each_secret_is_kept_or_changed_for_itself(sent: S3Settings, kept: S3Settings) -> None:
    """Promise: whichever of several secrets is sent anew, those that come back masked stay what they were, and the mask
    itself is never taken for a secret."""
    assert unmasked(sent, settings("s1", "t1", "p1")) == kept


@pytest.mark.parametrize("stored", [None, settings("s1", "", "p1"), LocalSettings("bucket")])
def test_a_mask_for_which_no_secret_is_known_is_refused_by_its_name(stored: Settings | None) -> None:
    """Promise: the form shows the error beside the field of the secret that is missing."""
    with pytest.raises(InvalidInput, match="«session_token» is masked") as told:
        unmasked(settings("s2", MASK, "p2"), stored)
    assert told.value.fields == {"setting": "session_token"}
