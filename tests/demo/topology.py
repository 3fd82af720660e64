"""The demo's machines: three Cassandra nodes, an agent beside each, a coordinator and, when asked for, an S3 server.

In: a directory and fixed loopback addresses. Out: all of them started, and stopped in order.
"""

import asyncio
from pathlib import Path

from tests.cluster.processes import answers
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess, CoordinatorProcess, share_token
from tests.cluster.stores import Seaweed

CLUSTER = "Demo_Cluster"
NODES = 3
NETWORK = "127.0.1"
BUCKET = "helenus-demo"


class Topology:
    """What `make demo` and `make cluster` run. `store` is None with local destinations."""

    def __init__(self, directory: Path, *, s3: bool, outlives_us: bool = False) -> None:
        """`directory` keeps everything, logs included."""
        self.directory = directory
        self.cassandra = ScratchCluster(
            directory / "cassandra",
            nodes=NODES,
            network=NETWORK,
            name=CLUSTER,
            outlives_us=outlives_us,
            options={"materialized_views_enabled": True},
        )
        self.agents = [
            AgentProcess(node, directory / f"agent{number}", port=61621, outlives_us=outlives_us, recorded=False)
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
        )
        self.store = Seaweed(directory / "seaweedfs") if s3 else None

    def taken(self) -> list[str]:
        """Addresses that the machines need and somebody else listens on."""
        wanted = [(node.address, node.spec.native_port) for node in self.cassandra.nodes]
        wanted += [(service.address, service.port) for service in (*self.agents, self.coordinator)]
        return [f"{address}:{port}" for address, port in wanted if answers(address, port)]

    async def start(self) -> None:
        """Start everything and wait until it answers."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.cassandra.start())
            if self.store is not None:
                group.create_task(self.store.start())
        async with asyncio.TaskGroup() as group:
            for agent in self.agents:
                group.create_task(agent.start())
        await self.coordinator.start()
        if self.store is not None:
            await self.store.make_bucket(BUCKET)

    async def stop(self) -> None:
        """Stop everything, the coordinator first."""
        await self.coordinator.stop()
        for agent in self.agents:
            await agent.stop()
        await self.cassandra.stop()
        if self.store is not None:
            await self.store.stop()

    def destination(self) -> dict[str, object]:
        """The body of POST /{cluster}/backups/destinations."""
        if self.store is None:
            return {"provider": "local", "path": "demo"}
        return {
            "provider": "s3",
            "path": BUCKET,
            "endpoint": self.store.endpoint,
            "access_key": self.store.access_key,
            "access_secret": self.store.access_secret,
        }
