"""The demo's machines: three Cassandra nodes, an agent beside each, a coordinator and, when asked for, an object
store.

In: a directory and fixed loopback addresses. Out: all of them started, and ended together.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tests.cluster.cassandra import CassandraNode
from tests.cluster.processes import Child, answers, end
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess, CoordinatorProcess, share_token
from tests.cluster.stores import ObjectStore, Seaweed
from tests.demo.waiting import told

CLUSTER = "Demo_Cluster"
NODES = 3
NETWORK = "127.0.1"
BUCKET = "helenus-demo"


class Store(ObjectStore, Protocol):
    """A server that is started, and ended with the others."""

    child: Child

    @property
    def alive(self) -> bool:
        """Whether it runs."""

    async def start(self) -> None:
        """Start it and wait until it serves."""

    def forget(self) -> None:
        """Remove what it left outside of its directory (it has ended)."""


def _fake_gcs(directory: Path) -> Store:
    from tests.cluster.gcs_stores import FakeGcs  # what it needs is installed with demo-gcs only

    return FakeGcs(directory / "fake-gcs-server")


def _azurite(directory: Path) -> Store:
    from tests.cluster.azurite import Azurite  # what it needs is installed with demo-azure only

    return Azurite(directory / "azurite")


def _seaweed(directory: Path) -> Store:
    return Seaweed(directory / "seaweedfs")


STORES: dict[str, Callable[[Path], Store]] = {"s3": _seaweed, "gcs": _fake_gcs, "azure": _azurite}
"""`make demo DESTINATION=…` → the store that it starts."""


KEYS = "keys"
"""Below the directory of it all: passphrases, keys and credentials that every agent may read, under one path."""


class Topology:
    """What `make demo` and `make cluster` run. `store` is None with local destinations."""

    def __init__(self, directory: Path, *, destination: str, outlives_us: bool = False) -> None:
        """`directory` keeps everything, logs included. `destination`: `local`, or a kind of `STORES`."""
        self.directory = directory
        self.cassandra = ScratchCluster(
            directory / "cassandra",
            nodes=NODES,
            network=NETWORK,
            name=CLUSTER,
            outlives_us=outlives_us,
            options={"materialized_views_enabled": True},
        )
        self.keys = directory / KEYS
        self.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.agents = [
            _agent(node, directory / f"agent{number}", self.keys, outlives_us=outlives_us)
            for number, node in enumerate(self.cassandra.nodes, 1)
        ]
        share_token(self.agents)
        self.coordinator = CoordinatorProcess(
            self.agents,
            directory / "coordinator",
            cluster=CLUSTER,
            address="127.0.0.1",
            port=8888,
            outlives_us=outlives_us,
            recorded=False,
        )
        self.store = STORES[destination](directory) if destination in STORES else None

    def taken(self) -> list[str]:
        """Addresses that the machines need and somebody else listens on."""
        wanted = [(node.address, node.spec.native_port) for node in self.cassandra.nodes]
        wanted += [(service.address, service.port) for service in (*self.agents, self.coordinator)]
        return [f"{address}:{port}" for address, port in wanted if answers(address, port)]

    async def start(self, report: Callable[[str], None]) -> None:
        """Start everything and wait until it answers; `report` is told what is waited for, and of each part that
        answers."""
        nodes = told(report, f"{NODES} nodes start: half a minute as a rule, up to three on a busy machine")
        async with nodes, asyncio.TaskGroup() as group:
            if self.store is not None:
                group.create_task(self._start_store(self.store, report))
            for number, node in enumerate(self.cassandra.nodes, 1):
                node.launch()
                group.create_task(_wait_for_node(node, number, report))
        async with told(report, "they look for each other: some seconds"):
            await self.cassandra.wait_until_whole()
        report("the nodes see each other")
        async with told(report, "the agents and the coordinator start: some seconds"):
            async with asyncio.TaskGroup() as group:
                for agent in self.agents:
                    group.create_task(agent.start())
            report(f"agents       {' '.join(agent.url for agent in self.agents)}")
            await self.coordinator.start()
        report(f"coordinator  {self.coordinator.url}")

    @staticmethod
    async def _start_store(store: Store, report: Callable[[str], None]) -> None:
        await store.start()
        await store.make_bucket(BUCKET)
        report(f"{type(store).__name__:12} {store.endpoint}")

    def children(self) -> list[Child]:
        """The processes that were started, those first that depend on the others."""
        parts: list[CoordinatorProcess | AgentProcess | CassandraNode | Store]
        parts = [self.coordinator, *self.agents, *self.cassandra.nodes]
        if self.store is not None:
            parts.append(self.store)
        return [part.child for part in parts if part.alive]

    def end(self, grace: float) -> None:
        """Ask all processes to end, kill what is left after `grace` seconds; waits without the event loop."""
        self.cassandra.close_sessions()
        self.kill(grace)

    def end_cluster(self, grace: float) -> None:
        """End all but the object store."""
        self.cassandra.close_sessions()
        end([child for child in self.children() if self.store is None or child is not self.store.child], grace)

    def kill(self, grace: float) -> None:
        """As `end`, for a signal handler, which can't wait for what the sessions' threads hold."""
        end(self.children(), grace)
        if self.store is not None:
            self.store.forget()

    def destination_text(self) -> str:
        """What `destination` is, in words."""
        if self.store is None:
            return "a local directory of each node"
        return f"bucket {BUCKET} of {self.store.endpoint}"

    def destination(self) -> dict[str, object]:
        """The body of POST /{cluster}/backups/destinations."""
        if self.store is None:
            return {"provider": "local", "path": "demo"}
        return self.store.settings(BUCKET)


def _agent(node: CassandraNode, directory: Path, keys: Path, *, outlives_us: bool) -> AgentProcess:
    roots = {"destinations": {"file_roots": [str(directory), str(keys)]}}
    return AgentProcess(node, directory, port=61621, changes=roots, outlives_us=outlives_us, recorded=False)


async def _wait_for_node(node: CassandraNode, number: int, report: Callable[[str], None]) -> None:
    began = time.monotonic()
    await node.wait_until_ready(180)
    report(f"node{number}        {node.address} answers after {time.monotonic() - began:.0f} s")
