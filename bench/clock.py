"""Timing of processes and of a daemon at work: in, commands or a pid; out, wall and CPU seconds, peak memory."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

TICKS = os.sysconf("SC_CLK_TCK")


class Figure(msgspec.Struct, frozen=True):
    """One measured run. Seconds; `peak_mib` of the largest single process, JVMs apart; `child_cpu` apart (nodetool's
    JVM; a Medusa's is in `cpu`). Ours only: `inside`, seconds while an order to nodetool or Jolokia was under way;
    `jvm_starts`, how often nodetool was started; `files` of the snapshot. 0 = not measured."""

    wall: float
    cpu: float
    child_cpu: float
    peak_mib: float
    requests: int = 0
    inside: float = 0.0
    jvm_starts: int = 0
    files: int = 0
    megabytes: float = 0.0


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
    """Run the commands one after the other as one measured unit; raise when one fails, with its log's place. The CPU of
    commands that are nodetool themselves counts as a child's."""
    launcher = [sys.executable, "-S", "-I", str(Path(__file__).with_name("launcher.py"))]
    with log.open("ab") as sink:
        ran = subprocess.run(
            [*launcher, json.dumps([list(command) for command in commands])],
            env=dict(env),
            stdout=subprocess.PIPE,
            stderr=sink,
            stdin=subprocess.DEVNULL,
            check=True,
        )
    told = json.loads(ran.stdout)
    cpu = {True: 0.0, False: 0.0}
    for command, one in zip(commands, told["commands"], strict=False):
        if one["exit"]:
            raise RuntimeError(f"{command[0]} ended with {one['exit']}: see {log}")
        cpu[Path(command[0]).name == "nodetool"] += one["cpu"]
    peak = max(one["peak_kib"] for one in told["commands"])
    return Figure(told["wall"], cpu[False], cpu[True], peak / 1024)
