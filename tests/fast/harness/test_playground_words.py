"""What `make cluster-cql` and `make cluster-down` say."""

import os
import sys
from pathlib import Path

import pytest
from cassandra import InvalidRequest, OperationTimedOut
from cassandra.cluster import NoHostAvailable
from cassandra.protocol import InvalidRequestException, SyntaxException

from tests.cluster.reaper import start_time
from tests.demo import parts, playground
from tests.demo.parts import Part

_SYNTAX = SyntaxException(0x2000, "line 1:8 no viable alternative\n  at input '<EOF>'", None)
_UNKNOWN = InvalidRequest(InvalidRequestException(0x2200, "table nix does not exist", None))


class Refusing:
    """A session whose server refuses every statement."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.cluster = self

    def execute(self, statement: str) -> None:
        raise self._error

    def shutdown(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (_SYNTAX, "line 1:8 no viable alternative at input '<EOF>'"),
        (_UNKNOWN, "table nix does not exist"),
        (OperationTimedOut(), "errors=None, last_host=None"),
        (NoHostAvailable("Unable to connect", {}), "('Unable to connect', {})"),
    ],
)
def test_a_statement_that_is_refused_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, said: str
) -> None:
    """Promise: `make cluster-cql` with a slip in it prints what the server said, and exits with 1."""
    me = Part(
        name="node1",
        argv=[],
        cwd="",
        environment={},
        log="",
        address="127.0.0.1",
        port=9042,
        pid=os.getpid(),
        began=start_time(os.getpid()),
    )
    parts.write(tmp_path, [me])
    monkeypatch.setattr(playground, "DIRECTORY", tmp_path)
    monkeypatch.setattr(playground, "open_session", lambda addresses: Refusing(error))
    monkeypatch.setattr(sys, "argv", ["playground", "cql", "select x"])
    with pytest.raises(SystemExit) as ended:
        playground.main()
    assert ended.value.code == said


def test_what_stays_on_the_disk_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: `make cluster-down` says what it leaves, how much that is, and how to be rid of it."""
    directory = tmp_path / "build" / "cluster"
    monkeypatch.setattr(playground, "DIRECTORY", directory)
    monkeypatch.chdir(tmp_path)
    playground.down()
    assert capsys.readouterr().out == "no cluster was up: nothing to stop\n"
    directory.mkdir(parents=True)
    (directory / "data").write_bytes(b"x" * 3_000_000)
    (directory / "snapshot").hardlink_to(directory / "data")
    playground.down()
    assert "\nbuild/cluster (3 MB of data and logs) stays; rm -rf build/cluster removes it\n" in capsys.readouterr().out
