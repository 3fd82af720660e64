"""The main job on three real nodes: every replica is restored by its own agent, and compared at ONE by itself."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cassandra.cluster import Session

from tests.cluster import places
from tests.cluster.backup_service import BackupService
from tests.cluster.comparison import compare_every_column
from tests.cluster.rows import DataSet
from tests.cluster.scratch import ScratchCluster
from tests.cluster.state import State, state_of
from tests.cluster.stores import Seaweed

pytestmark = pytest.mark.timeout(900)
PREFIX = "trio"
ROWS = 300
TABLES = ("orders", "people", "visits", "fading", "stock", "stock_by_state", '"Quoted_Table"', "things")
"""No indexes: each imports its own part of them on one node as on three."""
LOSSES = (
    'DROP KEYSPACE "trio_Mixed"',
    "DROP TABLE trio_all.people",
    "TRUNCATE trio_all.orders",
    "TRUNCATE trio_all.visits",
    "INSERT INTO trio_all.fading (part, id, first) VALUES (0, 3, 'not gone')",
    "DELETE FROM trio_all.stock WHERE id = 5",
    "UPDATE trio_all.stock SET state = 'lost' WHERE id = 6",
    "INSERT INTO trio_single.things (id, text) VALUES (999999, 'new since')",
)
_DATA = re.compile(r"/nodes/([^/]+)/data/")


@dataclass
class Trio:
    """Three nodes that hold the rows of `data`, with agents and a coordinator."""

    service: BackupService
    session: Session
    data: DataSet

    def execute(self, *statements: str) -> None:
        for statement in statements:
            self.session.execute(statement, timeout=120)

    async def lose_and_restore(self, tag: str, place: str | None) -> None:
        """Lose something of every kind and restore the backup: rows, values and tombstones are back on each node."""
        self.execute(*LOSSES)
        await self.service.restore(tag, place, truncate=True)
        await compare_every_column(self.data, self.service.cluster.nodes)
        await self.data.write_the_deleted_again(self.session)
        await compare_every_column(self.data, self.service.cluster.nodes, ["fading"])
        assert self.service.staged() == []

    async def become(self, data: DataSet) -> None:
        """Other rows in the same tables."""
        self.execute(*(f"TRUNCATE {spec.full_name}" for spec in data.tables if spec.view_of is None))
        self.data = data
        await data.write(self.session, self.service.cluster.nodes)

    def keeping(self, tag: str) -> list[bool]:
        """Whether each node holds the snapshot."""
        return [
            any(any(data.glob(f"*/*/snapshots/{tag}")) for data in node.data_directories)
            for node in self.service.cluster.nodes
        ]

    async def states(self, restored: Callable[[str, str], bool], *, flush: bool) -> list[State]:
        """What each node holds of our keyspaces but for what is `restored`, with nothing left in memtables first."""
        found = []
        for node in self.service.cluster.nodes:
            if flush:
                await node.nodetool("flush")
            session = await self.service.cluster.session_one(node)
            found.append(await state_of(node, session, lambda *name: not name[0].startswith(PREFIX) or restored(*name)))
        return found

    async def restore_only(self, restored: Callable[[str, str], bool], tag: str, place: str, *below: str) -> None:
        """Restore a keyspace or a table; on no node anything else changes."""
        before = await self.states(restored, flush=True)
        assert all(any(table.sstables for table in state.tables.values()) for state in before)
        await self.service.restore(tag, place, *below, truncate=True)
        after = await self.states(restored, flush=False)
        assert [one.changes(other) for one, other in zip(before, after, strict=True)] == [[], [], []]

    async def stored(self, place: str) -> dict[str, int]:
        """Host id → bytes of data that the node has in a destination."""
        found = dict.fromkeys(await self.hosts(), 0)
        for key, size in (await self.service.sizes(place)).items():
            if ours := _DATA.search(key):
                found[ours[1]] += size
        return found

    async def hosts(self) -> list[str]:
        """The nodes' host ids."""
        return [str((await agent.ask("GET", "/v1/node"))["node"]["host_id"]) for agent in self.service.agents]


def _data(cluster: ScratchCluster, seed: int) -> DataSet:
    data = DataSet(seed=seed, rows=ROWS, version=cluster.version, replication=3, prefix=PREFIX)
    data.tables = [spec for spec in data.tables if spec.name in TABLES]
    return data


@asynccontextmanager
async def _trio(cluster: ScratchCluster, directory: Path) -> AsyncIterator[Trio]:
    service = BackupService(cluster, directory)
    await service.start()
    try:
        session = await cluster.session()
        data = _data(cluster, seed=51)
        await data.create(session)
        for node in cluster.nodes:
            await node.nodetool("disableautocompaction")
        await data.write(session, cluster.nodes)
        yield Trio(service, session, data)
        for keyspace in data.keyspaces:
            session.execute(f'DROP KEYSPACE "{keyspace}"', timeout=120)
    finally:
        await service.stop()


async def test_three_nodes_restore_what_they_keep_and_what_was_copied_to_s3_and_delete_each(
    three_nodes_50: ScratchCluster, seaweed: Seaweed, tmp_path: Path
) -> None:
    """Promise: of three nodes each restores its own part of an on-server backup. Copied to a bucket that they share it
    outlives the nodes' own; a keyspace and a table of it restore and change nothing else on any node. Each delete frees
    on every node what no other backup needs, and the last one all data."""
    async with _trio(three_nodes_50, tmp_path) as trio:
        service = trio.service
        s3 = await service.bucket(seaweed, "three-nodes")
        hosts = await trio.hosts()
        first = await service.backup(trio.data.keyspaces)
        assert trio.keeping(first) == [True, True, True]
        await trio.lose_and_restore(first, None)
        older = trio.data

        await service.sync(first, s3)
        assert set(await service.inspected(s3)) == {(first, host) for host in hosts}
        await trio.become(_data(service.cluster, seed=52))
        second = await service.backup(trio.data.keyspaces, s3)
        assert set(await service.inspected(s3)) == {(tag, host) for tag in (first, second) for host in hosts}

        await service.delete(first, None)
        assert trio.keeping(first) == [False, False, False]
        assert set(await service.listed()) == set()
        assert set(await service.listed(s3)) == {first, second}
        await trio.restore_only(lambda keyspace, _: keyspace == "trio_all", first, s3, "trio_all")
        in_all = [spec.name for spec in older.tables if spec.keyspace == "trio_all"]
        await compare_every_column(older, service.cluster.nodes, in_all)
        await compare_every_column(trio.data, service.cluster.nodes, ["things", '"Quoted_Table"'])
        await trio.restore_only(lambda *name: name == ("trio_single", "things"), first, s3, "trio_single", "things")
        await compare_every_column(older, service.cluster.nodes, ["things", *in_all])

        before = await trio.stored(s3)
        freed = (await service.delete(first, s3))["details"]
        after = await trio.stored(s3)
        assert all(after[host] < before[host] for host in hosts), (before, after)
        assert sum(before.values()) - sum(after.values()) == freed["bytes_freed"]
        assert set(await service.inspected(s3)) == {(second, host) for host in hosts}
        trio.execute('DROP KEYSPACE "trio_Mixed"')
        await service.restore(second, s3, "trio_Mixed")
        await compare_every_column(trio.data, service.cluster.nodes, ['"Quoted_Table"'])

        await service.delete(second, s3)
        assert await trio.stored(s3) == dict.fromkeys(hosts, 0)
        assert await service.inspected(s3) == {}
        assert await service.listed(s3) == {}


@pytest.mark.long
async def test_three_nodes_of_4_1_come_back_from_a_destination(tmp_path: Path) -> None:
    """Promise: with three nodes of Cassandra 4.1 a backup in their local directories restores every replica."""
    async with (
        ScratchCluster(tmp_path / "cassandra", nodes=3, name="three_41", version=places.CASSANDRA_41) as cluster,
        _trio(cluster, tmp_path) as trio,
    ):
        local = await trio.service.local("three")
        tag = await trio.service.backup(None, local)
        assert set(await trio.service.inspected(local)) == {(tag, host) for host in await trio.hosts()}
        await trio.lose_and_restore(tag, local)
