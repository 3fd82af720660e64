"""What is told before the first drop, and which tables only look as they were at the point."""

import msgspec

from agent.jobs.point_in_time.making import drops, names_in_the_way
from agent.jobs.point_in_time.schema_told import replication_told, views_refused
from agent.jobs.point_in_time.tables_then import table_needs
from agent.model.snapshot import Column, KeyspaceSchema, SchemaObject
from agent.wire.node import Tables

KEY = Column("k", "int", "partition_key", 0, "none")


def keyspace(
    *objects: SchemaObject, forgotten: str = "", types: dict[str, tuple[tuple[str, str], ...]] | None = None
) -> KeyspaceSchema:
    """`ks` with the objects; its tables have a column `v` of the type p, or text where there is no type."""
    tables = {one.name: f"id-{one.name}" for one in objects if one.kind == "table"}
    columns: tuple[Column, ...] = (KEY, Column("v", "p" if types else "text", "regular", -1, "none"))
    told = [
        SchemaObject(one.kind, "ks", one.name, one.statement + forgotten, one.base) if one.kind == "table" else one
        for one in objects
    ]
    return KeyspaceSchema("ks", {}, True, tuple(told), dict.fromkeys(tables, columns), types or {}, {}, tables)


def table(name: str) -> SchemaObject:
    return SchemaObject("table", "ks", name, f"CREATE TABLE ks.{name} (k int PRIMARY KEY, v text);")


def index(name: str, base: str) -> SchemaObject:
    return SchemaObject("index", "ks", name, f"CREATE INDEX {name} ON ks.{base} (v);", base)


def view(name: str, base: str) -> SchemaObject:
    return SchemaObject("view", "ks", name, f"CREATE MATERIALIZED VIEW ks.{name}", base)


def in_the_way(then: KeyspaceSchema, live: KeyspaceSchema, made: list[str], views: Tables | None = None) -> list[str]:
    return [error.message for error in names_in_the_way({"ks": made}, {"ks": then}, {"ks": live}, views or {})]


def test_a_name_that_something_else_has_is_told() -> None:
    """Promise: another table's index and another table's view in place of what is to be made are each told; what goes
    itself, with its table or because it is named, is not in the way."""
    then = keyspace(table("t"), index("i", "t"))
    assert in_the_way(then, keyspace(table("u"), index("i", "u")), ["t"]) == [
        "the index ks.i of t is one of u now",
    ]
    assert in_the_way(then, keyspace(table("u"), view("t", "u")), ["t"]) == ["ks.t is a view of u now"]
    assert in_the_way(then, keyspace(table("u"), view("t", "u")), ["t"], {"ks": ["t"]}) == []
    assert in_the_way(then, keyspace(table("t"), table("u"), index("i", "u")), ["t", "u"]) == []
    assert in_the_way(then, then, ["t"]) == []


def test_a_column_that_was_dropped_and_added_again_is_another_one() -> None:
    """Promise: equal columns are not enough where Cassandra hides one's cells since a drop that came after the point; a
    drop of before the point belongs to the table."""
    again = "\nALTER TABLE ks.t DROP v USING TIMESTAMP 5;\nALTER TABLE ks.t ADD v text;"
    then, live = keyspace(table("t")), keyspace(table("t"), forgotten=again)
    found = table_needs("ks", "t", then, live)
    assert found.action == "recreate"
    assert "v was dropped and added again" in found.told
    assert table_needs("ks", "t", live, live).action == "keep"
    assert table_needs("ks", "t", live, keyspace(table("t"), forgotten=again.replace("5", "6"))).action == "recreate"


def test_a_changed_type_goes_also_where_its_table_is_gone() -> None:
    """Promise: a table that is made, and replaces none, gets its types as at the point."""
    then = keyspace(table("t"), types={"p": (("a", "int"),)})
    live = KeyspaceSchema(
        "ks", {}, True, (SchemaObject("type", "ks", "p", "CREATE TYPE"),), {}, {"p": (("x", "text"),)}
    )
    assert list(drops({"ks": ["t"]}, {}, {"ks": then}, {"ks": live})) == [
        ("dropping type ks.p", 'DROP TYPE IF EXISTS "ks"."p"')
    ]
    assert list(drops({"ks": ["t"]}, {}, {"ks": then}, {"ks": then})) == []


def test_views_that_could_not_be_made_again_are_not_dropped() -> None:
    """Promise: where materialized_views_enabled is false, views of now and of the point stop the restore; without views
    it doesn't matter."""
    with_view, without = {"ks": keyspace(table("t"), view("w", "t"))}, {"ks": keyspace(table("t"))}
    asked = {"ks": ["t"]}
    for then, live in ((with_view, without), (without, with_view)):
        (found,) = views_refused(asked, then, live, enabled=False)
        assert (found["code"], found["fields"]) == ("views_disabled", {"views": ["ks.w"]})
        assert views_refused(asked, then, live, enabled=True) == []
    assert views_refused(asked, without, without, enabled=False) == []


def test_what_becomes_of_a_keyspaces_replication_is_told() -> None:
    """Promise: one that is there keeps its own, one that is gone gets the point's; both are said."""
    then = {"ks": msgspec.structs.replace(keyspace(table("t")), replication={"class": "S", "dc1": "3"})}
    live = {"ks": msgspec.structs.replace(then["ks"], replication={"class": "S", "dc1": "1"})}
    asked = {"ks": ["t"]}
    (kept,) = replication_told(asked, then, live)
    assert kept.endswith("and as class S, dc1 1 now: it stays as it is now")
    (made,) = replication_told(asked, then, {})
    assert "made with the replication of the point, class S, dc1 3" in made
    assert replication_told(asked, then, then) == []
