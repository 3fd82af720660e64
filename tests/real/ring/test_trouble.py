"""Trouble as it comes on three real nodes: an agent that is down or orders another node, a Cassandra that stands still,
a node left out."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.cluster.backup_service import QUICK, BackupService
from tests.cluster.comparison import RowsDiffer, compare_every_column
from tests.cluster.opscenter import RequestFailed
from tests.cluster.rows import DataSet
from tests.cluster.scratch import ScratchCluster
from tests.cluster.services import AgentProcess

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
TABLES = ("orders", "visits")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    three_nodes_50: ScratchCluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BackupService]:
    """An agent that asks nodetool beside each of the session's three nodes, and a coordinator."""
    directory = tmp_path_factory.mktemp("trouble")
    agents = [
        AgentProcess(node, directory / f"agent{number}", changes=QUICK)
        for number, node in enumerate(three_nodes_50.nodes, 1)
    ]
    service = BackupService(three_nodes_50, directory, agents=agents)
    await service.start()
    yield service
    await service.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def data(service: BackupService) -> AsyncIterator[DataSet]:
    """Two tables, every row on every node."""
    cluster = service.cluster
    data = DataSet(seed=17, rows=200, version=cluster.version, replication=3, prefix=f"away{secrets.token_hex(3)}")
    data.tables = [spec for spec in data.tables if spec.name in TABLES]
    session = await cluster.session()
    await data.create(session)
    await data.write(session)
    yield data
    for name in data.keyspaces:
        await asyncio.to_thread(session.execute, f'DROP KEYSPACE IF EXISTS "{name}"', timeout=120)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def destination(service: BackupService) -> str:
    """A directory of each node."""
    return await service.local("away")


async def _refused_and_forced(service: BackupService, data: DataSet, destination: str, reason: str) -> None:
    """A backup without the third node: refused with its name and the reason; by force it is partial and says so."""
    away = service.cluster.nodes[2].address
    body = {"keyspaces": data.keyspaces[:1], "destinations": {destination: {}}}
    code, refused = await service.api.refused("POST", "/backups/run", body)
    assert (code, refused["code"], refused["brief"]) == (409, "missing_nodes", "error"), refused
    assert list(refused["fields"]["reasons"]) == [away]
    assert reason in refused["fields"]["reasons"][away]
    request = await service.api.post("/backups/run", {**body, "force": True})
    with pytest.raises(RequestFailed) as failed:
        await service.api.follow(request, deadline=120)
    assert (failed.value.status["state"], failed.value.status["partial"]) == ("error", True)
    tag = failed.value.status["tag"]
    listed = (await service.listed(destination))[tag]
    assert (listed["status"], [node["address"] for node in listed["missing_nodes"]]) == ("partial", [away])
    assert service.snapshots() == set()


async def test_an_agent_that_is_down_is_named_and_by_force_the_others_go_on(
    service: BackupService, data: DataSet, destination: str
) -> None:
    """Promise: missing_nodes names the node and that its agent doesn't answer; with force the backup is partial, and
    the next one, with all nodes, is whole."""
    await service.agents[2].stop()
    try:
        await _refused_and_forced(service, data, destination, "its agent doesn't answer")
    finally:
        await service.agents[2].start(90)
    assert await service.backup(data.keyspaces[:1], destination) in await service.listed(destination)
    await service.inspected(destination)


async def test_a_cassandra_that_stands_still_is_named_and_by_force_the_others_go_on(
    service: BackupService, data: DataSet, destination: str
) -> None:
    """Promise: a Cassandra that was stopped (SIGSTOP) holds no request up: its node is named, and once it goes on the
    next backup is whole."""
    node = service.cluster.nodes[2]
    node.pause()
    try:
        await _refused_and_forced(service, data, destination, "its Cassandra doesn't")
    finally:
        node.resume()
    await service.cluster.wait_until_whole()
    await node.child.until("seen by its agent", lambda: _up(service), 120)
    assert await service.backup(data.keyspaces[:1], destination) in await service.listed(destination)
    await service.inspected(destination)


async def _up(service: BackupService) -> bool:
    return all(node["up"] for node in await service.api.get("/nodes"))


async def test_an_agent_that_orders_another_node_has_nothing_emptied(
    service: BackupService, data: DataSet, destination: str
) -> None:
    """Promise: with another node's nodetool port a restore with truncate is refused by its preflight, with every row
    still there, and so is a backup; the list of nodes shows why. With its own port the restore goes through."""
    tag = await service.backup(data.keyspaces[:1], destination)
    agent, other = service.agents[1], service.cluster.nodes[2]
    right = agent.changes
    await agent.stop()
    agent.changes = {**right, "cassandra": {"nodetool": {"port": other.spec.jmx_port}}}
    await agent.start(90)
    try:
        with pytest.raises(RequestFailed) as failed:
            await service.restore(tag, destination, truncate=True)
        [refusal] = failed.value.error["fields"]["refusals"]
        assert (refusal["code"], refusal["lifted_by"]) == ("control_of_another_node", None)
        assert f"127.0.0.1:{other.spec.jmx_port}" in refusal["message"]
        await compare_every_column(data, service.cluster.nodes)
        await agent.node.child.until("shown as its trouble", lambda: _astray(service, agent.address), 120)
        with pytest.raises(RequestFailed) as failed:
            await service.backup(data.keyspaces[:1], destination)
        assert "control_of_another_node" in str(failed.value.status["details"])
    finally:
        await agent.stop()
        agent.changes = right
        await agent.start(90)
    await service.restore(tag, destination, truncate=True)
    await compare_every_column(data, service.cluster.nodes)
    assert service.snapshots() == set()
    await service.inspected(destination)


async def _astray(service: BackupService, address: str) -> bool:
    nodes = {node["node_ip"]: node for node in await service.api.get("/nodes")}
    return bool((nodes[address]["trouble"] or {}).get("code") == "control_of_another_node" and nodes[address]["up"])


async def test_an_excluded_node_is_emptied_and_not_restored(
    service: BackupService, data: DataSet, destination: str
) -> None:
    """Promise: with excluded-nodes two nodes have every row again at ONE, the third none, and the report says so;
    without truncate afterwards, and nobody left out, it has them too."""
    tag = await service.backup(data.keyspaces[:1], destination)
    left_out = service.cluster.nodes[2]
    status = await service.restore(tag, destination, truncate=True, excluded_nodes=[left_out.address])
    told = status["details"]
    assert told["nodes_not_restored"] == [left_out.address]
    assert any(left_out.address in warning and "truncate" in warning for warning in told["warnings"]), told["warnings"]
    others = [node for node in service.cluster.nodes if node is not left_out]
    await compare_every_column(data, others)
    with pytest.raises(RowsDiffer):
        await compare_every_column(data, [left_out])
    await service.restore(tag, destination)
    await compare_every_column(data, service.cluster.nodes)
    assert service.staged() == []
