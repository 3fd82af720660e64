"""`helenus-repository` where repository.json is lost: what a person reads, and that what the documents say brings it
back."""

import re
import shutil
from pathlib import Path

import pytest

from agent.repository.errors import RepositoryFileLost
from agent.repository.keys import REPOSITORY
from tests.fast.cli.conftest import Place
from tests.fast.cli.test_encrypted import flip
from tests.fast.jobs.agent_in_memory import REPOSITORY as REPOSITORY_ID

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "repository.md"
COMMANDS = (["list"], ["check"], ["check", "--read"], ["extract", "t1", "--into", "nowhere"], ["keys", "list"])


def lose(path: Path, damage: str) -> None:
    """Remove or change the file."""
    match damage:
        case "gone":
            path.unlink()
        case "cut":
            path.write_bytes(path.read_bytes()[:40])
        case "empty":
            path.write_bytes(b"")
        case "huge":
            path.write_bytes(bytes(70_000))
        case _:
            flip(path, 20)


@pytest.mark.parametrize("damage", ["gone", "cut", "empty", "flipped", "huge"])
@pytest.mark.parametrize("kind", ["plain", "sealed", "locked"])
def test_a_lost_repository_file_is_told_with_the_way_back(
    request: pytest.FixtureRequest, kind: str, damage: str
) -> None:
    """Promise: whoever stands before the bucket alone is told that the backups are there and how the file is made
    again, never to choose an empty place; exit code 3."""
    place = request.getfixturevalue("place" if kind == "plain" else "sealed")
    if kind == "locked":
        place.settings()
    lose(place.root / REPOSITORY, damage)
    for arguments in COMMANDS:
        code, told = place.run(*arguments)
        assert (code, "repository_file_lost" in told, REPOSITORY in told) == (3, True, True), told
        assert RepositoryFileLost.todo in told
        assert "empty" not in told.lower()


def documented(kind: str) -> str:
    """The file of that kind as the document has it, with the id filled in."""
    section = DOCUMENT.read_text(encoding="utf-8").partition("## When repository.json is lost")[2].partition("\n## ")[0]
    found = re.search(rf"^    (\{{.*\}}) +{kind}$", section, re.MULTILINE)
    assert found is not None
    return found[1].replace("<repository id>", REPOSITORY_ID)


@pytest.mark.parametrize("kind", ["plain", "encrypted"])
def test_made_again_as_the_document_says_it_opens_all(request: pytest.FixtureRequest, kind: str) -> None:
    """Promise: the text in docs/repository.md, with the right id, is taken; nothing else is lost with the file."""
    place = request.getfixturevalue("place" if kind == "plain" else "sealed")
    (place.root / REPOSITORY).write_text(documented(kind), encoding="utf-8")
    code, told = place.run("check", "--read")
    assert (code, "nothing is wrong" in told) == (0, True), told


def test_an_encrypted_repository_needs_its_own_id(sealed: Place) -> None:
    """Promise: as the document says, no other id opens the key slots, and the reason is told."""
    text = documented("encrypted").replace(REPOSITORY_ID, "another")
    (sealed.root / REPOSITORY).write_text(text, encoding="utf-8")
    code, told = sealed.run("list")
    assert (code, "encryption_key_wrong" in told) == (1, True), told


def test_somebody_elses_files_are_no_lost_repository(place: Place) -> None:
    """Promise: where nothing of Helenus is, nobody is sent to look for a file."""
    shutil.rmtree(place.root / "helenus")
    (place.root / "photo.jpg").touch()
    code, told = place.run("list")
    assert (code, "not_a_repository" in told) == (1, True), told
