"""Children of the tests end with the tests, and say why they failed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.places import REPOSITORY
from tests.cluster.ports import free_network, free_port
from tests.cluster.processes import Child, ProcessError, tail
from tests.cluster.reaper import start_time

_RUN_OF_TESTS = """
import sys, time
from pathlib import Path
from tests.cluster.processes import Child
child = Child("sleeper", ["sh", "-c", "sleep 300 & sleep 300"], Path(sys.argv[1]))
child.start()
print(child.pid, flush=True)
time.sleep(300)
"""


async def test_children_are_killed_when_the_tests_are_killed(tmp_path: Path) -> None:
    """Promise: kill -9 of a test run leaves none of its servers behind."""
    argv = [sys.executable, "-c", _RUN_OF_TESTS, str(tmp_path / "log")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as tests:
        assert tests.stdout is not None
        child = int(tests.stdout.readline())
        group = Path(f"/proc/{child}/task/{child}/children")
        while not (grandchildren := group.read_text().split()):
            assert tests.poll() is None
        assert start_time(child)
        tests.kill()
    watch = ["sh", "-c", f"while kill -0 -{child}; do sleep 0.1; done"]
    watched = Child("a watch over the group", watch, tmp_path / "w")
    watched.start()
    assert await watched.ended(30) == 0
    assert [pid for pid in grandchildren if start_time(int(pid))] == []


async def test_a_child_that_ends_too_early_shows_the_end_of_its_log(tmp_path: Path) -> None:
    """Promise: a server that cannot start fails the test at once, with its own words."""
    child = Child("broken", ["sh", "-c", "echo the disk is on fire; exit 3"], tmp_path / "log")
    child.start()
    with pytest.raises(ProcessError, match=r"ended with 3 before listening on .*(.|\n)*the disk is on fire"):
        await child.until_listening("127.0.0.1", free_port())


async def test_stop_ends_a_paused_child_and_all_that_it_started(tmp_path: Path) -> None:
    """Promise: stop resumes, asks, and then kills what is left of the group."""
    child = Child("stubborn", ["sh", "-c", "trap '' TERM; echo ready; sleep 300 & wait; wait"], tmp_path / "log")
    child.start()

    async def ready() -> bool:
        return "ready" in tail(child.log)

    await child.until("ready", ready, 10)
    child.pause()
    await child.stop(grace=0.2)
    assert child.exit_code == -signal.SIGKILL
    assert not child.alive


def test_ports_and_networks_are_handed_out_once() -> None:
    """Promise: no two servers of this machine's test runs get the same port or network."""
    ports = {free_port() for _ in range(20)}
    assert len(ports) == 20
    other = "from tests.cluster.ports import free_port; print(*[free_port() for _ in range(50)])"
    printed = subprocess.run([sys.executable, "-c", other], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert not ports & {int(port) for port in printed.stdout.split()}
    assert free_network() != free_network()
