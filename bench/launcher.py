"""Runs a peer's commands one after the other. In: argument lists as JSON in argv[1]; out: one JSON line on stdout.

A process of its own with next to no memory: a child begins with the peak of whoever started it, and the benchmark's own
process is larger than most peers. Only the standard library, for `python -S -I`. For each command: exit code, seconds,
user and system CPU seconds with those of its children, and the peak in KiB of its largest process, JVMs apart (a peer's
nodetool is no more its own than ours). Peaks are looked at every 50 ms, so the last moment may be missed.
"""

import json
import os
import subprocess
import sys
import threading
import time

INTERVAL = 0.05


def children(pid: int) -> list[int]:
    """The running children of all threads of a process."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass  # it has ended
    return found


def peak_kib(pid: int) -> int:
    """The peak of the largest process of the tree below `pid` that is no JVM."""
    peak = max((peak_kib(child) for child in children(pid)), default=0)
    try:
        with open(f"/proc/{pid}/status") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return peak
    if lines["Name"].strip() == "java" or "VmHWM" not in lines:
        return peak
    return max(peak, int(lines["VmHWM"].split()[0]))


def run(command: list[str]) -> dict[str, float]:
    """Run one command and measure it."""
    peak = 0
    over = threading.Event()
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=sys.stderr, stdin=subprocess.DEVNULL)

    def watch() -> None:
        nonlocal peak
        while not over.wait(INTERVAL):
            peak = max(peak, peak_kib(child.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, use = os.wait4(child.pid, 0)
    wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    over.set()
    watcher.join()
    return {
        "exit": child.returncode,
        "wall": wall,
        "cpu": use.ru_utime + use.ru_stime,
        "peak_kib": peak,
    }


def main() -> None:
    """Run all; stop at the first that fails."""
    began = time.perf_counter()
    done = []
    for command in json.loads(sys.argv[1]):
        done.append(run(command))
        if done[-1]["exit"]:
            break
    print(json.dumps({"wall": time.perf_counter() - began, "commands": done}))


if __name__ == "__main__":
    main()
