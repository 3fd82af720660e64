"""Small files survive a crash whole, and one process works with a state directory."""

import subprocess
import sys
from pathlib import Path

import pytest

from kit.atomic_files import TEMPORARY, make_directory, remove_durably, remove_unfinished, write_atomically
from kit.state_lock import StateLock, StateLocked, StateUnusable


def test_a_file_is_replaced_whole_with_the_mode_asked_for(tmp_path: Path) -> None:
    """Promise: a file is replaced at once, its mode too, and nothing is left beside it."""
    path = tmp_path / "a"
    write_atomically(path, b"one")
    write_atomically(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    """Promise: a write that fails leaves no half file."""
    (tmp_path / "directory").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "directory", b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["directory"]


def test_what_a_crash_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    """Promise: a start removes unfinished files alone."""
    (tmp_path / f"{TEMPORARY}1").touch()
    (tmp_path / "kept").touch()
    remove_unfinished(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]


def test_removing_twice_is_fine_and_says_so(tmp_path: Path) -> None:
    """Promise: to remove what is gone is no error, and the answer tells."""
    (tmp_path / "a").touch()
    assert remove_durably(tmp_path / "a") is True
    assert remove_durably(tmp_path / "a") is False


def test_directories_are_made_for_the_owner_alone(tmp_path: Path) -> None:
    """Promise: nobody else may look into a directory of the service."""
    made = make_directory(tmp_path / "a" / "b")
    assert made.stat().st_mode & 0o077 == 0


def test_a_second_process_is_refused_and_told_who_holds_the_state(tmp_path: Path) -> None:
    """Promise: one process at a time works with a state directory."""
    program = "import sys, pathlib; from kit.state_lock import *; StateLock(pathlib.Path(sys.argv[1]))"
    with StateLock(tmp_path / "state"):
        second = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "state")], capture_output=True, text=True, check=False
        )
        assert second.returncode != 0
        assert "StateLocked" in second.stderr
    third = subprocess.run([sys.executable, "-c", program, str(tmp_path / "state")], check=False)
    assert third.returncode == 0


def test_the_lock_is_free_after_release_and_held_within_one_process_too(tmp_path: Path) -> None:
    """Promise: a lock holds within a process as well, until it is released."""
    lock = StateLock(tmp_path)
    with pytest.raises(StateLocked):
        StateLock(tmp_path)
    lock.release()
    StateLock(tmp_path).release()


def test_a_state_directory_that_can_not_be_made_is_a_clear_error(tmp_path: Path) -> None:
    """Promise: a state directory that can't be is named as such."""
    (tmp_path / "file").touch()
    with pytest.raises(StateUnusable):
        StateLock(tmp_path / "file" / "state")
