"""`helenus-repository keys`: slots of an encrypted repository, changed from a destination alone."""

import msgspec
import pytest

from agent.repository import checked_text
from agent.repository.attach import RepositoryFile
from tests.fast.cli.conftest import KEY, Place

OTHER = bytes(range(100, 140))


def counting(told: str) -> list[tuple[str, str, bool]]:
    """(epoch, kind, counts) of each slot that was shown."""
    rows = [line.split() for line in told.splitlines()]
    return [(row[1], row[2], row[3] == "yes") for row in rows if len(row) == 4 and row[0].isdecimal()]


def test_slots_are_shown_without_a_key(sealed: Place) -> None:
    """Promise: how many there are and what opens them is seen by whoever reads the destination."""
    sealed.settings()
    code, told = sealed.run("keys", "list")
    assert (code, counting(told)) == (0, [("1", "key_file", True)]), told


def test_a_secret_is_replaced_by_another(sealed: Place) -> None:
    """Promise: add, use, rotate without the old one, remove: at each step what is stored is readable with the new
    secret, the old one is refused by name after the rotation, and what each step doesn't protect is said."""
    new = str(sealed.secret("new", OTHER))
    code, told = sealed.run("keys", "add", "--key-file", new)
    assert (code, counting(told)) == (0, [("1", "key_file", True)] * 2), told
    sealed.settings(key_file=new)
    assert sealed.run("check", "--read")[0] == 0
    code, told = sealed.run("keys", "rotate")
    assert code == 0
    assert counting(told) == [("1", "key_file", False)] * 2 + [("2", "key_file", True)]
    assert "isn't sealed anew" in told
    sealed.settings(key_file=str(sealed.secret("key", KEY)))
    assert "encryption_key_superseded" in sealed.run("list")[1]
    assert "encryption_key_superseded" in sealed.run("keys", "remove-superseded")[1]
    sealed.settings(key_file=new)
    code, told = sealed.run("keys", "remove-superseded")
    assert (code, counting(told)) == (0, [("2", "key_file", True)])
    assert "kept a copy of a removed slot" in told
    assert sealed.run("check", "--read")[0] == 0


def test_passphrases_are_typed_or_read_from_a_file(sealed: Place) -> None:
    """Promise: a typed passphrase is asked for twice, is never shown, and opens the repository afterwards; a file's is
    its text without the newline."""
    phrase = sealed.secret("phrase", b"six words or so\n")
    code, told = sealed.run("keys", "add", "--ask", "--passphrase-file", str(phrase), typed=["träume lange süß"] * 2)
    assert code == 0, told
    assert [kind for _, kind, _ in counting(told)] == ["key_file", "passphrase", "passphrase"]
    assert "träume" not in told
    for passphrase in ("träume lange süß", "six words or so"):
        sealed.settings(passphrase=passphrase)
        assert sealed.run("list")[0] == 0


@pytest.mark.parametrize("typed", [["one", "other"], [""]])
def test_a_mistyped_or_empty_passphrase_changes_nothing(sealed: Place, typed: list[str]) -> None:
    """Promise: nobody gets a slot for what they didn't mean."""
    code, told = sealed.run("keys", "add", "--ask", typed=typed)
    assert (code, "two differ" in told) == (1, True), told
    assert len(counting(sealed.run("keys", "list")[1])) == 1


def test_a_weak_passphrase_gets_no_slot(sealed: Place) -> None:
    """Promise: what is soon guessed opens nothing, and what would do is said."""
    code, told = sealed.run("keys", "add", "--ask", typed=["elf Zeichen"] * 2)
    assert (code, "12 characters" in told) == (1, True), told
    assert len(counting(sealed.run("keys", "list")[1])) == 1


def test_a_rotation_keeps_those_that_it_is_given(sealed: Place) -> None:
    """Promise: the others' secret goes on opening what is sealed from then on."""
    new = str(sealed.secret("new", OTHER))
    code, told = sealed.run("keys", "rotate", "--key-file", new)
    assert (code, counting(told)[1:]) == (0, [("2", "key_file", True)] * 2), told
    sealed.settings(key_file=new)
    assert sealed.run("list")[0] == 0


def test_what_can_not_be_is_refused(sealed: Place) -> None:
    """Promise: nothing to add, a file that everybody may read, or no key in the settings: named, and no slot more."""
    assert "invalid_input" in sealed.run("keys", "add")[1]
    open_file = sealed.secret("open", OTHER)
    open_file.chmod(0o644)
    assert "encryption_not_possible" in sealed.run("keys", "add", "--key-file", str(open_file))[1]
    sealed.settings()
    assert "encryption_key_missing" in sealed.run("keys", "rotate")[1]
    assert len(counting(sealed.run("keys", "list")[1])) == 1


def test_a_plain_repository_has_no_keys(place: Place) -> None:
    """Promise: it is said, and nothing is made."""
    code, told = place.run("keys", "list")
    assert (code, "repository_not_encrypted" in told) == (1, True)
    place.settings(key_file=str(place.secret("key", KEY)))
    code, told = place.run("keys", "rotate")
    assert (code, "repository_not_encrypted" in told) == (1, True)
    assert not (place.root / "helenus/v1/keys").exists()


def test_keys_are_changed_with_the_settings_of_the_lock_alone(sealed: Place) -> None:
    """Promise: in a repository that was made under object lock no slot goes in without its lock, and none is hidden."""
    file = next(sealed.root.rglob("repository.json"))
    said = msgspec.json.decode(file.read_bytes(), type=RepositoryFile)
    file.write_bytes(checked_text.encode(msgspec.structs.replace(said, object_lock=True)))
    before = sorted(sealed.root.rglob("keys/*"))
    for change in (["rotate"], ["remove-superseded"], ["add", "--key-file", str(sealed.secret("two", KEY[::-1]))]):
        code, told = sealed.run("keys", *change)
        assert (code, "repository_lock_differs" in told) == (1, True), told
    assert sorted(sealed.root.rglob("keys/*")) == before
