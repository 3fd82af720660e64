"""A real Cassandra cluster on loopback, for tests, the demo and measurements.

In: a directory, how many nodes, what they have in common. Out: nodes 127.0.x.1 to .N, all up and NORMAL, each with four
fixed tokens so that a rebuilt node has the same. The directory may be used again: the nodes then keep their data.
"""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from cassandra.cluster import Session

from tests.cluster import places, sessions
from tests.cluster.cassandra import CassandraNode, NodeSpec, start_together
from tests.cluster.ports import free_network, free_port
from tests.cluster.processes import together

TOKENS_PER_NODE = 4


def tokens_of(position: int, nodes: int) -> tuple[int, ...]:
    """The tokens of one node: the ring in equal parts, dealt to the nodes in turn."""
    parts = nodes * TOKENS_PER_NODE
    step = 2**64 // parts
    return tuple(-(2**63) + step // 2 + step * (turn * nodes + position) for turn in range(TOKENS_PER_NODE))


class ScratchCluster:
    """`async with ScratchCluster(directory, nodes=3) as cluster`, or start() and stop()."""

    def __init__(
        self,
        directory: Path,
        *,
        nodes: int = 3,
        version: str = places.CASSANDRA_50,
        network: str | None = None,
        name: str = "scratch",
        outlives_us: bool = False,
        jolokia: bool = False,
        **common: Any,
    ) -> None:
        """`network` is the first three parts of the addresses (a free one by default).

        `common` are fields of `NodeSpec`, the same for every node (data_directories, authentication, bti, options …).
        """
        self.directory = directory
        self.name = name
        self.version = version
        self.network = network or free_network()
        addresses = [f"{self.network}.{number + 1}" for number in range(nodes)]
        self.nodes = [
            CassandraNode(
                NodeSpec(
                    version=version,
                    address=address,
                    tokens=tokens_of(position, nodes),
                    jmx_port=free_port(),
                    jolokia_port=free_port() if jolokia else None,
                    **common,
                ),
                directory / f"node{position + 1}",
                cluster_name=name,
                seeds=",".join(addresses),  # each a seed: none waits for another, so they start at once
                outlives_us=outlives_us,
            )
            for position, address in enumerate(addresses)
        ]
        self._sessions: list[Session] = []

    @property
    def contact_points(self) -> list[str]:
        """The nodes' addresses."""
        return [node.address for node in self.nodes]

    async def start(self, deadline: float = 180.0) -> None:
        """Start all nodes that do not run, and wait until each sees all others."""
        try:
            await start_together([node for node in self.nodes if not node.alive], deadline)
            await self.wait_until_whole(deadline)
        except BaseException:
            await self.kill()
            raise

    async def wait_until_whole(self, deadline: float = 120.0) -> None:
        """Wait until every node sees every other as UP (and each said of itself that it is NORMAL)."""
        everyone = set(self.contact_points)
        await together(*(node.wait_until_sees(everyone - {node.address}, deadline) for node in self.nodes))

    async def stop(self) -> None:
        """End the sessions and all nodes, in order (Cassandra drains its commit log)."""
        self.close_sessions()
        await together(*(node.stop() for node in self.nodes))

    async def kill(self) -> None:
        """End the sessions and all nodes with SIGKILL: right for a cluster whose data nobody wants."""
        self.close_sessions()
        for node in self.nodes:
            if node.alive:
                await node.kill()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    async def session(self) -> Session:
        """A session at QUORUM to all nodes, closed with the cluster."""
        return self._kept(await sessions.session_all(self.nodes))

    async def session_one(self, node: CassandraNode) -> Session:
        """A session at ONE to this node alone, closed with the cluster."""
        return self._kept(await sessions.session_one(node))

    def close_sessions(self) -> None:
        """Close the sessions that were opened here."""
        while self._sessions:
            sessions.close(self._sessions.pop())

    def _kept(self, session: Session) -> Session:
        self._sessions.append(session)
        return session


def with_other_spec(node: CassandraNode, cluster: ScratchCluster, **changes: Any) -> CassandraNode:
    """The same node (directory, name, seeds) with other settings; `node` must not run. It takes its place."""
    changed = CassandraNode(
        msgspec.structs.replace(node.spec, **changes),
        node.directory,
        cluster_name=cluster.name,
        seeds=",".join(cluster.contact_points),
    )
    cluster.nodes[cluster.nodes.index(node)] = changed
    return changed
