"""A process that kills what the tests left running.

In: lines `+<leader> <start time>` and `-<leader>` on its standard input, one per process group, and `*<directory>` of
a node that others than the tests may start. Out: when the input ends, because the test process ended in whatever way
(kill -9 too), every group still listed gets SIGKILL, and whoever the directory's pid file names then.

PR_SET_PDEATHSIG is not used: it fires when the *thread* that forked ends, and executors' threads end all the time.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

PID_FILE = "cassandra.pid"
"""In a node's directory: the pid and start time of its last process."""


def start_time(pid: int) -> str:
    """The start time of a process in clock ticks since boot (field 22 of /proc/<pid>/stat), '' when there is none, or
    only what its parent hasn't asked for yet.

    Together with the pid it names one process for good: pids are used again, this pair is not.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # the name, in brackets, may hold blanks
    return "" if fields[0] == "Z" else fields[19]


class Reaper:
    """The test process's end of the pipe; the reaper itself starts with the first group that it is told of."""

    def __init__(self) -> None:
        self._pipe: int | None = None
        self._lock = threading.Lock()

    def adopt(self, leader: int) -> None:
        """Have the process group of this leader killed when this process ends."""
        self._tell(f"+{leader} {start_time(leader)}")

    def release(self, leader: int) -> None:
        """Forget a group that has ended."""
        self._tell(f"-{leader}")

    def watch(self, directory: Path) -> None:
        """Have the process killed that is named in the directory's pid file when this process ends."""
        self._tell(f"*{directory}")

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._pipe is None:
                self._pipe = _start()
            os.write(self._pipe, line.encode() + b"\n")


def _start() -> int:
    """Start a reaper; the end of its pipe to write to."""
    read, write = os.pipe()
    with os.fdopen(read) as lines:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.reaper"],
            stdin=lines,
            cwd=Path(__file__).parents[2],
            start_new_session=True,  # Ctrl-C is for the tests, not for it
        )
    process.returncode = 0  # nobody waits for it: it ends after us
    return write


def reap() -> None:
    """Read the lines until they end, then kill what is left."""
    groups: dict[int, str] = {}
    directories: set[str] = set()
    for line in sys.stdin:
        if line.startswith("+"):
            leader, _, started = line[1:].strip().partition(" ")
            groups[int(leader)] = started
        elif line.startswith("*"):
            directories.add(line[1:].rstrip("\n"))
        else:
            groups.pop(int(line[1:]), None)
    for directory in directories:
        _reap_noted(Path(directory, PID_FILE))
    for leader, started in groups.items():
        # A leader that is gone may have left its group behind; its pid cannot be used again while that group lives.
        if start_time(leader) in {started, ""}:
            try:
                os.killpg(leader, signal.SIGKILL)
            except ProcessLookupError:
                continue


def _reap_noted(file: Path) -> None:
    try:
        pid, started = file.read_text().split()[:2]
    except (OSError, ValueError):
        return
    if start_time(int(pid)) == started:
        try:
            os.killpg(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            return


if __name__ == "__main__":
    reap()
