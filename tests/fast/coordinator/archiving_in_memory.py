"""Archiving that is only data. In: orders. Out: requests of the cluster in memory; nodes as the test put them."""

from coordinator.model.archiving import ArchivingStatus, NodeArchiving
from coordinator.model.orders import ArchivingOrder, places_of
from coordinator.model.requests import RequestKind
from coordinator.orchestrate.archiving.nodes import safe_in
from coordinator.orchestrate.protocol import ArchivingControl
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory


class ArchivingInMemory:
    """Implements `ArchivingControl`."""

    def __init__(self, cluster: ClusterInMemory) -> None:
        self._cluster = cluster
        self.order: ArchivingOrder | None = None
        self.nodes: list[NodeArchiving] = []

    async def start(self, cluster: str, order: ArchivingOrder) -> str:
        self.order = order
        return await self._cluster.begin(cluster, RequestKind.ARCHIVING, order, "", places_of(order), {})

    async def status(self, cluster: str) -> ArchivingStatus:
        return ArchivingStatus(self.order is not None and self.order.enabled, self.order, self.nodes)

    async def logs(self, cluster: str, destination: str | None) -> dict[str, float | None]:
        return {node.address: safe_in(node, destination) for node in self.nodes}

    def seen(self, cluster: str) -> list[NodeArchiving]:
        return self.nodes


def controls(archiving: ArchivingInMemory) -> ArchivingControl:
    """The same; the type checker proves that it fits."""
    return archiving
