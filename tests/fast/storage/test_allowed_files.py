"""Files of the agent's machine that settings name."""

from pathlib import Path

import pytest

from agent.storage.allowed_files import allowed_file
from agent.storage.protocol import BadSettings


def test_a_file_outside_is_refused_with_the_directories_that_would_do(tmp_path: Path) -> None:
    """Promise: a person reads in the sentence where the file may lie, and which setting says so."""
    roots = [tmp_path / "one", tmp_path / "two"]
    assert allowed_file(str(tmp_path / "two/key"), roots, "key_file") == (tmp_path / "two/key").resolve()
    with pytest.raises(BadSettings, match=rf"key_file.*: {roots[0]}, {roots[1]} \(`file_roots`"):
        allowed_file(str(tmp_path / "three/key"), roots, "key_file")
    with pytest.raises(BadSettings, match=r"such files from: none"):
        allowed_file("/key", [], "key_file")


def test_a_relative_path_is_told_as_such(tmp_path: Path) -> None:
    """Promise: nobody looks for a file outside of anything when only the slash is missing."""
    with pytest.raises(BadSettings, match="'keys/one' of passphrase_file must begin with a slash"):
        allowed_file("keys/one", [Path("/")], "passphrase_file")
