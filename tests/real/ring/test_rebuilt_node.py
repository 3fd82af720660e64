"""A node that was wiped and rebuilt: older backups stay what they were, and fit only a ring with the same tokens."""

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.backup_service import BackupService
from tests.cluster.cassandra import CassandraNode
from tests.cluster.comparison import compare_every_column
from tests.cluster.rows import DataSet
from tests.cluster.scratch import ScratchCluster, with_other_spec
from tests.cluster.stores import Seaweed
from tests.oracle.checker import Backup

pytestmark = pytest.mark.timeout(900)


def _sstables(node: CassandraNode) -> set[str]:
    return {
        str(path.relative_to(data)).partition("-")[0] + "/" + path.name
        for data in node.data_directories
        for path in data.glob("shop_*/*/*-Data.db")
    }


def _files(found: dict[tuple[str, str], Backup], tag: str) -> dict[str, dict[tuple[str, str, str], str]]:
    return {host_id: backup.files for (each, host_id), backup in found.items() if each == tag}


async def _rebuilt(cluster: ScratchCluster, node: CassandraNode) -> None:
    """Kill the node, wipe it, have the others forget it, and let it join with its old tokens; nothing is streamed."""
    cluster.close_sessions()
    await node.kill()
    node.wipe()
    others = [each for each in cluster.nodes if each is not node]
    for other in others:
        await other.wait_until_sees({each.address for each in others} - {other.address})
    await others[0].nodetool("assassinate", node.address)
    await node.start(180)
    await cluster.wait_until_whole()
    sessions = [await cluster.session_one(each) for each in cluster.nodes]

    async def same_schema() -> bool:
        found = {one.execute("SELECT schema_version FROM system.local").one().schema_version for one in sessions}
        return len(found) == 1

    await node.child.until("holding the others' schema", same_schema, 120)


@pytest.mark.long
async def test_backups_survive_a_node_that_was_rebuilt_with_the_same_tokens(tmp_path: Path, seaweed: Seaweed) -> None:
    """Promise: after a node of three was wiped and rebuilt (new host id, SSTable names that repeat), its agent's state
    lost with it, the oracle reads every byte of the older backup as it was, and each backup restores its own rows on
    every node, from S3 and from the nodes' own directories, without the destinations being added again. What that node
    kept of an on-server backup is gone: it is listed as partial, by host id, and not restored."""
    async with ScratchCluster(tmp_path / "cassandra", nodes=3, name="rebuilt", jolokia=True) as cluster:
        service = BackupService(cluster, tmp_path)
        await service.start()
        try:
            await _survives(service, cluster, seaweed)
        finally:
            await service.stop()


async def _survives(service: BackupService, cluster: ScratchCluster, seaweed: Seaweed) -> None:
    local, s3 = await service.local("rebuilt"), await service.bucket(seaweed, "rebuilt")
    session = await cluster.session()
    older = DataSet(seed=41, rows=200, version=cluster.version, replication=3)
    await older.create(session)
    await older.write(session)
    first = await service.backup(older.keyspaces, local, s3, keep=True)
    before = {place: _files(await service.inspected(place), first) for place in (local, s3)}
    assert len(before[s3]) == 3

    replaced = cluster.nodes[1]
    names = _sstables(replaced)
    old_host = await _host_id(service, 1)
    await _rebuilt(cluster, replaced)
    new_host = await _host_id(service, 1)
    assert new_host != old_host
    await service.lose_state_of(service.agents[1])
    kept = (await service.listed())[first]
    assert kept["status"] == "partial"
    assert [node["host_id"] for node in kept["missing_nodes"]] == [old_host]
    error = await service.refusal(first, None, truncate=True)
    assert [refusal["code"] for refusal in error["fields"]["refusals"]] == ["backup_incomplete"], error
    session = await cluster.session()
    for spec in older.tables:
        if spec.view_of is None:
            session.execute(f"TRUNCATE {spec.full_name}", timeout=120)
    newer = DataSet(seed=42, rows=200, version=cluster.version, replication=3)
    await newer.write(session)
    second = await service.backup(newer.keyspaces, local, s3)
    assert names & _sstables(replaced), "no SSTable's name repeats"

    for place in (local, s3):
        found = await service.inspected(place)
        assert _files(found, first) == before[place]
        assert {host_id for tag, host_id in found if tag == first} == set(before[place])
        assert new_host in {host_id for tag, host_id in found if tag == second}
    await service.restore(first, local, truncate=True)
    await compare_every_column(older, cluster.nodes)
    await service.restore(second, s3, truncate=True)
    await compare_every_column(newer, cluster.nodes)
    assert service.staged() == []


async def _host_id(service: BackupService, position: int) -> str:
    return str((await service.agents[position].ask("GET", "/v1/node"))["node"]["host_id"])


async def test_a_rebuilt_node_takes_its_backup_with_its_own_tokens_alone(tmp_path: Path) -> None:
    """Promise: a backup is not restored onto a ring with other tokens; the answer names the node and why. Rebuilt with
    its own tokens and without uuids in its SSTables' names, it takes the backup of SSTables that have them."""
    async with ScratchCluster(tmp_path / "cassandra", nodes=1, name="moved", uuid_sstables=True) as cluster:
        service = BackupService(cluster, tmp_path)
        await service.start()
        try:
            session = await cluster.session()
            data = DataSet(seed=43, rows=20, version=cluster.version, replication=1)
            await data.create(session)
            await data.write(session)
            local = await service.local("moved")
            tag = await service.backup(None, local)
            assert not any(_numbered(name) for name in _sstables(cluster.nodes[0]))
            tokens = cluster.nodes[0].spec.tokens
            await _wiped(cluster, tokens=tuple(token + 1 for token in tokens))

            error = await service.refusal(tag, local)
            assert error["code"] == "topology_differs"
            reason = error["fields"]["nodes"][cluster.nodes[0].address]
            assert "no node of the backup had its tokens" in reason
            assert "no live node has its tokens" in reason
            session = await cluster.session()
            assert "shop_all" not in session.cluster.metadata.keyspaces
            assert service.staged() == []
            assert set(await service.listed(local)) == {tag}

            await _wiped(cluster, tokens=tokens, uuid_sstables=False)
            await service.restore(tag, local)
            await compare_every_column(data, cluster.nodes)
            names = _sstables(cluster.nodes[0])
            assert names
            assert all(_numbered(name) for name in names)
            await service.judged()
        finally:
            await service.stop()


async def _wiped(cluster: ScratchCluster, **changes: Any) -> None:
    """Kill the only node, wipe it, and start it with other settings."""
    cluster.close_sessions()
    node = cluster.nodes[0]
    await node.kill()
    node.wipe()
    await with_other_spec(node, cluster, **changes).start()


def _numbered(name: str) -> bool:
    return name.split("-")[1].isdecimal()
