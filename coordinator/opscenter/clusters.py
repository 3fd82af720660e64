"""Clusters and nodes. In: GETs. Out: what is configured, and what the agents tell of their nodes."""

from typing import Any

from aiohttp import web

from coordinator.model.cluster import ClusterNode
from coordinator.model.errors import NoSuchNode
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import NoSuchPath, answer

PROPERTIES = (
    "node_ip", "node_name", "host_id", "dc", "rack", "mode", "up", "token", "tokens", "data_held", "node_version",
    "agent", "free_space", "trouble", "stray_snapshots", "up_unknown",
)  # fmt: skip
"""What is told of a node; the last two only where there is something to tell."""


class Clusters:
    """GET /cluster-configs, GET /{cluster}/cluster, and nodes: all, one, and a single property of them."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def configs(self, request: web.Request) -> web.Response:
        """Cluster id → configuration. Clients use the keys; credentials are never part of it."""
        return answer(
            {
                cluster: {"name": entry.name, "agents": {"urls": entry.agents}}
                for cluster, entry in self._api.clusters.items()
            }
        )

    async def nodes(self, request: web.Request) -> web.Response:
        """The ring's members and configured agents."""
        return answer(await self._nodes(request))

    async def node(self, request: web.Request) -> web.Response:
        """GET /{cluster}/nodes/{node}: one of them, by its address. Raises `NoSuchNode`."""
        return answer(await self._named(request))

    async def node_property(self, request: web.Request) -> web.Response:
        """GET /{cluster}/nodes/{node}/{property}: the bare value; null where the node doesn't tell it."""
        self._api.cluster(request)
        name = _property(request)
        return answer((await self._named(request)).get(name))

    async def every_property(self, request: web.Request) -> web.Response:
        """GET /{cluster}/nodes/all/{property}: address → value."""
        self._api.cluster(request)
        name = _property(request)
        return answer({node["node_ip"]: node.get(name) for node in await self._nodes(request)})

    async def cluster(self, request: web.Request) -> web.Response:
        """GET /{cluster}/cluster: what its nodes come to. `data_held`: bytes, null while no node knows its own."""
        cluster = self._api.cluster(request)
        found = await self._api.orchestrator.nodes(cluster)
        held = [node.held_bytes for node in found if node.held_bytes is not None]
        return answer(
            {
                "id": cluster,
                "name": self._api.clusters[cluster].name,
                "node_count": len(found),
                "nodes_up": sum(node.up is True for node in found),
                "agents_up": sum(node.agent_up for node in found),
                "dcs": sorted({node.dc for node in found if node.dc}),
                "versions": sorted({node.version for node in found if node.version}),
                "data_held": sum(held) if held else None,
            }
        )

    async def _nodes(self, request: web.Request) -> list[dict[str, Any]]:
        found = await self._api.orchestrator.nodes(self._api.cluster(request))
        return [_node(node) for node in sorted(found, key=lambda node: (node.address, node.agent))]

    async def _named(self, request: web.Request) -> dict[str, Any]:
        asked = request.match_info["node"]
        for node in await self._nodes(request):
            if node["node_ip"] == asked:
                return node
        raise NoSuchNode(quirks.shown(asked))


def _property(request: web.Request) -> str:
    name = request.match_info["property"]
    if name not in PROPERTIES:
        raise NoSuchPath(f"a node has no property «{quirks.shown(name)}»; there are {', '.join(PROPERTIES)}")
    return name


def _node(node: ClusterNode) -> dict[str, Any]:
    """`data_held`: bytes of the node's live SSTables, null while its agent doesn't know them."""
    told: dict[str, Any] = {
        "node_ip": node.address,
        "node_name": node.address,
        "host_id": node.host_id,
        "dc": node.dc,
        "rack": node.rack,
        "mode": node.state.lower() or None,
        "up": node.up,
        "token": node.tokens[0] if node.tokens else None,
        "tokens": len(node.tokens),
        "data_held": node.held_bytes,
        "node_version": {"cassandra": node.version or None, "agent": node.agent_version or None},
        "agent": {"url": node.agent or None, "up": node.agent_up},
        "free_space": node.free_bytes,
        "trouble": node.trouble,
    }
    if node.strays:
        told["stray_snapshots"] = {
            "tags": node.strays,
            "message": "snapshots on the node that are named as backups and of which its agent knows nothing: "
            "it lists none of them, and neither restores nor clears them",
            "todo": "Bring back the agent's state directory if it was lost; else, when nobody needs them, clear each "
            "on the node with nodetool clearsnapshot -t <tag>.",
        }
    if node.up is None:
        told["up_unknown"] = node.up_unknown
    return told
