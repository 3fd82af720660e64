"""The harness itself: what every other real test takes on trust."""

import shutil

import pytest

from tests.cluster import places
from tests.cluster.comparison import RowsDiffer, compare_every_column
from tests.cluster.rows import FEW, DataSet
from tests.cluster.scratch import ScratchCluster

ROWS = 500


async def test_an_emptied_replica_is_found_though_the_others_hold_every_row(three_nodes_50: ScratchCluster) -> None:
    """Promise: rows compare equal on each of three nodes, and not any more when one replica of one table is empty."""
    cluster = three_nodes_50
    session = await cluster.session()
    data = DataSet(seed=1, rows=ROWS, version=cluster.version, replication=3, prefix="three")
    await data.create(session)
    await data.write(session)

    equal = await compare_every_column(data, cluster.nodes)
    assert len(equal.at_one) == 3
    assert min(equal.at_one.values()) > ROWS
    # Each row is on every node but those of the keyspace with one copy, which the three share.
    assert sum(equal.at_one.values()) == 3 * equal.at_quorum - 2 * FEW

    emptied = cluster.nodes[1]
    await emptied.nodetool("flush")
    await emptied.stop()
    for directory in emptied.table_directories("three_all", "orders"):
        shutil.rmtree(directory)
    await emptied.start()
    await cluster.wait_until_whole()
    with pytest.raises(
        RowsDiffer, match=f"three_all.orders at ONE on {emptied.address}: of {ROWS} rows {ROWS} missing"
    ):
        await compare_every_column(data, cluster.nodes)
    others = [node for node in cluster.nodes if node is not emptied]
    for node in others:
        await compare_every_column(data, [node], ["orders"])


async def test_a_changed_value_and_a_surplus_row_are_found(one_node_50: ScratchCluster) -> None:
    """Promise: one other value in one column, or one row too many, makes the comparison fail."""
    session = await one_node_50.session()
    data = DataSet(seed=2, rows=50, version=places.CASSANDRA_50, replication=1, prefix="changed")
    await data.create(session)
    await data.write(session)
    await compare_every_column(data, one_node_50.nodes)

    session.execute("UPDATE changed_single.things SET text = 'other' WHERE id = 7")
    with pytest.raises(RowsDiffer, match="0 missing, 0 too many, 1 different"):
        await compare_every_column(data, one_node_50.nodes)
    session.execute("DELETE FROM changed_single.things WHERE id = 7")
    session.execute("INSERT INTO changed_all.orders (customer, id) VALUES ('nobody', 1)")
    with pytest.raises(RowsDiffer, match="1 missing, 0 too many"):
        await compare_every_column(data, one_node_50.nodes, ["things"])
    with pytest.raises(RowsDiffer, match="0 missing, 1 too many"):
        await compare_every_column(data, one_node_50.nodes, ["orders"])


async def test_the_same_data_compares_equal_on_cassandra_4_1(one_node_41: ScratchCluster) -> None:
    """Promise: schema, rows and comparison work on 4.1 too, and nodetool answers there."""
    session = await one_node_41.session()
    data = DataSet(seed=3, rows=ROWS, version=places.CASSANDRA_41, replication=1, prefix="old")
    await data.create(session)
    await data.write(session)
    equal = await compare_every_column(data, one_node_41.nodes)
    assert equal.at_quorum == equal.at_one[one_node_41.nodes[0].address]
    assert places.CASSANDRA_41 in await one_node_41.nodes[0].nodetool("version")
