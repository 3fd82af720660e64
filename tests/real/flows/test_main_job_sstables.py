"""Every sort of SSTable: on several volumes, with numbers and with uuids in their names, BIG and BTI, and many rows."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import places
from tests.cluster.comparison import compare_every_column
from tests.cluster.rows import DataSet
from tests.cluster.scratch import with_other_spec
from tests.real.flows.shop import Shop

pytestmark = pytest.mark.timeout(900)
MANY = 200_000


def _digests(paths: Iterable[Path]) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


async def test_each_sstable_is_staged_on_the_volume_that_it_was_backed_up_from(shop: Shop) -> None:
    """Promise: with several data directories every SSTable's verified bytes wait beside the directory that they came
    from; cleaning takes them away."""
    service, agent = shop.service, shop.service.agents[0]
    tag = await service.backup({"shop_all": ["orders"]}, shop.local)
    came_from = {
        data.name: _digests(path for table in data.glob("shop_all/orders-*") for path in table.glob("*-Data.db"))
        for data in service.node.data_directories
    }
    assert all(came_from.values()), f"the rows lie in one data directory only: {came_from}"
    view = await agent.ask("GET", f"/v1/destinations/{shop.local}")
    target = {key: view[key] for key in ("repository_id", "cluster_id")} | {"destination": shop.local}
    host_id = (await agent.ask("GET", "/v1/node"))["node"]["host_id"]
    arguments = {"tag": tag, "source_host_id": host_id, "tables": {"shop_all": ["orders"]}, "source": target}
    await agent.do("preflight", arguments, job="staging")
    await agent.do("fetch", arguments, job="staging")
    for data in service.node.data_directories:
        held = data.parent / ".helenus" / data.name / "staging" / "held" / "shop_all" / "orders"
        assert _digests(held.glob("*-Data.db")) == came_from[data.name]
    await agent.do("clean", arguments, job="staging")
    assert service.staged() == []


SORTS: dict[str, list[tuple[str, dict[str, Any], str]]] = {
    places.CASSANDRA_50: [
        ("uuids", {"uuid_sstables": True}, "nb-"),
        ("bti", {"uuid_sstables": True, "bti": True}, "da-"),
    ],
    places.CASSANDRA_41: [("uuids", {"uuid_sstables": True}, "nb-")],
}
"""Version → prefix of keyspaces, changes of the node's settings, and how the names of its SSTables begin then."""


async def test_sstables_with_uuids_in_their_names_and_bti_ones_come_back(shop: Shop) -> None:
    """Promise: SSTables with uuids in their names, BIG and (5.0) BTI, are backed up and restored; a node that was
    restarted with such a setting still restores the older backup, whose SSTables have numbers."""
    for name, changes, begins in SORTS[shop.service.cluster.version]:
        await _come_back(shop, name, changes, begins)


async def _come_back(shop: Shop, name: str, changes: dict[str, Any], begins: str) -> None:
    service, cluster = shop.service, shop.service.cluster
    cluster.close_sessions()
    await service.node.stop()
    await with_other_spec(service.node, cluster, **changes).start()
    shop.session = await cluster.session()

    shop.execute("DROP TABLE shop_all.people", "TRUNCATE shop_all.orders")
    await service.restore(shop.tag, shop.local, "shop_all", column_families=["people", "orders"], truncate=True)
    await shop.is_whole("people", "orders")

    data = DataSet(seed=32, rows=150, version=cluster.version, replication=1, prefix=name)
    await data.create(shop.session)
    await data.write(shop.session)
    tag = await service.backup(data.keyspaces, shop.local)
    found = await service.inspected(shop.local)
    (backup,) = [each for (each_tag, _), each in found.items() if each_tag == tag]
    written = {file.rpartition("/")[2] for _, _, file in backup.files if file.endswith("-Data.db")}
    assert written
    assert {file.startswith(begins) for file in written} == {True}
    assert {len(file.split("-")[1]) > 20 for file in written} == {True}
    shop.execute(
        f'DROP KEYSPACE "{name}_Mixed"',
        f"DROP TABLE {name}_all.people",
        f"TRUNCATE {name}_all.orders",
        f"TRUNCATE {name}_all.indexed",
        f"DELETE FROM {name}_all.stock WHERE id = 5",
    )
    await service.restore(tag, shop.local, truncate=True)
    await compare_every_column(data, cluster.nodes)
    shop.execute(*(f"DROP KEYSPACE {keyspace}" for keyspace in _named(data)))


def _named(data: DataSet) -> list[str]:
    return [f'"{keyspace}"' for keyspace in data.keyspaces]


@pytest.mark.long
async def test_200_000_rows_come_back(shop: Shop) -> None:
    """Promise: 200,000 rows, every column of each compared."""
    service, cluster = shop.service, shop.service.cluster
    data = DataSet(seed=33, rows=MANY, version=cluster.version, replication=1, prefix="many")
    await data.create(shop.session)
    await data.write(shop.session)
    tag = await service.backup({"many_all": ["orders"]}, shop.local)
    shop.execute("DROP TABLE many_all.orders")
    await service.restore(tag, shop.local)
    compared = await compare_every_column(data, cluster.nodes, ["orders"])
    assert compared.at_quorum == MANY
    shop.execute(*(f"DROP KEYSPACE {keyspace}" for keyspace in _named(data)))
