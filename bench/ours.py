"""Helenus as the benchmark runs it: in, a node and destination settings; out, figures of commands of a real agent."""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.clock import DaemonUse, Figure, daemon_use, forget_peak, peak_mib
from bench.orders import OrderClock, Orders
from tests.cluster.cassandra import CassandraNode
from tests.cluster.services import TERMINAL, AgentProcess


def daemon_figure(pid: int, before: DaemonUse, wall: float, orders: Orders) -> Figure:
    """What the agent `pid` took since `before`, in `wall` seconds, `orders` to its node among them."""
    after = daemon_use(pid)
    return Figure(
        wall,
        after.own - before.own,
        after.children - before.children,
        peak_mib(pid),
        inside=orders.inside,
        jvm_starts=orders.jvm_starts,
    )


class MeasuredAgent:
    """An agent beside the node, through Jolokia or nodetool, with one destination after the other."""

    def __init__(self, node: CassandraNode, directory: Path, *, jolokia: bool) -> None:
        self.agent = AgentProcess(node, directory, jolokia=jolokia, recorded=False)
        self.name = "helenus, jolokia" if jolokia else "helenus, nodetool"
        self._orders = OrderClock(node, directory / "orders")
        self._jolokia = jolokia

    async def start(self) -> None:
        """Start the clock of its orders, and the agent."""
        changes = await self._orders.start()
        if not self._jolokia:
            changes.pop("jolokia", None)
        self.agent.changes["cassandra"] = changes
        await self.agent.start()

    async def stop(self) -> None:
        """Stop both."""
        await self.agent.stop()
        await self._orders.stop()

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
        snapshot: dict[str, Any] = {"tag": f"bench-{secrets.token_hex(4)}"}
        if keyspaces is not None:
            snapshot["keyspaces"] = {name: [] for name in keyspaces}
        return await self.measured("backup", {"snapshot": snapshot, "targets": [dict(target)]})

    async def measured(
        self, kind: str, arguments: Mapping[str, Any], deadline: float = 600
    ) -> tuple[Figure, dict[str, Any]]:
        """One command that copies, from accepted to terminal; its figure and result. It must succeed."""
        pid = self.agent.child.pid
        forget_peak(pid)
        before = daemon_use(pid)
        clock, began = time.time(), time.perf_counter()
        command = await self.agent.command(kind, arguments)
        view = await self._ended(command, deadline)
        wall = time.perf_counter() - began
        figure = daemon_figure(pid, before, wall, self._orders.between(clock, time.time()))
        if view["state"] != "success":
            raise RuntimeError(f"the {kind} ended {view['state']}: {view['error']}")
        (target,) = view["result"]["targets"].values()
        figure = msgspec.structs.replace(figure, files=target["files"], megabytes=target["bytes"] / 1e6)
        return figure, view["result"]

    async def _ended(self, command: str, deadline: float) -> dict[str, Any]:
        """Long polls of the event log, so that waiting costs neither side CPU."""
        after = 0
        async with asyncio.timeout(deadline):
            while True:
                events = await self.agent.ask("GET", f"/v1/events?after={after}&wait=10")
                for event in events:
                    after = max(after, event["sequence"])
                    if event["command"] == command and event["state"] in TERMINAL:
                        view: dict[str, Any] = await self.agent.ask("GET", f"/v1/commands/{command}")
                        return view
