"""One backup into a quick and a very slow destination. In: a stage and rounds. Out: figures of the quick one, alone and
beside the other, and how many bytes the agent read for it.

The quick one's time goes from the command accepted to its manifest in the directory: it is published while the slow one
has hardly begun. The command is cancelled then.
"""

import asyncio
import secrets
import time
from pathlib import Path
from typing import Any

from bench.backups import Figures
from bench.clock import Figure, daemon_use, peak_mib
from bench.ours import MeasuredAgent
from bench.stage import Stage, write_out

SLOW = 10_000
"""Bytes per second of the slow destination."""
ALONE, BESIDE = "mixed, local: alone", f"mixed, local: beside one at {SLOW // 1000} KB/s"


async def several(stage: Stage, rounds: int) -> Figures:
    """In turn, each round into fresh destinations."""
    figures: Figures = {}
    agent = MeasuredAgent(stage.node, stage.work / "agent-several", jolokia=True)
    for turn in range(rounds):
        print(f"bench: two destinations, round {turn + 1} of {rounds}", flush=True)
        for what, slow in ((ALONE, 0), (BESIDE, SLOW)) if turn % 2 == 0 else ((BESIDE, SLOW), (ALONE, 0)):
            await agent.start()
            try:
                figures.setdefault((what, agent.name), []).append(await _published(agent, slow))
            finally:
                await agent.stop()
            stage.forget_backups()
    return figures


async def _published(agent: MeasuredAgent, slow: int) -> Figure:
    """One backup; `slow` 0 = without a second destination. `megabytes`: what the agent read of files and sockets."""
    place = secrets.token_hex(4)
    targets: list[dict[str, Any]] = [dict(await agent.destination({"provider": "local", "path": place}))]
    if slow:
        other = await agent.destination({"provider": "local", "path": f"{place}-slow"})
        targets.append({**other, "throttle_bytes_per_second": slow})
    write_out()
    pid = agent.agent.child.pid
    before, read, began = daemon_use(pid), _read(pid), time.perf_counter()
    arguments = {"snapshot": {"tag": f"bench-{secrets.token_hex(4)}"}, "targets": targets}
    command = await agent.agent.command("backup", arguments)
    root = agent.agent.local_root / place
    async with asyncio.timeout(600):
        while not any(root.rglob("*.manifest")):  # noqa: ASYNC110  # a directory sets no event
            await asyncio.sleep(0.05)
    wall = time.perf_counter() - began
    after = daemon_use(pid)
    megabytes = (_read(pid) - read) / 1e6
    if slow:
        await agent.agent.ask("DELETE", f"/v1/commands/{command}")
    return Figure(wall, after.own - before.own, after.children - before.children, peak_mib(pid), megabytes=megabytes)


def _read(pid: int) -> int:
    """Bytes that a process has read so far."""
    return int(Path(f"/proc/{pid}/io").read_text().split("rchar: ")[1].split()[0])
