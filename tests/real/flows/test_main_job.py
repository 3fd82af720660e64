"""Backup, loss and restore on a real node of each version, from every place that a backup can lie."""

import pytest

from tests.real.flows.shop import Shop

pytestmark = pytest.mark.timeout(900)


async def test_a_whole_cluster_comes_back_from_a_local_destination(shop: Shop) -> None:
    """Promise: a backup of everything restores everything: mixed-case and quoted names, UDT, collections, counters, TTL
    (WRITETIME and TTL compared), tombstones of columns, rows, ranges and partitions from SSTables of their own, 2i and
    SAI indexes and a materialized view queried, from two data directories and SSTables with numbers in their names; a
    dropped keyspace, a dropped empty keyspace and a dropped table with its type are made again."""
    service = shop.service
    assert set(await service.listed(shop.local)) == set(await service.listed()) == {shop.tag}
    shop.damage()
    status = await service.restore(shop.tag, shop.local, truncate=True)
    assert status["state"] == "success"
    await shop.is_whole()
    await shop.tombstones_hold()
    keyspaces = {row.keyspace_name for row in shop.session.execute("SELECT keyspace_name FROM system_schema.keyspaces")}
    assert keyspaces >= {"shop_all", "shop_Mixed", "shop_single", "shop_empty"}
    assert service.staged() == []
    [backup] = (await service.inspected(shop.local)).values()
    assert backup.tag == shop.tag
    data_files = {file for _, _, file in backup.files if file.endswith("-Data.db")}
    assert all(file.split("-")[1].isdecimal() for file in data_files), data_files


async def test_a_copied_snapshot_goes_unless_it_was_to_be_kept(shop: Shop) -> None:
    """Promise: with destinations named the snapshot goes after the copy, unless OPSC_ON_SERVER is named too."""
    service = shop.service
    assert service.snapshots() == {shop.tag}
    tag = await service.backup({"shop_single": []}, shop.local)
    assert service.snapshots() == {shop.tag}
    assert set(await service.listed(shop.local)) == {shop.tag, tag}
    assert set(await service.listed()) == {shop.tag}


async def test_one_keyspace_comes_back_and_nothing_else_changes(shop: Shop) -> None:
    """Promise: a restore of one keyspace gives back its tables, views and indexes; rows, schema and SSTables of every
    other keyspace are the same before and after."""
    shop.execute(
        "TRUNCATE shop_all.orders",
        "DELETE FROM shop_all.stock WHERE id = 5",
        "UPDATE shop_all.indexed SET state = 'back' WHERE id = 8",
        "UPDATE shop_single.things SET text = 'newer than the backup' WHERE id = 1",
    )
    others = await shop.flushed_state(lambda keyspace, _: keyspace == "shop_all")
    assert any(table.sstables for table in others.tables.values())
    await shop.service.restore(shop.tag, shop.local, "shop_all", truncate=True)
    assert others.changes(await shop.state(lambda keyspace, _: keyspace == "shop_all")) == []
    await shop.is_whole(*(spec.name for spec in shop.data.tables if spec.keyspace == "shop_all"))
    await shop.service.restore(shop.tag, shop.local, "shop_single", truncate=True)


async def test_one_table_comes_back_with_its_view_and_nothing_else_changes(shop: Shop) -> None:
    """Promise: a restore of one table of several gives back it and its view, queried, also one that was dropped; rows,
    schema and SSTables of its neighbours are the same before and after. So it is by the path and by column-families,
    and with quoted names."""
    shop.execute(
        "DELETE FROM shop_all.stock WHERE id = 5",
        "UPDATE shop_all.stock SET state = 'lost' WHERE id = 6",
        "UPDATE shop_all.indexed SET text = 'newer than the backup' WHERE id = 8",
    )

    def restored(keyspace: str, table: str) -> bool:
        return keyspace == "shop_all" and table in {"stock", "stock_by_state"}

    others = await shop.flushed_state(restored)
    await shop.service.restore(shop.tag, shop.local, "shop_all", "stock", truncate=True)
    assert others.changes(await shop.state(restored)) == []
    await shop.is_whole("stock")
    shop.execute("DROP MATERIALIZED VIEW shop_all.stock_by_state")
    await shop.service.restore(shop.tag, shop.local, "shop_all", "stock", truncate=True)
    await shop.is_whole("stock")

    await shop.service.restore(shop.tag, shop.local, "shop_all", column_families=["indexed"], truncate=True)
    await shop.is_whole("indexed")
    shop.execute('DROP TABLE "shop_Mixed"."Quoted_Table"')
    await shop.service.restore(shop.tag, shop.local, "shop_Mixed", "Quoted_Table")
    await shop.is_whole('"Quoted_Table"')


async def test_deleted_rows_come_back_only_with_truncate(shop: Shop) -> None:
    """Promise: without truncate a restore merges: newer deletes and writes win, and so says the answer. With truncate
    the table is exactly what it was."""
    shop.execute(
        "DELETE FROM shop_single.things WHERE id = 7",
        "UPDATE shop_single.things SET text = 'newer' WHERE id = 8",
        "INSERT INTO shop_single.things (id, text) VALUES (999999, 'new since')",
    )
    status = await shop.service.restore(shop.tag, shop.local, "shop_single", "things")
    assert "merged" in str(status["details"]["warnings"])
    rows = {row.id: row.text for row in shop.session.execute("SELECT id, text FROM shop_single.things")}
    assert 7 not in rows
    assert (rows[8], rows[999999]) == ("newer", "new since")
    assert len(rows) == shop.counts["things"]
    await shop.service.restore(shop.tag, shop.local, "shop_single", "things", truncate=True)
    await shop.is_whole("things")


async def test_an_on_server_backup_restores_and_its_copy_in_s3_too(shop: Shop) -> None:
    """Promise: what stays on the nodes is restored from there; synced to S3 it is restored from there, also after the
    on-server backup was deleted together with its snapshot."""
    service = shop.service
    tag = await service.backup(["shop_all", "shop_Mixed", "shop_single"])
    assert tag in service.snapshots()
    assert tag in await service.listed()
    shop.damage()
    await service.restore(tag, None, truncate=True)
    await shop.is_whole()
    await shop.tombstones_hold()
    assert service.staged() == []

    await service.sync(tag, shop.s3)
    assert tag in await service.listed(shop.s3)
    await service.delete(tag, None)
    assert tag not in service.snapshots()
    assert tag not in await service.listed()
    shop.execute('DROP KEYSPACE "shop_Mixed"', "DROP TABLE shop_all.people", "TRUNCATE shop_all.orders")
    await service.restore(tag, shop.s3, truncate=True)
    await shop.is_whole()
    assert {backup for backup, _ in await service.inspected(shop.s3)} == {tag}
