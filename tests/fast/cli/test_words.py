"""What `helenus-repository` says is fit for who runs it: a settings file and a directory, no agent and no request."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.fast.cli.conftest import Place
from tests.fast.cli.test_encrypted import flip


def test_a_relative_path_is_not_taken_from_anywhere(place: Place) -> None:
    """Promise: an agent's own file doesn't say below which root its path lies, so it is said what to give; the same
    path in a person's own file is asked for in full. Exit code 78."""
    settings = {"provider": "local", "path": "nightly"}
    place.file.write_bytes(msgspec.json.encode({"id": "d1", "revision": 1, "settings": settings}))
    code, told = place.run("list")
    assert code == 78
    for part in ("an agent's own file", "'nightly'", "local_roots", '"path": "/…/nightly"'):
        assert part in told
    place.file.write_bytes(msgspec.json.encode(settings))
    code, told = place.run("list")
    assert (code, "'nightly' must begin with a slash" in told, "agent" in told) == (78, True, False), told


def test_a_settings_file_says_how_it_is_put_right(place: Place) -> None:
    """Promise: what everybody may read is told with the command, an unknown provider with those that there are."""
    place.file.chmod(0o644)
    assert f"chmod 600 {place.file}" in place.run("list")[1]
    place.file.chmod(0o600)
    place.file.write_bytes(b'{"provider": "lokal", "path": "/x"}')
    assert "azure, gcs, local, s3" in place.run("list")[1]


@pytest.mark.parametrize(
    ("chosen", "has"),
    [
        (("--table", "nope"), "no table nope: it has many.empty, many.t1, shop.orders"),
        (("--keyspace", "shop", "--table", "t1"), "no table shop.t1: it has many.empty, many.t1, shop.orders"),
        (("--keyspace", "nope"), "no keyspace nope: it has many.empty, many.t1, shop.orders"),
        (("--node", "nope"), "no part of the node nope: it has those of 1111"),
    ],
)
def test_a_name_that_the_backup_lacks_is_told_with_those_it_has(
    place: Place, tmp_path: Path, chosen: tuple[str, ...], has: str
) -> None:
    """Promise: a slip of the finger is seen at once, and nothing is made."""
    code, told = place.run("extract", "t1", "--into", str(tmp_path / "out"), *chosen)
    assert (code, "part_not_found" in told, has in told) == (1, True, True), told
    assert not (tmp_path / "out").exists()


def test_what_to_do_is_no_call_of_an_agent(sealed: Place, tmp_path: Path) -> None:
    """Promise: nobody is told to put destinations or to send commands, for there is nobody who would take them."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    said = [sealed.run("extract", "t1", "--into", str(tmp_path / "file"))[1]]
    sealed.settings()
    said.append(sealed.run("list")[1])
    sealed.root = tmp_path / "empty"
    sealed.settings()
    said.append(sealed.run("list")[1])
    for told, code in zip(said, ("target_unwritable", "encryption_key_missing", "not_a_repository"), strict=True):
        assert code in told
        for word in ("Put the destination", "command", "agent", "Choose an empty"):
            assert word not in told


def test_the_report_has_no_lines_of_a_log(place: Place, tmp_path: Path) -> None:
    """Promise: what the console script prints is its answer alone, also when something is damaged."""
    flip(place.objects()[0], 1000)
    script = [sys.executable, "-c", "from agent.cli.main import main; main()", "--destination", str(place.file)]
    done = subprocess.run([*script, "check", "--read"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3, done.stderr
    assert "damaged" in done.stdout
    assert "[warning" not in done.stdout + done.stderr
