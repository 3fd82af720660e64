"""What `make cluster`, `make cluster-cql` and `make cluster-down` say."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cassandra import InvalidRequest, OperationTimedOut
from cassandra.cluster import NoHostAvailable
from cassandra.protocol import InvalidRequestException, SyntaxException
from cassandra.query import named_tuple_factory

from tests.cluster.reaper import start_time
from tests.demo import parts, playground
from tests.demo.parts import Part
from tests.demo.topology import Topology
from tests.demo.waiting import told
from tests.demo.worth_trying import Places, worth_trying

_SYNTAX = SyntaxException(0x2000, "line 1:8 no viable alternative\n  at input '<EOF>'", None)
_UNKNOWN = InvalidRequest(InvalidRequestException(0x2200, "table nix does not exist", None))


class Answering:
    """A session whose server gives one row, as the driver hands it over."""

    def __init__(self) -> None:
        self.cluster = self
        self.column_names = ["id", 'a b"c', "[applied]"]

    def execute(self, statement: str) -> "Answering":
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(named_tuple_factory(self.column_names, [(1, "x", True)]))

    def shutdown(self) -> None:
        """Nothing is open."""


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
    one_node(monkeypatch, tmp_path)
    monkeypatch.setattr(playground, "open_session", lambda addresses: Refusing(error))
    monkeypatch.setattr(sys, "argv", ["playground", "cql", "select x"])
    with pytest.raises(SystemExit) as ended:
        playground.main()
    assert ended.value.code == said


def test_without_a_statement_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a bare `make cluster-cql` shows how it is used, instead of a parser's complaint."""
    monkeypatch.setattr(sys, "argv", ["playground", "cql", ""])
    with pytest.raises(SystemExit) as ended:
        playground.main()
    assert ended.value.code == "say which statement: make cluster-cql CQL='SELECT * FROM shop.orders LIMIT 5'"


def test_columns_have_their_own_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: a row is shown under the names that the table has, not those that Python allows."""
    one_node(monkeypatch, tmp_path)
    monkeypatch.setattr(playground, "open_session", lambda addresses: Answering())
    playground.cql("SELECT …")
    assert capsys.readouterr().out == 'id = 1, a b"c = x, [applied] = True\ndone\n'


def test_following_keeps_what_a_file_of_errors_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: the printed `follow` adds to a file that stands for the terminal, at each poll."""
    parts_that_run(monkeypatch, tmp_path, "coordinator", "agent1")
    playground.show(parts.read(tmp_path))
    assert "| tee -a /dev/stderr |" in capsys.readouterr().out


def test_an_agent_can_be_asked_as_well_as_the_coordinator(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: what is printed for an agent names the file with the agents' token, and its address; each file is the
    user's own and has the token of its service."""
    coordinator, agents = tmp_path / "curl.conf", tmp_path / "agents.conf"
    monkeypatch.setattr(playground, "CURL", coordinator)
    monkeypatch.setattr(playground, "AGENTS_CURL", agents)
    playground.write_curl_files(coordinator="token-c", agents="token-a")
    for file, token in ((coordinator, "token-c"), (agents, "token-a")):
        assert f'header = "Authorization: Bearer {token}"\n' in file.read_text()
        assert file.stat().st_mode & 0o777 == 0o600
    assert 'header = "Content-Type: application/json"\n' in agents.read_text()
    parts_that_run(monkeypatch, tmp_path, "coordinator", "agent1")
    playground.show(parts.read(tmp_path))
    assert f"  curl -K {agents} http://127.0.0.1:9042/v1/node\n" in capsys.readouterr().out


def test_every_agent_takes_keys_from_one_directory_that_is_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: one path of a passphrase or key file will do for all agents, and a command with it can be copied."""
    topology = Topology(tmp_path, destination="local")
    keys = tmp_path / "keys"
    assert keys.stat().st_mode & 0o777 == 0o700
    for agent in topology.agents:
        assert agent.settings()["destinations"] == {
            "local_roots": [str(agent.local_root)],
            "file_roots": [str(agent.directory), str(keys)],
        }
    parts_that_run(monkeypatch, tmp_path, "coordinator", "agent1")
    playground.show(parts.read(tmp_path))
    printed = capsys.readouterr().out
    assert f'"encryption": {{"passphrase_file": "{keys}/one"}}' in printed
    assert f"openssl rand -base64 24 > {keys}/one)" in printed


def test_what_is_worth_trying_is_all_said_of_one_shell() -> None:
    """Promise: each printed command is a whole line, and what a line uses was set by a line above it."""
    text = worth_trying(Places("http://c", "Demo_Cluster", "http://a", "curl.conf", "agents.conf", "/k/keys", "keys"))
    commands = [line.strip() for line in text.splitlines() if line.startswith("  ")]
    for name in ("there", "T", "sealed"):
        [made] = [number for number, command in enumerate(commands) if command.startswith(f"{name}=")]
        used = [number for number, command in enumerate(commands) if f"'${name}'" in command]
        assert used
        assert made < min(used)
    asked = [command for command in commands if "/backups/pit_check -d" in command or "/backups/pit/run -d" in command]
    assert len({command.partition(" -d ")[2].removesuffix(""" | tr -d '"')""") for command in asked}) == 1
    assert subprocess.run(["bash", "-n", "-c", "\n".join(commands)], capture_output=True).stderr == b""


async def test_a_wait_is_seen_to_go_on() -> None:
    """Promise: whoever starts the cluster reads what is waited for as it begins, and that it goes on, until it ends."""
    lines: list[str] = []
    seen = asyncio.Event()

    def report(line: str) -> None:
        lines.append(line)
        if len(lines) == 3:
            seen.set()

    async with told(report, "3 nodes start: a minute", seconds=0.001):
        assert lines == ["3 nodes start: a minute …"]
        await seen.wait()
    count = len(lines)
    assert all(line.startswith("… ") and line.endswith(" s so far") for line in lines[1:])
    await asyncio.sleep(0.02)
    assert len(lines) == count


def test_the_services_are_ended_before_the_nodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Promise: `make cluster-down` leaves no node that an agent started while the nodes were being ended."""
    parts_that_run(monkeypatch, tmp_path, "node1", "coordinator", "agent1")
    noted = [
        msgspec.structs.replace(part, began="", noted_in=str(tmp_path) if part.name == "node1" else "")
        for part in parts.read(tmp_path)
    ]
    parts.write(tmp_path, noted)
    ended: list[list[str]] = []

    def end(asked: list[Part]) -> list[str]:
        ended.append([part.name for part in asked])
        return []

    monkeypatch.setattr(parts, "end", end)
    playground.down()
    assert ended == [["coordinator", "agent1"], ["node1"]]


def one_node(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """This process stands for the one part that runs."""
    parts_that_run(monkeypatch, directory, "node1")


def parts_that_run(monkeypatch: pytest.MonkeyPatch, directory: Path, *names: str) -> None:
    """This process stands for each of them."""
    pid = os.getpid()
    me = Part(
        name="",
        argv=[],
        cwd="",
        environment={},
        log="",
        address="127.0.0.1",
        port=9042,
        pid=pid,
        began=start_time(pid),
    )
    parts.write(directory, [msgspec.structs.replace(me, name=name) for name in names])
    monkeypatch.setattr(playground, "DIRECTORY", directory)


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
