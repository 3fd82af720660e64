"""A program that its launchers start and stop as a service manager would: known by its pid file, whoever started it,
and ended with the tests."""

import subprocess
import sys
from pathlib import Path

from tests.cluster import node_launchers
from tests.cluster.places import REPOSITORY
from tests.cluster.processes import Child, Found, run

SLEEPER = ["sh", "-c", 'echo "$@"; sleep 300', "sleeper", "-cp", "jars"]

_RUN_OF_TESTS = """
import sys, time
from pathlib import Path
from tests.cluster.processes import watch
watch(Path(sys.argv[1]))
print("watches", flush=True)
time.sleep(300)
"""


def laid_out(directory: Path) -> Path:
    """The launchers of a program that prints its arguments and sleeps."""
    (directory / "conf").mkdir()
    (directory / "conf" / "jvm-server.options").write_text("# a comment\n-Done=1\n\n-Dtwo=2\n")
    (directory / "cassandra.log").touch()
    return node_launchers.write(SLEEPER, [], directory).parent


async def test_it_is_started_once_and_stopped_by_its_launchers(tmp_path: Path) -> None:
    """Promise: a second start of what runs does nothing; options are read at each start; each run knows where its log
    begins; a stop returns when it is gone, and a second one at once."""
    launchers = laid_out(tmp_path)
    assert node_launchers.last_run(tmp_path) is None
    runs = []
    for _ in range(2):
        await run([launchers / "start"])
        await run([launchers / "start"])
        found = node_launchers.last_run(tmp_path)
        assert found is not None
        child = Found("sleeper", found.pid, found.started, tmp_path / "cassandra.log")

        async def printed(begin: int = found.log_start) -> bool:
            return (tmp_path / "cassandra.log").read_bytes()[begin:] == b"-Done=1 -Dtwo=2 -cp jars\n"

        await child.until("printing its options", printed, 30)
        runs.append(found)
        await run([launchers / "stop"])
        await run([launchers / "stop"])
        assert not child.alive
    assert runs[0].pid != runs[1].pid
    assert runs[0].log_start < runs[1].log_start


async def test_what_another_started_ends_with_the_tests(tmp_path: Path) -> None:
    """Promise: kill -9 of a test run leaves no node behind that an agent of it had started."""
    launchers = laid_out(tmp_path)
    argv = [sys.executable, "-c", _RUN_OF_TESTS, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as tests:
        assert tests.stdout is not None
        assert tests.stdout.readline() == "watches\n"
        await run([launchers / "start"])
        found = node_launchers.last_run(tmp_path)
        assert found is not None
        assert found.alive
        tests.kill()
    assert await Found("sleeper", found.pid, found.started, tmp_path / "cassandra.log").ended(30) == 0


async def test_a_found_process_is_killed_with_its_group(tmp_path: Path) -> None:
    """Promise: as a child is."""
    launchers = laid_out(tmp_path)
    await run([launchers / "start"])
    found = node_launchers.last_run(tmp_path)
    assert found is not None
    child: Child = Found("sleeper", found.pid, found.started, tmp_path / "cassandra.log")
    child.pause()
    await child.stop(grace=0.1)
    assert not child.alive
    assert child.exit_code == 0
