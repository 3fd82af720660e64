"""Nodes one by one, the cluster in a few numbers, and requests of a type."""

from typing import Any

import pytest

from agent.wire.destinations import ON_SERVER
from coordinator.model.cluster import ClusterNode
from coordinator.model.requests import NodePart, RequestState
from coordinator.opscenter import requests
from coordinator.opscenter.clusters import PROPERTIES
from tests.fast.coordinator.cluster_in_memory import ClusterInMemory, backup
from tests.fast.coordinator.conftest import NOW, Client

C = "/Test_Cluster"
TAG = "opscenter_adhoc_2017-03-17-15-06-09-UTC"


@pytest.fixture(autouse=True)
def ring(cluster: ClusterInMemory) -> None:
    first = ClusterNode("127.0.70.1", "h1", "http://127.0.70.1:61621", True, "dc1", "r1", "5.0.9", "0.1.0", "NORMAL")
    cluster.members = [
        ClusterNode("127.0.70.2", "h2", "", False, "dc2", up_unknown="nobody could be asked", strays=["opscenter_x"]),
        ClusterNode(**{**_fields(first), "up": True, "held_bytes": 7, "tokens": ["-9"]}),
    ]
    cluster.backups[ON_SERVER] = [backup(TAG, NOW, {"shop": ["orders"]})]


def _fields(node: ClusterNode) -> dict[str, Any]:
    return {name: getattr(node, name) for name in node.__struct_fields__}


async def test_a_node_is_the_same_alone_as_in_the_list(client: Client) -> None:
    """Promise: a node by its address, and each property of it, are what the list tells."""
    listed = await client.get(f"{C}/nodes")
    for node in listed:
        assert await client.get(f"{C}/nodes/{node['node_ip']}") == node
        for name in PROPERTIES:
            assert await client.get(f"{C}/nodes/{node['node_ip']}/{name}") == node.get(name)
    assert {name for node in listed for name in node} == set(PROPERTIES)
    for name in PROPERTIES:
        assert await client.get(f"{C}/nodes/all/{name}") == {node["node_ip"]: node.get(name) for node in listed}


@pytest.mark.parametrize(
    ("path", "code"),
    [("/10.9.9.9", "unknown_node"), ("/10.9.9.9/mode", "unknown_node"), ("/127.0.70.1/colour", "unknown_path"),
     ("/all/colour", "unknown_path"), ("/all", "unknown_node")],
)  # fmt: skip
async def test_what_no_node_is_or_has_is_a_404(client: Client, path: str, code: str) -> None:
    """Promise: a misspelt address or property is refused, and the error says what there is."""
    status, told = await client.ask("GET", f"{C}/nodes{path}")
    assert (status, told["code"]) == (404, code)


async def test_the_cluster_is_what_its_nodes_come_to(client: Client, cluster: ClusterInMemory) -> None:
    """Promise: sums over the nodes; what no node knows is null, not nothing."""
    told = await client.get(f"{C}/cluster")
    assert told == {
        "id": "Test_Cluster", "name": "Test Cluster", "node_count": 2, "nodes_up": 1, "agents_up": 1,
        "dcs": ["dc1", "dc2"], "versions": ["5.0.9"], "data_held": 7,
    }  # fmt: skip
    cluster.members = []
    assert (await client.get(f"{C}/cluster"))["data_held"] is None


async def test_requests_of_a_type_are_listed_newest_first_and_bounded(
    client: Client, cluster: ClusterInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: only those of the type, by state if asked, the newest first, and never more than the bound."""
    first, second, third = [await client.post(f"{C}/backups/run", {"keyspaces": ["shop"]}) for _ in range(3)]
    await cluster.end(second, RequestState.ERROR)
    await client.post(f"{C}/backups/restore/{TAG}")
    listed = await client.get(f"{C}/request/backup/status")
    assert [each["id"] for each in listed] == [third, second, first]
    assert [each["state"] for each in listed] == ["running", "error", "running"]
    assert [each["id"] for each in await client.get(f"{C}/request/backup/status?state=error")] == [second]
    assert [each["id"] for each in await client.get(f"{C}/request/backup/status?count=1")] == [third]
    assert await client.get(f"{C}/request/backup/status?count=0") == []
    assert await client.get(f"{C}/request/delete_dry_run/status") == []
    monkeypatch.setattr(requests, "MOST_LISTED", 2)
    assert [each["id"] for each in await client.get(f"{C}/request/backup/status?count=9")] == [third, second]


async def test_a_list_says_of_what_runs_what_its_own_status_says(client: Client, cluster: ClusterInMemory) -> None:
    """Promise: who looks what runs reads of each request how far it is, not that no node has begun."""
    request = await client.post(f"{C}/backups/run", {"keyspaces": ["shop"]})
    running = RequestState.RUNNING
    cluster.parts[request] = [NodePart("127.0.70.1", "h1", "id-1", running, phase="snapshot")]
    [listed] = await client.get(f"{C}/request/backup/status?state=running")
    own = await client.get(f"/request/{request}/status")
    assert listed["details"] == {"message": own["details"]["message"]} == {"message": "taking snapshots"}


@pytest.mark.parametrize("path", ["/request/nothing/status", "/request/backup/status?state=ended"])
async def test_a_type_or_state_that_is_none_is_refused_with_those_there_are(client: Client, path: str) -> None:
    """Promise: a misspelt word is no empty list."""
    status, told = await client.ask("GET", C + path)
    assert (status, told["type"], "must be one of" in told["message"]) == (400, "InvalidArguments", True)


async def test_a_backup_that_is_there_has_no_graphs(client: Client) -> None:
    """Promise: an empty object for a known tag; for an unknown tag or destination the error that says so."""
    assert await client.get(f"{C}/backups/graphs/{TAG}/{ON_SERVER}") == {}
    status, told = await client.ask("GET", f"{C}/backups/graphs/opscenter_other/{ON_SERVER}")
    assert (status, told["code"]) == (404, "unknown_backup")
    status, told = await client.ask("GET", f"{C}/backups/graphs/{TAG}/nowhere")
    assert (status, told["code"]) == (404, "unknown_destination")
