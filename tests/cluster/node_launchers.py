"""How a node of the tests is started and stopped: by the tests, or by the agent beside it.

In: the node's command line and directory. Out: `launchers/cassandra` (runs it in the foreground), `launchers/start` and
`launchers/stop` (what a service manager does: they return when it runs, and when it is gone), and `cassandra.pid`:
pid, start time as /proc has it, and where in cassandra.log that run begins.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.cluster.reaper import PID_FILE, start_time

_RUN = """#!/bin/sh
# One node of Cassandra in the foreground, with the options of jvm-server.options as Cassandra's own script takes them.
cd {directory} || exit 1
set --
while IFS= read -r line; do
    case $line in -*) set -- "$@" "$line" ;; esac
done < {options}
echo "$$ $(cut -d ' ' -f 22 /proc/$$/stat) $(stat -c %s {log})" > {pid}.new && mv {pid}.new {pid} || exit 1
exec {before} "$@" {behind}
"""
_START = """#!/bin/sh
# Start it in a session of its own, and return when it has noted its pid; one that runs is left alone. One that was just
# killed may be there for a moment still.
{gone}
for _ in $(seq 20); do
    gone && break
    sleep 0.05
done
gone || exit 0
rm -f {pid}
setsid {prefix} {launchers}/cassandra < /dev/null >> {log} 2>&1 &
for _ in $(seq 500); do
    [ -e {pid} ] && exit 0
    sleep 0.02
done
exit 1
"""
_STOP = """#!/bin/sh
# SIGTERM, and wait until it is gone.
{gone}
gone && exit 0
kill "$pid"
until gone; do sleep 0.05; done
"""
_GONE = """gone() {{
    read -r pid started rest < {pid} || return 0
    read -r stat < "/proc/$pid/stat" || return 0
    set -- $stat
    [ "${{22}}" != "$started" ] || {{ [ "$3" = Z ] && [ "${{20}}" -le 1 ]; }}  # until its last thread is gone
}} 2> /dev/null"""


class Run(msgspec.Struct, frozen=True):
    """A run of the node: its process, and from which byte on the log is about it."""

    pid: int
    started: str
    log_start: int

    @property
    def alive(self) -> bool:
        """Whether the process is there (one that ended and wasn't waited for is not)."""
        return start_time(self.pid) == self.started != ""


def write(command: Sequence[str], prefix: Sequence[str], directory: Path) -> Path:
    """Write the launchers; the path of the one that runs the node. `prefix`: what runs it as another user."""
    launchers = directory / "launchers"
    launchers.mkdir(exist_ok=True)
    cut = command.index("-cp")
    words = {
        "directory": directory,
        "options": directory / "conf" / "jvm-server.options",
        "log": directory / "cassandra.log",
        "pid": directory / PID_FILE,
        "launchers": launchers,
    }
    quoted = {name: shlex.quote(str(path)) for name, path in words.items()}
    gone = _GONE.format(**quoted)
    for name, text in (
        ("cassandra", _RUN.format(before=shlex.join(command[:cut]), behind=shlex.join(command[cut:]), **quoted)),
        ("start", _START.format(gone=gone, prefix=shlex.join(prefix), **quoted)),
        ("stop", _STOP.format(gone=gone)),
    ):
        (launchers / name).write_text(text)
        (launchers / name).chmod(0o755)
    return launchers / "cassandra"


def last_run(directory: Path) -> Run | None:
    """The node's last run, whoever started it; None before the first."""
    try:
        pid, started, log_start = (directory / PID_FILE).read_text().split()
    except FileNotFoundError:
        return None
    return Run(int(pid), started, int(log_start))
