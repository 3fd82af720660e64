"""Files that open an encrypted repository."""

from pathlib import Path

import pytest

from agent.crypto.errors import EncryptionNotPossible
from agent.daemon.key_files import unlocking_of
from agent.storage.protocol import BadSettings
from agent.wire.destinations import Encryption


def _file(path: Path, content: bytes, mode: int = 0o600) -> str:
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def test_each_way_gives_its_secret(tmp_path: Path) -> None:
    """Promise: a passphrase is the same from the settings and from a file with a newline; a key file is its bytes."""
    phrase = _file(tmp_path / "phrase", "träume\n".encode(), 0o640)
    key = _file(tmp_path / "key", bytes(range(40)) + b"\n")
    given = unlocking_of(Encryption(passphrase="träume"), [])
    read = unlocking_of(Encryption(passphrase_file=phrase), [tmp_path])
    assert (given.kind, given.secret) == (read.kind, read.secret) == ("passphrase", "träume".encode())
    found = unlocking_of(Encryption(key_file=key), [tmp_path])
    assert (found.kind, found.secret) == ("key_file", bytes(range(40)) + b"\n")


def test_a_file_that_protects_nothing_is_refused_by_its_setting(tmp_path: Path) -> None:
    """Promise: a file that is missing, no file, readable by everybody, empty, too short or too long opens nothing; the
    error names the setting and shows nothing of what the file holds."""
    (tmp_path / "directory").mkdir()
    bad = {
        "key_file": [
            str(tmp_path / "missing"),
            str(tmp_path / "directory"),
            _file(tmp_path / "open", b"secret" * 10, 0o644),
            _file(tmp_path / "short", b"secret"),
            _file(tmp_path / "long", b"secret" * 20_000),
        ],
        "passphrase_file": [_file(tmp_path / "empty", b"\n"), _file(tmp_path / "all", b"secret", 0o606)],
    }
    for setting, paths in bad.items():
        for path in paths:
            with pytest.raises(EncryptionNotPossible) as caught:
                unlocking_of(Encryption(**{setting: path}), [tmp_path])
            assert "secret" not in caught.value.message
            assert str(caught.value.fields["setting"]).startswith(setting.removesuffix("_file"))


def test_a_file_outside_of_the_allowed_directories_is_refused(tmp_path: Path) -> None:
    """Promise: whoever may send settings has no other file of the machine read as a key."""
    key = _file(tmp_path / "key", bytes(40))
    with pytest.raises(BadSettings):
        unlocking_of(Encryption(key_file=key), [tmp_path / "keys"])
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "link").symlink_to(key)
    with pytest.raises(BadSettings):
        unlocking_of(Encryption(key_file=str(tmp_path / "keys" / "link")), [tmp_path / "keys"])
