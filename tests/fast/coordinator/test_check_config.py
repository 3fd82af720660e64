"""`--check-config` of the coordinator: what it refuses is what a start refuses, in the same words."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from coordinator.main import main
from coordinator.store.sqlite import FILE
from tests.cluster.certificates import Authority
from tests.fast.coordinator.test_service import ADDRESS, DEADLINE, ROOT, configuration, secret_file


def in_cassandra(directory: Path, more: str = "", host: str = ADDRESS) -> Path:
    """A configuration that keeps the state in a Cassandra that doesn't answer, and is served with TLS at `host`."""
    certificate, key = Authority(directory).certificate("coordinator")
    sealing = secret_file(directory / "sealing", "0123456789abcdef" * 4)
    file = configuration(directory)
    state = f'[state]\nkind = "cassandra"\ncontact_points = ["127.0.70.8"]\nport = 9\nkey_file = "{sealing}"\n{more}\n'
    listening = f'[http]\nhost = "{host}"\ntls_certificate = "{certificate}"\ntls_key = "{key}"'
    file.write_text(file.read_text().replace(f'[http]\nhost = "{ADDRESS}"', state + listening))
    return file


def everywhere(directory: Path) -> Path:
    return in_cassandra(directory, host="0.0.0.0")


def a_ca_without_tls(directory: Path) -> Path:
    return in_cassandra(directory, f'ca_file = "{directory / "test-ca.pem"}"')


def a_foreign_address(directory: Path) -> Path:
    """192.0.2.0/24 is for documents: no machine has it."""
    return in_cassandra(directory, '[leading]\nurl = "https://coordinator1:8888"', host="192.0.2.1")


def a_later_state(directory: Path) -> Path:
    (directory / "state").mkdir()
    with closing(sqlite3.connect(directory / "state" / FILE)) as connection:
        connection.execute("CREATE TABLE requests (id TEXT PRIMARY KEY)")
        connection.execute("PRAGMA user_version = 9999")
    return configuration(directory)


def no_state(directory: Path) -> Path:
    (directory / "state").mkdir()
    (directory / "state" / FILE).write_text("nothing of SQLite's\n" * 100)
    return configuration(directory)


def a_link_to_a_state(directory: Path) -> Path:
    (directory / "state").mkdir()
    (directory / "state" / FILE).symlink_to(directory / "elsewhere")
    return configuration(directory)


def a_directory(directory: Path) -> Path:
    (directory / "state" / FILE).mkdir(parents=True)
    return configuration(directory)


def a_pipe(directory: Path) -> Path:
    (directory / "state").mkdir()
    os.mkfifo(directory / "state" / FILE)
    return configuration(directory)


@pytest.mark.parametrize(
    ("make", "status", "said"),
    [
        (everywhere, 2, "«leading.url» is missing"),
        (a_ca_without_tls, 2, "«state.ca_file» is for TLS, and «state.tls» is false"),
        (a_foreign_address, 2, "192.0.2.1:0 can't be listened on"),
        (a_later_state, 1, "has version 9999"),
        (no_state, 1, "file is not a database"),
        (a_directory, 1, "is no file"),
        (a_pipe, 1, "is no file"),
        (a_link_to_a_state, 1, "Too many levels of symbolic links"),
    ],
)
def test_what_a_start_refuses_the_check_refuses_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], Path], status: int, said: str
) -> None:
    """Promise: a configuration that the check calls fine is refused by no start that asks no other machine; both end
    with the same words and exit code, and the check leaves the state directory as it was."""
    file = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["--config", str(file), "--check-config"]) == status
    checked = capsys.readouterr().err
    assert said in checked
    assert sorted(tmp_path.rglob("*")) == before
    command = [sys.executable, "-m", "coordinator.main", "--config", str(file)]
    started = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert started.returncode == status
    assert checked in started.stderr  # one that got as far as asking Cassandra has logged that


def test_the_check_calls_fine_what_is_told_to_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Promise: served on all addresses with a URL for the other coordinators, or on one that can be told, is fine."""
    for number, (host, more) in enumerate([("0.0.0.0", '[leading]\nurl = "https://one:8888"'), (ADDRESS, "")]):
        place = tmp_path / str(number)
        place.mkdir()
        assert main(["--config", str(in_cassandra(place, more, host)), "--check-config"]) == 0
    assert capsys.readouterr().err == ""
