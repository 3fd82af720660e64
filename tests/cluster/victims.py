"""Processes that tests kill or stop while they work: nodetool's JVM below an agent.

In: a node and what nodetool was told. Out: the JVM's pid, as soon as it runs; a signal to it, at once or when Cassandra
has begun to do what it was told.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.cluster.cassandra import CassandraNode

_POLL = 0.005
STOPPED = "T"


def nodetool_pids(node: CassandraNode, verb: str, *words: str) -> list[int]:
    """The JVMs that run `nodetool <verb>`, with these words too, against the node now."""
    wanted = {str(node.spec.jmx_port), verb, "org.apache.cassandra.tools.NodeTool", *words}
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            said = words_of(int(entry.name))
            if wanted <= set(said) and said[0].endswith("java"):
                found.append(int(entry.name))
    return found


def words_of(pid: int) -> list[str]:
    """The process's command line, empty when there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


async def signal_nodetool(
    node: CassandraNode, verb: str, number: signal.Signals, *words: str, deadline: float = 60.0
) -> int:
    """Send the signal to the first JVM of `nodetool <verb>` that shows, before it can have told Cassandra anything; its
    pid."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        for pid in nodetool_pids(node, verb, *words):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
            return pid
        await asyncio.sleep(_POLL)
    raise AssertionError(f"no nodetool {verb} ran within {deadline:g} s")


async def signal_after(pid: int, effect: Callable[[], bool], number: signal.Signals, deadline: float = 60.0) -> None:
    """Send the signal to the process as soon as `effect` shows that Cassandra does what it was told. Raises
    AssertionError when the process ended before it could be sent."""
    end = time.monotonic() + deadline
    while not effect():
        assert time.monotonic() < end, f"what {words_of(pid)} asked for was not begun within {deadline:g} s"
        await asyncio.sleep(_POLL / 5)
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        raise AssertionError(f"the process {pid} had ended before the signal came") from None


def data_files_told(pid: int) -> int:
    """How many Data files are in the directories that a `nodetool import` was told of."""
    told = [Path(word) for word in words_of(pid) if word.startswith("/") and "/import/" in word]
    return sum(len(list(directory.glob("*-Data.db"))) for directory in told)


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
