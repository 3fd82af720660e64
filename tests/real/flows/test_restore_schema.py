"""What a restore does when the live schema is not the backup's."""

from typing import Any

import pytest

from tests.real.flows.shop import Shop

pytestmark = pytest.mark.timeout(900)
REPLICATION = "WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}"


def _rows(shop: Shop, table: str) -> set[tuple[Any, ...]]:
    return {tuple(row) for row in shop.session.execute(f"SELECT * FROM {table}")}


async def test_a_table_with_other_columns_is_refused_with_both_texts_and_replaced_with_force_schema(shop: Shop) -> None:
    """Promise: a column that was added or dropped, a changed type and a user type with another field are each refused,
    with the backup's text and the live one, and nothing is changed; with force_schema the tables are replaced by the
    backup's and hold its rows."""
    service = shop.service
    shop.execute(
        f"CREATE KEYSPACE forced {REPLICATION}",
        "CREATE TYPE forced.pair (one int)",
        "CREATE TABLE forced.added (id int PRIMARY KEY, text text)",
        "CREATE TABLE forced.lost (id int PRIMARY KEY, text text, more text)",
        "CREATE TABLE forced.typed (id int PRIMARY KEY, value text)",
        "CREATE TABLE forced.paired (id int PRIMARY KEY, both frozen<pair>)",
        "CREATE TABLE forced.same (id int PRIMARY KEY, text text)",
        "INSERT INTO forced.added (id, text) VALUES (1, 'one')",
        "INSERT INTO forced.lost (id, text, more) VALUES (1, 'one', 'more')",
        "INSERT INTO forced.typed (id, value) VALUES (1, 'one')",
        "INSERT INTO forced.paired (id, both) VALUES (1, {one: 1})",
        "INSERT INTO forced.same (id, text) VALUES (1, 'one')",
    )
    tables = ("added", "lost", "typed", "paired", "same")
    rows = {table: _rows(shop, f"forced.{table}") for table in tables}
    tag = await service.backup(["forced"], shop.local)
    shop.execute(
        "ALTER TABLE forced.added ADD extra int",
        "ALTER TABLE forced.lost DROP more",
        "DROP TABLE forced.typed",
        "CREATE TABLE forced.typed (id int PRIMARY KEY, value int)",
        "INSERT INTO forced.typed (id, value) VALUES (2, 2)",
        "ALTER TYPE forced.pair ADD two int",
        "INSERT INTO forced.paired (id, both) VALUES (2, {one: 1, two: 2})",
    )
    before = await shop.flushed_state(lambda keyspace, _: keyspace != "forced")
    error = await service.refusal(tag, shop.local, "forced", truncate=True)
    assert error["code"] == "restore_refused"
    found = {refusal["message"].split()[0]: refusal for refusal in error["fields"]["refusals"]}
    assert set(found) == {"forced.added", "forced.lost", "forced.typed", "forced.paired"}
    for refusal in found.values():
        assert refusal["lifted_by"] == "force_schema"
        assert "CREATE TABLE forced." in refusal["fields"]["backup"]
        assert "CREATE TABLE forced." in refusal["fields"]["live"]
        assert refusal["fields"]["backup"] != refusal["fields"]["live"]
    texts = {name: (refusal["fields"]["backup"], refusal["fields"]["live"]) for name, refusal in found.items()}
    assert ["extra int" in text for text in texts["forced.added"]] == [False, True]
    assert ["value int" in text for text in texts["forced.typed"]] == [False, True]
    assert ["two int" in text for text in texts["forced.paired"]] == [False, True]
    assert service.staged() == []
    assert before.changes(await shop.state(lambda keyspace, _: keyspace != "forced")) == []

    await service.restore(tag, shop.local, "forced", truncate=True, force_schema=True)
    assert {table: _rows(shop, f"forced.{table}") for table in tables} == rows
    shop.execute("DROP KEYSPACE forced")


async def test_a_table_that_is_gone_is_not_made_with_a_live_type_of_other_fields(shop: Shop) -> None:
    """Promise: a table that was dropped while its type got another field is refused with both definitions and nothing
    is made; with force_schema it comes back with the backup's type and its rows, unless another table uses the type."""
    service = shop.service
    shop.execute(
        f"CREATE KEYSPACE retyped {REPLICATION}",
        "CREATE TYPE retyped.pair (one int)",
        "CREATE TABLE retyped.paired (id int PRIMARY KEY, both frozen<pair>)",
        "INSERT INTO retyped.paired (id, both) VALUES (1, {one: 1})",
    )
    rows = _rows(shop, "retyped.paired")
    tag = await service.backup(["retyped"], shop.local)
    shop.execute(
        "DROP TABLE retyped.paired",
        "ALTER TYPE retyped.pair ADD two int",
        "CREATE TABLE retyped.user (id int PRIMARY KEY, both frozen<pair>)",
    )
    error = await service.refusal(tag, shop.local, "retyped", "paired", truncate=True)
    (differs,) = [one for one in error["fields"]["refusals"] if one["code"] == "schema_differs"]
    assert differs["lifted_by"] == "force_schema"
    assert ["two int" in differs["fields"][side] for side in ("backup", "live")] == [False, True]
    assert "CREATE TABLE retyped.paired" in differs["fields"]["backup"]
    error = await service.refusal(tag, shop.local, "retyped", "paired", truncate=True, force_schema=True)
    (used,) = error["fields"]["refusals"]
    assert (used["code"], used["fields"]["used_by"]) == ("type_in_use", ["table user"])
    assert ["two int" in used["fields"][side] for side in ("backup", "live")] == [False, True]
    shop.execute("DROP TABLE retyped.user")
    await service.restore(tag, shop.local, "retyped", "paired", truncate=True, force_schema=True)
    assert _rows(shop, "retyped.paired") == rows
    shop.execute("DROP KEYSPACE retyped")


async def test_a_keyspace_made_again_by_a_person_is_no_difference(shop: Shop) -> None:
    """Promise: tables with the same columns and other ids are restored into, with and without rows of their own; a
    keyspace with another replication is refused, and both are shown."""
    service = shop.service
    made = (
        f"CREATE KEYSPACE remade {REPLICATION}",
        "CREATE TABLE remade.rows (id int PRIMARY KEY, text text)",
        "CREATE INDEX rows_text ON remade.rows (text)",
    )
    shop.execute(*made, *(f"INSERT INTO remade.rows (id, text) VALUES ({n}, 'old')" for n in range(20)))
    rows = _rows(shop, "remade.rows")
    tag = await service.backup(["remade"], shop.local)
    shop.execute("DROP KEYSPACE remade", *made, "INSERT INTO remade.rows (id, text) VALUES (100, 'new')")
    await service.restore(tag, shop.local, "remade", "rows")
    assert _rows(shop, "remade.rows") == rows | {(100, "new")}
    await service.restore(tag, shop.local, "remade", truncate=True)
    assert _rows(shop, "remade.rows") == rows
    found = shop.session.execute("SELECT id FROM remade.rows WHERE text = 'old'")
    assert {row.id for row in found} == set(range(20))

    shop.execute(
        "ALTER KEYSPACE remade WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
    )
    error = await service.refusal(tag, shop.local, "remade", truncate=True, force_schema=True)
    assert error["code"] == "replication_differs"
    assert "NetworkTopologyStrategy" in str(error["fields"])
    assert "SimpleStrategy" in str(error["fields"])
    shop.execute("DROP KEYSPACE remade")
    await service.restore(tag, shop.local, "remade")
    assert _rows(shop, "remade.rows") == rows
    shop.execute("DROP KEYSPACE remade")
