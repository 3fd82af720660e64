"""Helenus as the benchmark runs it: in, a node and destination settings; out, figures of commands of a real agent."""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.clock import Figure, daemon_use, forget_peak, peak_mib
from tests.cluster.cassandra import CassandraNode
from tests.cluster.services import TERMINAL, AgentProcess

POLL_SECONDS = 0.02


class MeasuredAgent:
    """An agent beside the node, through Jolokia or nodetool, with one destination after the other."""

    def __init__(self, node: CassandraNode, directory: Path, *, jolokia: bool) -> None:
        self.agent = AgentProcess(node, directory, jolokia=jolokia)
        self.name = "helenus, jolokia" if jolokia else "helenus, nodetool"

    async def destination(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """Put a fresh destination, have it checked and its repository made; the target that commands name."""
        name = secrets.token_hex(4)
        await self.agent.ask("PUT", f"/v1/destinations/{name}", {"revision": 1, "settings": settings})
        check = await self.agent.ask(
            "POST",
            f"/v1/destinations/{name}/check",
            {"initialise": True, "cluster_name": self.agent.node.address},
        )
        if not check["ok"]:
            raise RuntimeError(f"the destination was refused: {check}")
        return {"destination": name, "repository_id": check["repository_id"], "cluster_id": check["cluster_id"]}

    async def backup(
        self, target: Mapping[str, str], keyspaces: Sequence[str] | None = None
    ) -> tuple[Figure, dict[str, Any]]:
        """One backup of the node (or of these keyspaces), from accepted to terminal; its figure and result."""
        pid = self.agent.child.pid
        forget_peak(pid)
        before = daemon_use(pid)
        began = time.perf_counter()
        snapshot: dict[str, Any] = {"tag": f"bench-{secrets.token_hex(4)}"}
        if keyspaces is not None:
            snapshot["keyspaces"] = {name: [] for name in keyspaces}
        command = await self.agent.command("backup", {"snapshot": snapshot, "targets": [dict(target)]})
        view = await self._ended(command)
        wall = time.perf_counter() - began
        after = daemon_use(pid)
        if view["state"] != "success":
            raise RuntimeError(f"the backup ended {view['state']}: {view['error']}")
        figure = Figure(wall, after.own - before.own, after.children - before.children, peak_mib(pid))
        return figure, view["result"]

    async def _ended(self, command: str) -> dict[str, Any]:
        """Long polls of the event log, so that waiting costs neither side CPU."""
        after = 0
        async with asyncio.timeout(600):
            while True:
                events = await self.agent.ask("GET", f"/v1/events?after={after}&wait=10")
                for event in events:
                    after = max(after, event["sequence"])
                    if event["command"] == command and event["state"] in TERMINAL:
                        view: dict[str, Any] = await self.agent.ask("GET", f"/v1/commands/{command}")
                        return view
