"""The playground's processes on record: ended and started again, by pid and never by name."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from kit.state_lock import StateLock
from tests.cluster.places import REPOSITORY
from tests.cluster.ports import free_port
from tests.cluster.processes import Child
from tests.cluster.reaper import PID_FILE, start_time
from tests.demo import parts
from tests.demo.parts import Part, PartError

_SERVER = "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\nwhile True: s.accept()"
_HOLDER = "import sys; from pathlib import Path; from kit.state_lock import StateLock\n" + (
    "lock = StateLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    """A part that runs."""
    port = free_port()
    child = Child("server", [sys.executable, "-c", _SERVER, str(port)], tmp_path / "server.log", outlives_us=True)
    child.start()
    made = Part.of("server", child, "127.0.0.1", port)
    child.let_go()
    parts.write(tmp_path, [made])
    yield made
    parts.end(parts.read(tmp_path))


def test_a_part_is_ended_and_started_again_as_it_was(part: Part, tmp_path: Path) -> None:
    """Promise: `make cluster-stop` and `cluster-start` act on one process, and say what they did."""
    assert parts.end([part]) == [f"server ({part.pid})"]
    assert part.running() is None
    assert parts.end([part]) == []
    again = parts.start(part)
    parts.write(tmp_path, [again])
    assert parts.named(tmp_path, "server").running() == again.pid != part.pid


def test_a_pid_that_is_used_again_is_left_alone(part: Part) -> None:
    """Promise: `make cluster-down` ends what it started, not what has its number now."""
    other = msgspec.structs.replace(part, began="1")
    assert other.running() is None
    assert parts.end([other]) == []
    assert start_time(part.pid) == part.began


def test_an_agent_that_a_person_started_is_known_by_its_state(tmp_path: Path) -> None:
    """Promise: `make cluster-down` also ends an agent that was started by hand over the playground's state."""
    state = tmp_path / "state"
    state.mkdir()
    argv = [sys.executable, "-c", _HOLDER, str(state)]
    with subprocess.Popen(argv, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert parts.holder(state / "lock") == process.pid
        process.terminate()
    assert parts.holder(state / "lock") is None
    StateLock(state).release()


def test_a_node_that_its_agent_started_is_known_by_what_its_launcher_noted(part: Part, tmp_path: Path) -> None:
    """Promise: a node that was restarted for archiving or a point in time is shown, ended and started too."""
    node = msgspec.structs.replace(part, name="node1", began="1", noted_in=str(tmp_path))
    assert node.running() is None
    (tmp_path / PID_FILE).write_text(f"{part.pid} {part.began} 0")
    assert node.running() == part.pid
    assert parts.end([node]) == [f"node1 ({part.pid})"]
    assert node.running() is None


def test_an_unknown_part_is_refused_with_the_known_ones(part: Part, tmp_path: Path) -> None:
    """Promise: a misspelt PART is told what there is."""
    with pytest.raises(PartError, match="no part 'nix'; PART is one of server"):
        parts.named(tmp_path, "nix")
    with pytest.raises(PartError, match="make cluster starts them"):
        parts.named(tmp_path / "elsewhere", "agent1")
