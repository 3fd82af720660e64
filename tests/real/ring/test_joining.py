"""One of three nodes that archive loses the setting, and a fourth joins: both are told of and brought to archive."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.cluster.backup_service import QUICK, BackupService
from tests.cluster.cassandra import CassandraNode, NodeSpec
from tests.cluster.ports import free_port
from tests.cluster.scratch import ScratchCluster, tokens_of
from tests.cluster.services import AgentProcess, share_token
from tests.real.ring.test_archiving import FOLLOWED, SOON, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1_500), pytest.mark.long]
SMALL = {"commitlog_segment_size": "1MiB"}
GAUGE = 'helenus_archiving_nodes_without{cluster="flows"}'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BackupService]:
    """Three nodes that archive; who doesn't is to be enrolled."""
    directory = tmp_path_factory.mktemp("joining")
    async with ScratchCluster(directory / "cluster", nodes=3, name="joining", options=SMALL, jolokia=True) as cluster:
        service = BackupService(cluster, directory)
        await service.start()
        try:
            body = {"destinations": {await service.local("logs"): {}}, "sleep": 0, "enroll": True}
            await service.api.follow(await service.api.post("/backups/pit", body), deadline=FOLLOWED)
            await cluster.wait_until_whole()
            session = await cluster.session()
            replication = "{'class': 'SimpleStrategy', 'replication_factor': 3}"
            session.execute(f"CREATE KEYSPACE log_ks WITH replication = {replication}", timeout=60)
            session.execute("CREATE TABLE log_ks.rows (id int PRIMARY KEY, body blob)", timeout=60)
            yield service
        finally:
            await service.stop()


def joined(cluster: ScratchCluster) -> CassandraNode:
    """A node that gets its data from the others when it starts; it is one of the cluster's from here on."""
    number = len(cluster.nodes) + 1
    spec = NodeSpec(
        version=cluster.version,
        address=f"{cluster.network}.{number}",
        tokens=tokens_of(number - 1, number),
        jmx_port=free_port(),
        options={**SMALL, "auto_bootstrap": True},
    )
    seeds = ",".join(cluster.contact_points)
    node = CassandraNode(spec, cluster.directory / f"node{number}", cluster_name=cluster.name, seeds=seeds)
    cluster.nodes.append(node)
    return node


def pids(service: BackupService) -> list[int]:
    """The nodes' processes."""
    return [node.child.pid for node in service.cluster.nodes]


async def without(service: BackupService) -> dict[str, str]:
    """Address → why, of the nodes that don't archive as they should."""
    told = await service.api.get("/backups/pit")
    return {node["address"]: node["why"] for node in told["nodes_without"]}


async def gauge(service: BackupService) -> float:
    """How many the metric tells of."""
    headers = {"Authorization": f"Bearer {service.coordinator.token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{service.coordinator.url}/metrics", headers=headers) as answer,
    ):
        lines = (await answer.text()).splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(GAUGE))


async def archiving_requests(service: BackupService, state: str) -> list[dict[str, Any]]:
    """Those that ended so, as their events name them."""
    events = await service.api.get("/backup-activity?filter_type=archiving")
    found = [event["request_id"] for event in events if event["status"] == state]
    return [await service.coordinator.ask("GET", f"/request/{request}/status") for request in found]


async def told_of(service: BackupService, node: CassandraNode) -> str:
    """Within a minute the node, and no other, is in the list, in the metric and in an event; why."""

    async def listed() -> str:
        found = await without(service)
        return found[node.address] if [*found] == [node.address] else ""

    async def measured() -> bool:
        return await gauge(service) == 1

    async def alarmed() -> bool:
        alarms = [each["details"]["error"] for each in await archiving_requests(service, "error")]
        return any([*alarm["fields"]["nodes"]] == [node.address] for alarm in alarms)

    why, _, _ = await asyncio.gather(
        until(SOON, "it is in the list", listed),
        until(SOON, "it is in the metric", measured),
        until(SOON, "there is an event", alarmed),
    )
    return str(why)


async def enrolled(service: BackupService, node: CassandraNode) -> None:
    """In time every node archives; of all requests the newest one restarted this node alone."""

    async def nobody_without() -> bool:
        told = await service.api.get("/backups/pit")
        return not told["nodes_without"] and "request_id" not in told

    await until(FOLLOWED, "all archive", nobody_without)
    newest, *_ = await archiving_requests(service, "success")
    assert newest["details"]["restarted"] == [node.address]
    assert (await service.api.get("/backups/pit"))["nodes"][node.address]["state"] == "on"


async def test_a_node_that_lost_the_setting_is_told_of_and_enrolled_alone(service: BackupService) -> None:
    """Promise: started with the properties of before, it is told of in the same three ways within a minute, then it is
    told again and restarted alone, with the properties that it had."""
    cluster = service.cluster
    cluster.close_sessions()
    node = cluster.nodes[1]
    properties = node.directory / "conf" / "commitlog_archiving.properties"
    ours = properties.read_text()
    properties.unlink()
    await node.stop()
    await node.start(300)  # which writes them as Cassandra is shipped
    assert properties.read_text() != ours
    before = pids(service)
    await told_of(service, node)
    await enrolled(service, node)
    assert [one != other for one, other in zip(before, pids(service), strict=True)] == [False, True, False]
    assert properties.read_text() == ours


async def test_a_node_that_joins_is_told_of_and_enrolled_alone(service: BackupService) -> None:
    """Promise: within a minute it is in nodes_without, in the metric and in an event, also while nobody configured its
    agent; once that is configured it is told to archive and restarted, no other one is, and its log is safe."""
    cluster = service.cluster
    cluster.close_sessions()
    node = joined(cluster)
    await node.start(300)
    assert "agent" in await told_of(service, node)
    before = pids(service)
    agent = AgentProcess(node, service.directory / f"agent{len(cluster.nodes)}", changes=QUICK)
    share_token([service.agents[0], agent])
    service.agents.append(agent)
    service.coordinator.agents.append(agent)
    await agent.start(90)
    await service.coordinator.restart()
    await enrolled(service, node)
    assert pids(service)[:-1] == before[:-1]
    assert pids(service)[-1] != before[-1]
    await cluster.wait_until_whole()
    insert = (session := await cluster.session()).prepare("INSERT INTO log_ks.rows (id, body) VALUES (?, ?)")
    for number in range(200):
        session.execute(insert, (number, bytes(40_000)))

    async def safe() -> bool:
        logs = await service.api.get("/backups/pit/logs")
        return set(logs) == set(cluster.contact_points) and None not in logs.values()

    await until(180, "each node's log is safe", safe)
    assert [path for path in agent.local_root.rglob("commitlogs/segments/**/*") if path.is_file()]
