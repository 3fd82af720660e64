"""Which schema and ring were in force when, and what changed between, from looks ten seconds apart."""

import msgspec

from agent.model.commit_log import SchemaRecord
from agent.model.snapshot import Column, KeyspaceSchema, SchemaObject
from agent.plan.schema_history import (
    changes,
    doubt,
    grown,
    in_force,
    later_columns,
    merged,
    ring_at,
    ring_changes,
    with_snapshot,
)

RING: dict[str, tuple[str, ...]] = {"host-a": ("1",), "host-b": ("2",)}


def table(name: str, table_id: str, *columns: str, views: tuple[str, ...] = ()) -> KeyspaceSchema:
    """The keyspace `ks` with one table, whose columns are all of the type int."""
    made = tuple(Column(column, "int", "regular", -1, "none") for column in columns)
    objects = (
        SchemaObject("table", "ks", name, f"CREATE TABLE ks.{name} ({', '.join(columns)})"),
        *(SchemaObject("view", "ks", view, f"CREATE MATERIALIZED VIEW ks.{view}", base=name) for view in views),
    )
    return KeyspaceSchema("ks", {"class": "X"}, True, objects, {name: made}, {}, {}, {name: table_id})


def look(
    at: float, keyspace: KeyspaceSchema | None, unseen: float | None, ring: dict[str, tuple[str, ...]] | None = None
) -> SchemaRecord:
    """A look that showed something new."""
    return SchemaRecord(f"version-{at}", unseen, at, () if keyspace is None else (keyspace,), ring or RING)


HISTORY = [
    look(100.0, table("t", "id-1", "k"), None),
    look(210.0, table("t", "id-1", "k", "w"), 200.0),
    look(310.0, None, 300.0),
    look(410.0, table("t", "id-2", "k"), 400.0),
]


def test_the_last_look_before_a_time_is_in_force() -> None:
    """Promise: at a time the schema counts that was last seen; before the first look nothing is known."""
    assert in_force(HISTORY, 99.9) is None
    assert in_force(HISTORY, 100.0) is HISTORY[0]
    assert in_force(HISTORY, 209.9) is HISTORY[0]
    assert in_force(HISTORY[::-1], 210.0) is HISTORY[1]
    assert in_force(HISTORY, 1e9) is HISTORY[3]


def test_a_history_that_was_cut_says_nothing_of_the_time_before_it() -> None:
    """Promise: a schema counts from the look that showed it, not from the look before, which showed another."""
    assert in_force(HISTORY[1:], 209.9) is None
    assert in_force(HISTORY[1:], 210.0) is HISTORY[1]


def test_two_histories_of_a_node_make_one() -> None:
    """Promise: what both have is there once, with the later of the two looks before; order doesn't matter."""
    sooner = msgspec.structs.replace(HISTORY[1], unseen_since=None)
    assert merged([sooner, HISTORY[3]], HISTORY[:3]) == HISTORY
    assert merged(HISTORY[:3], [HISTORY[3], sooner]) == HISTORY


def test_each_change_is_told_with_the_looks_around_it() -> None:
    """Promise: adding a column, dropping and making again are told apart, each with its two looks."""
    told = [(one.table, one.what, one.after, one.before, one.told) for one in changes(HISTORY, 0.0, 1e9)]
    assert told == [
        ("t", "altered", 200.0, 210.0, "column w added"),
        ("", "dropped", 300.0, 310.0, ""),
        ("t", "dropped", 300.0, 310.0, ""),
        ("", "made", 400.0, 410.0, ""),
        ("t", "made", 400.0, 410.0, ""),
    ]
    assert [one.what for one in changes(HISTORY, 210.0, 300.0)] == []
    assert [one.what for one in changes(HISTORY, 201.0, 209.0)] == ["altered"]


def test_a_table_made_anew_between_two_looks_is_recreated() -> None:
    """Promise: another id under the same name is no alteration."""
    between = [look(1.0, table("t", "id-1", "k"), None), look(11.0, table("t", "id-2", "k"), 1.0)]
    assert [one.what for one in changes(between, 0.0, 20.0)] == ["recreated"]


def test_a_view_is_told_with_its_table() -> None:
    """Promise: a view that came is a change of its base table."""
    between = [look(1.0, table("t", "id-1", "k"), None), look(11.0, table("t", "id-1", "k", views=("v",)), 1.0)]
    assert [one.told for one in changes(between, 0.0, 20.0)] == ["view v made"]


def test_a_point_between_two_looks_is_in_doubt() -> None:
    """Promise: only a point strictly between the looks around a change is in doubt."""
    assert doubt(HISTORY, 200.0) == []
    assert [one.told for one in doubt(HISTORY, 205.0)] == ["column w added"]
    assert doubt(HISTORY, 210.0) == []


def test_an_agent_that_was_away_leaves_a_long_doubt() -> None:
    """Promise: looks an hour apart leave an hour in doubt."""
    away = [look(100.0, table("t", "id-1", "k"), None), look(3700.0, table("t", "id-1", "k", "w"), 100.0)]
    assert len(doubt(away, 2000.0)) == 1


def test_columns_that_came_later_are_found_by_the_tables_id() -> None:
    """Promise: columns added after the point are known even when the table was dropped or renamed away since."""
    assert later_columns(HISTORY, 150.0, "id-1", ["k"]) == {"w": "int"}
    assert later_columns(HISTORY, 220.0, "id-1", ["k", "w"]) == {}
    assert later_columns(HISTORY, 150.0, "id-2", []) == {"k": "int"}


def test_a_column_that_the_table_had_is_never_a_later_one() -> None:
    """Promise: of a point before the history begins the backup tells the columns, and none of them is dropped; one that
    was dropped before the point and added again after it is later all the same."""
    assert later_columns(HISTORY, 1.0, "id-1", ["k", "w"]) == {}
    assert later_columns(HISTORY, 1.0, "id-1", ["k"]) == {"w": "int"}
    again = [
        look(1.0, table("t", "id-1", "k", "w"), None),
        look(11.0, table("t", "id-1", "k"), 1.0),
        look(21.0, table("t", "id-1", "k", "w"), 11.0),
    ]
    assert later_columns(again, 15.0, "id-1", ["k"]) == {"w": "int"}
    assert later_columns(again, 5.0, "id-1", ["k", "w"]) == {}


def test_what_a_snapshot_holds_was_there_when_it_was_taken() -> None:
    """Promise: a table made after the last look and before the snapshot is no doubt and no change of the time after it;
    keyspaces that the snapshot has not are as they were last seen."""
    other = msgspec.structs.replace(typed("name"), name="other")
    seen = [
        msgspec.structs.replace(look(100.0, None, None), keyspaces=(other,)),
        msgspec.structs.replace(look(200.0, None, 100.0), keyspaces=(other, table("t", "id-1", "k"))),
    ]
    known = with_snapshot(seen, "version-200.0", [table("t", "id-1", "k")], 150.0)
    then = in_force(known, 160.0)
    assert then is not None
    assert [schema.name for schema in then.keyspaces] == ["other", "ks"]
    assert then.keyspaces[-1] == table("t", "id-1", "k")
    assert doubt(known, 160.0) == []
    assert [one.what for one in doubt(seen, 160.0)] != []
    assert changes(known, 150.0, 1e9) == []


def test_a_snapshot_of_a_schema_that_was_seen_adds_nothing() -> None:
    """Promise: the looks count alone where the last one showed the snapshot's schema, and where nobody had looked."""
    assert with_snapshot(HISTORY, "version-100.0", [table("t", "id-1", "k")], 150.0) == HISTORY
    assert with_snapshot(HISTORY, "version-1.0", [table("t", "id-1", "k")], 99.0) == HISTORY


def test_a_change_of_the_ring_is_told() -> None:
    """Promise: members that came, left or moved are named."""
    moved = [
        look(1.0, None, None, {"host-a": ("1",), "host-b": ("2",)}),
        look(11.0, None, 1.0, {"host-a": ("1", "9"), "host-c": ("3",)}),
    ]
    assert ring_changes(moved, 0.0, 20.0) == [
        "host-b left the ring",
        "host-c joined the ring",
        "host-a has other tokens",
    ]
    assert ring_at(moved, 5.0) == {"host-a": ("1",), "host-b": ("2",)}
    assert ring_at(moved, 0.5) is None


def typed(*fields: str) -> KeyspaceSchema:
    """The keyspace `ks` with a type of these fields, all text."""
    statement = f"CREATE TYPE ks.kind ({', '.join(f'{field} text' for field in fields)})"
    objects = (SchemaObject("type", "ks", "kind", statement),)
    return KeyspaceSchema("ks", {}, True, objects, {}, {"kind": tuple((field, "text") for field in fields)})


def test_a_type_keeps_the_fields_that_it_got_later() -> None:
    """Promise: values with a later field can be read when the log is replayed; the longest form of the type counts,
    whether it still exists or not."""
    then = typed("name")
    later = [look(20.0, typed("name", "later"), 10.0), look(40.0, typed("name", "later", "last"), 30.0)]
    (made,) = grown([then], [*later, look(60.0, None, 50.0)])
    assert made.types["kind"] == (("name", "text"), ("later", "text"), ("last", "text"))
    assert [one.statement for one in made.objects] == ["CREATE TYPE ks.kind (name text, later text, last text)"]


def test_a_type_that_became_another_one_stays_as_it_was() -> None:
    """Promise: fields that were renamed, or of a type that was made anew, are no later fields of this one."""
    then = typed("name")
    assert grown([then], [look(20.0, typed("title", "later"), 10.0), look(40.0, typed(), 30.0)]) == (then,)
