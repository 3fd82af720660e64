"""Which scripts may run: those that nobody but root and the agent's user can have written."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.jobs.scripts.directory import opened_script
from agent.jobs.scripts.errors import ScriptNotFound, ScriptRefused, ScriptsNotConfigured
from kit.errors import HelenusError
from tests.cluster.open_files import open_files

NOBODY = 65_534


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A script directory with one good script."""
    directory = tmp_path / "scripts"
    directory.mkdir(mode=0o755)
    script(directory, "good")
    return directory


def script(directory: Path, name: str, mode: int = 0o755) -> Path:
    path = directory / name
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def refusal(directory: Path | str, name: str) -> HelenusError | None:
    """Why it may not run; None: it may."""
    try:
        with opened_script(str(directory), name):
            return None
    except HelenusError as error:
        return error


def test_without_a_directory_nothing_runs(place: Path) -> None:
    """Promise: the default lets nobody run anything."""
    assert isinstance(refusal("", "good"), ScriptsNotConfigured)
    assert refusal(place, "good") is None


@pytest.mark.parametrize("mode", [0o755, 0o700, 0o500, 0o511, 0o555, 0o4755])
def test_a_script_that_only_its_owner_writes_runs(place: Path, mode: int) -> None:
    """Promise: also one that only may be executed."""
    script(place, "good", mode)
    assert refusal(place, "good") is None


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        (0o775, "can be written by its group or others (mode 0775)"),
        (0o757, "can be written by its group or others (mode 0757)"),
        (0o777, "can be written"),
        (0o720, "can be written"),
        (0o702, "can be written"),
        (0o644, "may not execute it"),
        (0o600, "may not execute it"),
    ],
)
def test_a_script_that_others_could_have_written_is_refused(place: Path, mode: int, why: str) -> None:
    """Promise: told with what is wrong, and to which script."""
    script(place, "bad", mode)
    error = refusal(place, "bad")
    assert isinstance(error, ScriptRefused)
    assert why in error.message
    assert error.fields["script"] == "bad"


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o1777])
def test_a_directory_that_others_could_write_is_refused(place: Path, mode: int) -> None:
    """Promise: who could put a script there, or rename one, is no stranger; the sticky bit changes nothing."""
    place.chmod(mode)
    error = refusal(place, "good")
    assert isinstance(error, ScriptRefused)
    assert "its directory can be written" in error.message


def test_what_belongs_to_somebody_else_is_refused(place: Path) -> None:
    """Promise: an owner may change the mode at any time, so that the mode alone says nothing."""
    os.chown(script(place, "theirs"), NOBODY, -1)
    error = refusal(place, "theirs")
    assert isinstance(error, ScriptRefused)
    assert f"it belongs to the user {NOBODY}" in error.message
    os.chown(place, NOBODY, -1)
    error = refusal(place, "good")
    assert isinstance(error, ScriptRefused)
    assert f"its directory belongs to the user {NOBODY}" in error.message


def test_a_link_is_refused_wherever_it_leads(place: Path) -> None:
    """Promise: neither a script nor the directory itself may be a symbolic link."""
    (place / "link").symlink_to(place / "good")
    (place / "dangling").symlink_to(place / "nothing")
    for name in ("link", "dangling"):
        error = refusal(place, name)
        assert isinstance(error, ScriptRefused)
        assert "symbolic link" in error.message
    (place.parent / "other").symlink_to(place)
    error = refusal(place.parent / "other", "good")
    assert isinstance(error, ScriptRefused)
    assert "its directory is no directory, or a symbolic link" in error.message


def _directory(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path, 0o755)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
    path.chmod(0o755)


def _device(path: Path) -> None:
    os.mknod(path, 0o020755, os.makedev(1, 3))


@pytest.mark.parametrize("make", [_directory, _pipe, _socket, _device])
def test_what_is_no_regular_file_is_refused(place: Path, make: Callable[[Path], None]) -> None:
    """Promise: looked at without being read: a pipe that nobody writes holds nothing up."""
    make(place / "odd")
    error = refusal(place, "odd")
    assert isinstance(error, ScriptRefused)
    assert "no regular file" in error.message


@pytest.mark.parametrize(
    "name",
    [
        "../good",
        "./good",
        "-x",
        ".hidden",
        "",
        ".",
        "..",
        "a/b",
        "/bin/sh",
        "a\0b",
        "a b",
        "a\n",
        "ä",
        "x" * 300,
        "x" * 65,
    ],
)
def test_a_name_that_is_more_than_a_name_is_refused(place: Path, name: str) -> None:
    """Promise: nothing is looked up with it, whoever let it come so far."""
    error = refusal(place, name)
    assert isinstance(error, ScriptRefused)
    assert "no plain name" in error.message


def test_what_is_not_there_is_named(place: Path) -> None:
    """Promise: a missing script and a missing directory are told apart, and both from one that may not run."""
    error = refusal(place, "other")
    assert isinstance(error, ScriptNotFound)
    assert "there is no such script" in error.message
    error = refusal(place / "nowhere", "other")
    assert isinstance(error, ScriptNotFound)
    assert str(place / "nowhere") in error.message
    error = refusal(place / "good", "other")
    assert isinstance(error, ScriptRefused)


def test_nothing_stays_open(place: Path) -> None:
    """Promise: not after a refusal either."""
    script(place, "bad", 0o777)
    before = open_files()
    for name in ("good", "bad", "other", "../good"):
        refusal(place, name)
    assert open_files() == before
