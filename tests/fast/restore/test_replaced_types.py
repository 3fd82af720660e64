"""A table that differs is dropped only when all of its types can be made anew: else nothing is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.cassandra.node import CassandraNode
from agent.cassandra.settings import CassandraSettings
from agent.jobs.restore.errors import TypeDiffers, TypeInUse
from agent.jobs.restore.notes import RestoreNotes
from agent.jobs.restore.replaced_types import types_going, types_in_use
from agent.jobs.restore.schema import SchemaJob
from agent.jobs.restore.tools import RestoreTools
from agent.model.job import JobContext
from agent.model.snapshot import Column, KeyspaceSchema, SchemaObject
from agent.wire.commands import RestoreArguments
from tests.fast.restore.backup_in_memory import HOST, BackupInMemory
from tests.fast.restore.context import Context


def schema(inner: str, tables: dict[str, str], *more: SchemaObject) -> KeyspaceSchema:
    """`inner`: the only field's type of ks.inner, which ks.outer is made of. `tables`: name → its column's type."""
    return KeyspaceSchema(
        "ks",
        {"class": "SimpleStrategy", "replication_factor": "1"},
        True,
        (
            SchemaObject("type", "ks", "inner", f"CREATE TYPE ks.inner (a {inner});"),
            SchemaObject("type", "ks", "outer", "CREATE TYPE ks.outer (b frozen<inner>);"),
            *more,
            *(SchemaObject("table", "ks", name, f"CREATE TABLE ks.{name} (v {of});") for name, of in tables.items()),
        ),
        {name: (Column("v", of, "partition_key", 0, "none"),) for name, of in tables.items()},
        {"inner": (("a", inner),), "outer": (("b", "frozen<inner>"),)},
    )


def function(text: str) -> SchemaObject:
    return SchemaObject("function", "ks", "f(x)", text)


def used_by(live: KeyspaceSchema, replaced: Sequence[str] = ("t",)) -> list[Any]:
    backup = schema("int", {"t": "frozen<outer>", "u": "frozen<inner>"})
    return [error.fields["used_by"] for error in types_in_use({"ks": list(replaced)}, {"ks": backup}, {"ks": live})]


def test_a_type_goes_with_those_made_of_it_outermost_first() -> None:
    """Cassandra refuses to drop a type that another names, though that one's own text is the same."""
    backup, live = schema("int", {"t": "frozen<outer>"}), schema("text", {"t": "frozen<outer>"})
    assert types_going(["t"], backup, live) == ["outer", "inner"]
    assert types_going(["t"], backup, backup) == []
    assert used_by(live) == []


def test_whatever_else_uses_such_a_type_is_named() -> None:
    """Another table, a type that no replaced table uses, a function's argument or result; not a word in a body."""
    live = schema("text", {"t": "frozen<outer>", "u": "frozen<inner>"})
    assert used_by(live) == [["table u"]]
    assert used_by(live, ["t", "u"]) == []
    tables = {"t": "frozen<outer>"}
    taking = (
        "CREATE FUNCTION ks.f(x map<int, frozen<inner>>, y int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$"
    )
    giving = "CREATE FUNCTION ks.f(x int)\n RETURNS NULL ON NULL INPUT\n RETURNS frozen<outer>\n LANGUAGE java\n AS $$"
    other = "CREATE FUNCTION ks.f(inner int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$ return inner; $$;"
    total = SchemaObject("aggregate", "ks", "a(int)", "CREATE AGGREGATE ks.a(int) SFUNC f STYPE frozen<inner>;")
    assert used_by(schema("text", tables, function(taking))) == [["function f(x)"]]
    assert used_by(schema("text", tables, function(giving))) == [["function f(x)"]]
    assert used_by(schema("text", tables, function(other))) == []
    assert used_by(schema("text", tables, total)) == [["aggregate a(int)"]]


@dataclass(frozen=True)
class ToolsInMemory(RestoreTools):
    """Over one keyspace's schema; the statements are only written down."""

    keyspace: KeyspaceSchema | None = None
    statements: list[str] = field(default_factory=list)

    async def live(self, keyspaces: Sequence[str]) -> dict[str, KeyspaceSchema]:
        return {"ks": self.keyspace} if self.keyspace is not None else {}

    async def settled(self) -> None:
        return None

    async def change(self, context: JobContext, notes: RestoreNotes, label: str, statement: str) -> None:
        self.statements.append(statement)
        if self.keyspace is not None and statement.startswith("DROP TYPE"):
            name = statement.split('"')[3]
            left = {type_: fields for type_, fields in self.keyspace.types.items() if type_ != name}
            objects = tuple(one for one in self.keyspace.objects if (one.kind, one.name) != ("type", name))
            changed = msgspec.structs.replace(self.keyspace, types=left, objects=objects)
            object.__setattr__(self, "keyspace", changed)


GONE = [
    'DROP TYPE IF EXISTS "ks"."outer"',
    'DROP TYPE IF EXISTS "ks"."inner"',
    "CREATE TYPE ks.inner (a int)",
    "CREATE TYPE ks.outer (b frozen<inner>)",
    "CREATE TABLE ks.t (v frozen<outer>)",
]


@pytest.mark.parametrize("other", [{}, {"u": "frozen<inner>"}])
async def test_a_table_that_is_gone_is_not_made_with_a_type_of_other_fields(
    tmp_path: Path, other: dict[str, str]
) -> None:
    """Promise: its rows would not fit. The error shows both definitions; a table that is to be replaced gets the
    backup's type, unless something else uses the live one."""
    backup = BackupInMemory([], (schema("int", {"t": "frozen<outer>"}),))
    node = CassandraNode(CassandraSettings(), tmp_path)
    tools = ToolsInMemory(node, backup, tmp_path, keyspace=schema("text", other))
    asked = RestoreArguments("tag", HOST, {"ks": ["t"]})
    with pytest.raises(TypeDiffers) as caught:
        await SchemaJob(tools).run(Context(asked))
    assert caught.value.fields["backup"] == "CREATE TYPE ks.inner (a int);"
    assert caught.value.fields["live"] == "CREATE TYPE ks.inner (a text);"
    assert tools.statements == []
    run = SchemaJob(tools).run(Context(RestoreArguments("tag", HOST, {"ks": ["t"]}, replace={"ks": ["t"]})))
    if other:
        with pytest.raises(TypeInUse) as used:
            await run
        assert (used.value.fields["backup"], used.value.fields["live"]) == (
            "CREATE TYPE ks.inner (a int);",
            "CREATE TYPE ks.inner (a text);",
        )
        assert tools.statements == []
    else:
        await run
        assert tools.statements == GONE


@pytest.mark.parametrize("other", [{}, {"u": "frozen<inner>"}])
async def test_no_table_is_dropped_when_its_type_can_not_be(tmp_path: Path, other: dict[str, str]) -> None:
    """The schema phase looks once more itself: something may have come to use the type since the preflight."""
    backup = BackupInMemory([], (schema("int", {"t": "frozen<outer>"}),))
    node = CassandraNode(CassandraSettings(), tmp_path)
    tools = ToolsInMemory(node, backup, tmp_path, keyspace=schema("text", {"t": "frozen<outer>"} | other))
    run = SchemaJob(tools).run(Context(RestoreArguments("tag", HOST, {"ks": ["t"]}, replace={"ks": ["t"]})))
    if other:
        with pytest.raises(TypeInUse):
            await run
        assert tools.statements == []
    else:
        await run
        assert tools.statements == [
            'DROP TABLE IF EXISTS "ks"."t"',
            'DROP TYPE IF EXISTS "ks"."outer"',
            'DROP TYPE IF EXISTS "ks"."inner"',
        ]
