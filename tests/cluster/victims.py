"""Processes that tests kill or stop while they work: nodetool's JVM below an agent.

In: a node and what nodetool was told. Out: the JVM's pid, as soon as it runs.
"""

import asyncio
import os
import signal
import time
from pathlib import Path

from tests.cluster.cassandra import CassandraNode

_POLL = 0.005
STOPPED = "T"


def nodetool_pids(node: CassandraNode, verb: str) -> list[int]:
    """The JVMs that run `nodetool <verb>` against the node now."""
    wanted = {str(node.spec.jmx_port), verb, "org.apache.cassandra.tools.NodeTool"}
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if wanted <= set(words) and words[0].endswith("java"):
                found.append(int(entry.name))
    return found


async def signal_nodetool(node: CassandraNode, verb: str, number: signal.Signals, deadline: float = 60.0) -> int:
    """Send the signal to the first JVM of `nodetool <verb>` that shows; its pid."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        for pid in nodetool_pids(node, verb):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
            return pid
        await asyncio.sleep(_POLL)
    raise AssertionError(f"no nodetool {verb} ran within {deadline:g} s")


def state_of(pid: int) -> str:
    """The kernel's letter for what the process does (R, S, T, Z, …), "" when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


async def until_stopped(pid: int, deadline: float = 300.0) -> None:
    """Wait until the process stands still by SIGSTOP."""
    async with asyncio.timeout(deadline):
        while state_of(pid) != STOPPED:  # noqa: ASYNC110  # a process sets no event
            await asyncio.sleep(_POLL)
