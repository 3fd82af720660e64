"""Timing of processes and of a daemon at work: in, commands or a pid; out, wall and CPU seconds, peak memory."""

import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

TICKS = os.sysconf("SC_CLK_TCK")


class Figure(msgspec.Struct, frozen=True):
    """One measured run. Seconds; `peak_mib` of the largest single process; `child_cpu` apart (nodetool's JVM)."""

    wall: float
    cpu: float
    child_cpu: float
    peak_mib: float
    requests: int = 0


class DaemonUse(msgspec.Struct, frozen=True):
    """CPU seconds of a process and of its ended children, from /proc/<pid>/stat."""

    own: float
    children: float


def daemon_use(pid: int) -> DaemonUse:
    """CPU seconds so far of the running process `pid` and of the children that it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return DaemonUse((int(fields[11]) + int(fields[12])) / TICKS, (int(fields[13]) + int(fields[14])) / TICKS)


def peak_mib(pid: int) -> float:
    """Peak resident memory of `pid` so far, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def forget_peak(pid: int) -> None:
    """Reset the peak of `pid` to what it holds now (Linux, clear_refs 5)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def timed_commands(commands: Sequence[Sequence[str]], env: Mapping[str, str], log: Path) -> Figure:
    """Run the commands one after the other as one measured unit; raise when one fails, with its log's place."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = 0
    began = time.perf_counter()
    for command in commands:
        with log.open("ab") as sink:
            child = subprocess.Popen(command, env=dict(env), stdout=sink, stderr=sink, stdin=subprocess.DEVNULL)
            _, status, use = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        peak = max(peak, use.ru_maxrss)
        if child.returncode:
            raise RuntimeError(f"{command[0]} ended with {child.returncode}: see {log}")
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figure(wall, cpu, 0.0, peak / 1024)
