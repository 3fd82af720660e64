"""What archiving costs whoever writes. In: a stage and rounds. Out: figures of the same load on a node that doesn't
archive and on one that does, in turn.

Two nodes of their own with the same settings, both started, warmed and flushed before; only one has work at a time. The
one that archives has its agent beside it, which ships each segment, compressed, to a local directory while the load
goes on: commit log, archive and destination are on one disk. Before the other's turn everything is shipped. The log is
synced every ten seconds, as Cassandra's own settings have it; segments are of 16 MiB (32 there), so that a turn closes
several.
"""

import secrets
import shutil
import sys
from typing import Any

from bench import write_load
from bench.backups import Figures
from bench.clock import Figure, daemon_use, peak_mib
from bench.stage import Stage, write_out
from tests.cluster import sessions
from tests.cluster.cassandra import CassandraNode
from tests.cluster.places import REPOSITORY
from tests.cluster.processes import run
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess

PAIRS = 7
ROWS = 120_000
WARMING = 120_000
"""Rows until a JVM has compiled what writes use: with 20,000 the first pairs told which one had been started last."""
HEAP_MB = 1024
WHAT = "writes"
WITHOUT, WITH = "without archiving", "with archiving"


async def archiving(stage: Stage, rounds: int) -> Figures:
    """Seven pairs at least; who begins a pair changes from one to the next."""
    directory = stage.work / "archiving"
    shutil.rmtree(directory, ignore_errors=True)
    plain = ScratchCluster(directory / "without", nodes=1, name="without", heap_mb=HEAP_MB)
    archived = ScratchCluster(directory / "with", nodes=1, name="with", heap_mb=HEAP_MB)
    agent = AgentProcess(archived.nodes[0], directory / "agent", recorded=False)
    async with plain, archived:
        try:
            await agent.start()
            await _switch_on(agent)
            sides = ((WITHOUT, plain.nodes[0], None), (WITH, archived.nodes[0], agent))
            for _, node, its_agent in sides:
                await _prepare(node)
                await _turn(node, WARMING, its_agent)
            figures: Figures = {}
            pairs = max(PAIRS, rounds)
            for pair in range(pairs):
                print(f"bench: archiving, pair {pair + 1} of {pairs}", flush=True)
                for name, node, its_agent in sides if pair % 2 == 0 else sides[::-1]:
                    figures.setdefault((WHAT, name), []).append(await _turn(node, ROWS, its_agent))
            return figures
        finally:
            await agent.stop()


async def _switch_on(agent: AgentProcess) -> None:
    """A destination, the order, and the node's restart."""
    name = secrets.token_hex(4)
    settings = {"provider": "local", "path": "segments"}
    await agent.ask("PUT", f"/v1/destinations/{name}", {"revision": 1, "settings": settings})
    check = await agent.ask(
        "POST", f"/v1/destinations/{name}/check", {"initialise": True, "cluster_name": agent.node.address}
    )
    target = {"destination": name, "repository_id": check["repository_id"], "cluster_id": check["cluster_id"]}
    arguments = {"enabled": True, "targets": [{"target": target, "compressed": True}]}
    await agent.do("archive", arguments)
    await agent.node.stop()
    await agent.node.start()

    async def on() -> bool:
        return bool((await _view(agent))["state"] == "on")

    await agent.child.until("archiving", on, 60)


async def _prepare(node: CassandraNode) -> None:
    session = await sessions.session_one(node)
    try:
        write_load.make_table(session)
    finally:
        sessions.close(session)
    await node.nodetool("disableautocompaction")


async def _turn(node: CassandraNode, rows: int, agent: AgentProcess | None) -> Figure:
    """The load once; CPU and memory are the agent's, `files` the rows."""
    await node.nodetool("flush")
    write_out()
    before = daemon_use(agent.child.pid) if agent else None
    command = [sys.executable, "-m", "bench.write_load", node.address, str(node.spec.native_port), str(rows)]
    wall = float((await run(command, 600, {"PYTHONPATH": str(REPOSITORY)})).split()[-1])
    if agent is None or before is None:
        return Figure(wall, 0.0, 0.0, 0.0, files=rows)
    after = daemon_use(agent.child.pid)
    peak = peak_mib(agent.child.pid)
    await _shipped(agent)
    return Figure(wall, after.own - before.own, after.children - before.children, peak, files=rows)


async def _shipped(agent: AgentProcess) -> None:
    """Wait until every closed segment is in the destination."""

    async def all_there() -> bool:
        view = await _view(agent)
        return all(not place["waiting_segments"] for place in view["places"].values())

    await agent.child.until("shipping everything", all_there, 300)


async def _view(agent: AgentProcess) -> dict[str, Any]:
    view: dict[str, Any] = await agent.ask("GET", "/v1/archiving")
    return view
