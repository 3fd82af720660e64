"""A backup's schema against the live one: what is missing, what differs, what is made in which order."""

from typing import Any, Literal

import msgspec

from agent.cassandra.schema_capture import types_in_order, types_of
from agent.cassandra.schema_compare import (
    all_statements,
    differences,
    missing_tables,
    names_taken,
    replication_differs,
    table_differs,
    views_on,
)
from agent.cassandra.schema_telling import what_differs
from agent.jobs.restore.schema import missing_objects, missing_statements
from agent.model.snapshot import Column, KeyspaceSchema, SchemaObject

ID = "7fe7d710-e77b-11f1-8a68-917191c0c181"


def _column(name: str, kind: str = "text", role: str = "regular") -> Column:
    return Column(name, kind, role, -1, "none")


def _schema(**changes: Any) -> KeyspaceSchema:
    create = f"CREATE TABLE ks.t (id int PRIMARY KEY) WITH ID = {ID}\n    AND cdc = false;"
    whole: dict[str, Any] = {
        "name": "ks",
        "replication": {"class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "1"},
        "durable_writes": True,
        "objects": (
            SchemaObject("keyspace", "ks", "ks", "CREATE KEYSPACE ks;"),
            SchemaObject("type", "ks", "inner", "CREATE TYPE ks.inner (a int);"),
            SchemaObject("type", "ks", "outer", "CREATE TYPE ks.outer (b frozen<inner>);"),
            SchemaObject("type", "ks", "unused", "CREATE TYPE ks.unused (c int);"),
            SchemaObject("function", "ks", "f(int)", "CREATE FUNCTION ks.f(x int) …;"),
            SchemaObject("table", "ks", "t", create),
            SchemaObject("table", "ks", "u", create.replace("ks.t", "ks.u")),
            SchemaObject("index", "ks", "i", "CREATE INDEX i ON ks.t (v);", "t"),
            SchemaObject("view", "ks", "mv", f"CREATE MATERIALIZED VIEW ks.mv AS SELECT * … WITH ID = {ID};", "t"),
        ),
        "columns": {"t": (_column("id", "int", "partition_key"), _column("o", "frozen<outer>")), "u": (_column("v"),)},
        "types": {"inner": (("a", "int"),), "outer": (("b", "frozen<inner>"),), "unused": (("c", "int"),)},
    }
    return KeyspaceSchema(**(whole | changes))


def _kinds(objects: list[SchemaObject]) -> list[tuple[str, str]]:
    return [(one.kind, one.name) for one in objects]


def test_a_keyspace_that_is_gone_comes_back_with_all_but_the_tables_not_asked_for() -> None:
    """Keyspace, types, functions, tables, their indexes; views come after the data."""
    assert _kinds(missing_objects(_schema(), None, ["t"])) == [
        ("keyspace", "ks"),
        ("type", "inner"),
        ("type", "outer"),
        ("type", "unused"),
        ("function", "f(int)"),
        ("table", "t"),
        ("index", "i"),
    ]


def test_a_keyspace_that_is_there_gets_only_what_the_missing_tables_need() -> None:
    """The schema of everything else stays as it is."""
    live = _schema(objects=(SchemaObject("keyspace", "ks", "ks", ""),), columns={}, types={})
    assert _kinds(missing_objects(_schema(), live, ["t"])) == [
        ("type", "inner"),
        ("type", "outer"),
        ("table", "t"),
        ("index", "i"),
    ]
    assert not missing_objects(_schema(), _schema(), ["t", "u"])


def test_a_table_that_a_cut_run_has_begun_gets_the_rest() -> None:
    """Its indexes, and its dropped columns one by one; an index that a person dropped from another table stays so."""
    create = f"CREATE TABLE ks.t (id int PRIMARY KEY, a int, b int) WITH ID = {ID};"
    drops = ["\nALTER TABLE ks.t DROP a USING TIMESTAMP 5;", "\nALTER TABLE ks.t DROP b USING TIMESTAMP 6;"]
    whole = SchemaObject("table", "ks", "t", "".join([create, *drops]))
    index = SchemaObject("index", "ks", "i", "CREATE INDEX i ON ks.t (v);", "t")
    backup = _schema(objects=(whole, index))
    for done in range(3):
        live = _schema(objects=(SchemaObject("table", "ks", "t", "".join([create, *drops[:done]])),))
        assert missing_objects(backup, live, ["t"]) == []
        assert missing_objects(backup, live, ["t"], ["t"]) == [whole, index]
        assert missing_statements(whole, live) == [drop.strip("\n;") for drop in drops[done:]]
        assert missing_statements(index, live) == ["CREATE INDEX i ON ks.t (v)"]
    assert _kinds(missing_objects(backup, backup, ["t"], ["t"])) == [("table", "t")]
    assert missing_statements(whole, backup) == []


def test_a_table_is_made_without_its_id_and_with_its_dropped_columns() -> None:
    """Old SSTables may still hold a dropped column; Cassandra must know it to read them."""
    one = SchemaObject(
        "table", "ks", "t", f"CREATE TABLE ks.t (a int) WITH ID = {ID};\nALTER TABLE ks.t DROP a USING TIMESTAMP 5;"
    )
    assert all_statements(one) == ["CREATE TABLE ks.t (a int)", "ALTER TABLE ks.t DROP a USING TIMESTAMP 5"]


def test_another_id_or_other_options_are_no_difference() -> None:
    """Imported SSTables fit whatever the table's id is."""
    other = tuple(
        SchemaObject(one.kind, one.keyspace, one.name, one.statement.replace(ID, ID[::-1]), one.base)
        for one in _schema().objects
    )
    assert not differences({"ks": ["t"]}, {"ks": _schema()}, {"ks": _schema(objects=other)})


def test_other_columns_are_a_difference_that_shows_both() -> None:
    """Also another type of a column, and another clustering order."""
    live = _schema(columns={"t": (_column("id", "int", "partition_key"), _column("o", "text")), "u": (_column("v"),)})
    (found,) = differences({"ks": ["t", "u"]}, {"ks": _schema()}, {"ks": live})
    assert found.name == "t"
    assert "CREATE TYPE ks.outer" in found.backup
    assert "CREATE TABLE ks.t" in found.live


def test_a_user_type_with_other_fields_makes_its_tables_differ() -> None:
    """The type is the table's, also through another type."""
    live = _schema(types={"inner": (("a", "text"),), "outer": (("b", "frozen<inner>"),)})
    assert [one.name for one in differences({"ks": ["t", "u"]}, {"ks": _schema()}, {"ks": live})] == ["t"]


def test_a_table_that_is_gone_differs_when_its_type_lives_with_other_fields() -> None:
    """Made from the backup's statements it would get the live type, and SSTables that don't fit it."""
    live = _schema(
        columns={"u": (_column("v"),)}, types={"inner": (("a", "text"),), "outer": (("b", "frozen<inner>"),)}
    )
    (found,) = differences({"ks": ["t", "u"]}, {"ks": _schema()}, {"ks": live})
    assert found.name == "t"
    assert "CREATE TABLE ks.t" in found.backup
    assert "CREATE TYPE ks.inner" in found.live
    assert "the table t is not there" in found.live
    assert differences({"ks": ["t"]}, {"ks": _schema()}, {"ks": _schema(columns={"u": (_column("v"),)})}) == []
    assert differences({"ks": ["t"]}, {"ks": _schema()}, {"ks": _schema(columns={}, types={})}) == []


def test_a_dropped_column_that_the_live_table_never_had_is_a_difference() -> None:
    """Cassandra refuses an SSTable with a column that the table never heard of."""
    text = 'CREATE TABLE ks.u (v text, "G" int);\nALTER TABLE ks.u DROP "G" USING TIMESTAMP 5;'
    objects = tuple(SchemaObject("table", "ks", "u", text) if one.name == "u" else one for one in _schema().objects)
    then = _schema(objects=objects)
    assert table_differs(then, _schema(), "u")
    assert not table_differs(then, then, "u")
    assert not table_differs(_schema(), then, "u")


def test_missing_tables_and_replication_and_views() -> None:
    """The class counts by its short name; views are found by their base and come without an id."""
    live = {
        "ks": _schema(
            columns={"u": (_column("v"),)}, replication={"class": "SimpleStrategy", "replication_factor": "1"}
        )
    }
    backup = {"ks": _schema()}
    assert missing_tables({"ks": ["t", "u"], "gone": ["x"]}, live) == {"ks": ["t"]}
    assert not replication_differs({"ks": []}, backup, live)
    live["ks"].replication["replication_factor"] = "3"
    assert list(replication_differs({"ks": []}, backup, live)) == ["ks"]
    (view,) = views_on({"ks": ["t"]}, backup)
    assert (view.name, view.base, view.statement) == ("mv", "t", "CREATE MATERIALIZED VIEW ks.mv AS SELECT * …")
    assert not views_on({"ks": ["u"]}, backup)


def test_a_view_is_not_made_where_its_name_is_another_ones() -> None:
    """A table or a view of another one may have it by now; the view itself, or none at all, is nobody else."""
    views = views_on({"ks": ["t"]}, {"ks": _schema()})

    def with_mv(kind: Literal["table", "view", "type"], base: str) -> KeyspaceSchema:
        others = tuple(one for one in _schema().objects if one.name != "mv")
        return _schema(objects=(*others, SchemaObject(kind, "ks", "mv", f"CREATE {kind} ks.mv …", base)))

    assert names_taken(views, {"ks": with_mv("table", "")}) == views
    assert names_taken(views, {"ks": with_mv("view", "u")}) == views
    assert names_taken(views, {"ks": with_mv("view", "t")}) == []
    assert names_taken(views, {"ks": with_mv("type", "")}) == []
    assert names_taken(views, {}) == []


def test_types_come_after_those_they_name() -> None:
    """Whatever their alphabet."""
    types: dict[str, tuple[tuple[str, str], ...]] = {
        "A": (("x", 'frozen<"B">'),),
        "B": (("y", "list<frozen<c>>"),),
        "c": (("z", "int"),),
    }
    assert types_in_order(types) == ["c", "B", "A"]
    schema = _schema(types=types, columns={"t": (_column("v", 'map<int, frozen<"B">>'),)})
    assert types_of(schema, "t") == ["c", "B"]


def test_what_differs_is_told_column_by_column_and_field_by_field() -> None:
    """Nobody has to compare two long texts by eye; tables that are alike say nothing."""
    then, now = Column("k", "int", "partition_key", 0, "none"), Column("k", "int", "clustering", 0, "desc")
    backup = _schema(columns={"t": (then, _column("gone"), _column("v", "int"), _column("o", "frozen<outer>"))})
    live = _schema(
        columns={"t": (now, _column("new"), _column("v"), _column("o", "frozen<outer>"))},
        types={"inner": (("a", "text"),), "outer": (("more", "int"),)},
    )
    assert what_differs(backup, live, "t") == [
        "the column `k` is a clustering column, in the backup a partition key column "
        "and is ordered desc, in the backup none",
        "the column `gone` (text) is missing",
        "the column `v` is text, in the backup int",
        "the column `new` (text) is not in the backup",
        "the type `inner` has the field `a` as text, in the backup int",
        "the type `outer` lacks the field `b` (frozen<inner>) and has a field `more` (int) that the backup lacks",
    ]
    moved = _schema(columns={"t": (msgspec.structs.replace(then, position=1), *backup.columns["t"][1:])})
    assert what_differs(backup, moved, "t") == [
        "the column `k` is number 2 of the partition key, in the backup number 1",
    ]
    turned = {"inner": (("a", "int"), ("b", "int")), "outer": (("b", "frozen<inner>"),)}
    assert what_differs(
        _schema(types=turned), _schema(types=turned | {"inner": (("b", "int"), ("a", "int"))}), "t"
    ) == ["the type `inner` has its fields in another order"]
    dropped = f"CREATE TABLE ks.t (a int) WITH ID = {ID};\nALTER TABLE ks.t DROP old USING TIMESTAMP 5;"
    objects = (SchemaObject("table", "ks", "t", dropped),)
    assert what_differs(_schema(objects=objects), _schema(), "t") == [
        "the column `old`, dropped before the backup, was never there"
    ]
    assert what_differs(_schema(), _schema(), "t") == []
