"""Clusters and nodes. In: GETs. Out: what is configured, and what the agents tell of their nodes."""

from typing import Any

from aiohttp import web

from coordinator.model.cluster import ClusterNode
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import answer


class Clusters:
    """GET /cluster-configs and GET /{cluster}/nodes."""

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
        found = await self._api.orchestrator.nodes(self._api.cluster(request))
        return answer([_node(node) for node in sorted(found, key=lambda node: (node.address, node.agent))])


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
