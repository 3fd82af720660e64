"""What a cluster holds, as something that can be compared: rows, schema and SSTables of whatever a test must not touch.

In: a node and a session. Out: `State`s, and what changed between two of them.
"""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.query import SimpleStatement, tuple_factory

from tests.cluster.cassandra import CassandraNode
from tests.cluster.comparison import canonical

NODES_OWN = frozenset({"system", "system_schema", "system_traces", "system_views", "system_virtual_schema"})
"""Change by themselves, or whenever any schema does."""
VIEW_BUILDS = ("system_distributed", "view_build_status")
"""Cassandra's own note of which views are built: a restored view is built again."""


class TableState(msgspec.Struct, frozen=True):
    """A table or a view: digest of all rows, and its SSTables' files with their sizes, per data directory."""

    rows: str
    sstables: tuple[tuple[str, int], ...]


class State(msgspec.Struct, frozen=True):
    """`tables`: keyspace.table → its state; `schema`: keyspace.name → the CQL that makes it."""

    tables: dict[str, TableState]
    schema: dict[str, str]

    def changes(self, later: "State") -> list[str]:
        """What became other until `later`; [] when nothing did."""
        found = [
            f"{name}: {self.schema.get(name)}\n→ {later.schema.get(name)}"
            for name in sorted(self.schema.keys() | later.schema.keys())
            if self.schema.get(name) != later.schema.get(name)
        ]
        for name in sorted(self.tables.keys() | later.tables.keys()):
            before, after = self.tables.get(name), later.tables.get(name)
            if before is None or after is None or before.rows != after.rows:
                found.append(f"the rows of {name}")
            elif before.sstables != after.sstables:
                found.append(f"the SSTables of {name}: {sorted(set(before.sstables) ^ set(after.sstables))}")
        return found


def whatever(keyspace: str, table: str) -> bool:
    """Leave nothing out."""
    return False


async def state_of(node: CassandraNode, session: Session, leave_out: Callable[[str, str], bool] = whatever) -> State:
    """The state of all tables but those that `leave_out(keyspace, table or view)` names. Names are unquoted."""
    return await asyncio.to_thread(_state, node, session, leave_out)


def _state(node: CassandraNode, session: Session, leave_out: Callable[[str, str], bool]) -> State:
    rows = _rows(session, "SELECT keyspace_name, table_name FROM system_schema.tables")
    rows += _rows(session, "SELECT keyspace_name, view_name FROM system_schema.views")
    names = [
        (keyspace, table) for keyspace, table in rows if keyspace not in NODES_OWN and (keyspace, table) != VIEW_BUILDS
    ]
    kept = [(keyspace, table) for keyspace, table in sorted(names) if not leave_out(keyspace, table)]
    tables = {f"{keyspace}.{table}": _table(node, session, keyspace, table) for keyspace, table in kept}
    spaces = {row[0] for row in _rows(session, "SELECT keyspace_name FROM system_schema.keyspaces")} - NODES_OWN
    schema = {}
    for keyspace in sorted(spaces):
        for _, kind, name, statement in _rows(session, f'DESCRIBE KEYSPACE "{keyspace}" WITH INTERNALS'):
            plain = name.strip('"')
            if not leave_out(keyspace, plain):
                schema[f"{keyspace}.{kind}.{plain}"] = statement
    return State(tables, schema)


def _table(node: CassandraNode, session: Session, keyspace: str, table: str) -> TableState:
    digest = hashlib.sha256()
    rows = _rows(session, f'SELECT * FROM "{keyspace}"."{table}"')
    for text in sorted(repr(tuple(canonical(value) for value in row)) for row in rows):
        digest.update(text.encode())
    files = [
        (f"{directory.parent.parent.name}/{directory.name}/{path.relative_to(directory)}", path.stat().st_size)
        for directory in node.table_directories(keyspace, table)
        for path in sorted(directory.glob("*-*-*"))
        if path.is_file()
    ]
    return TableState(digest.hexdigest(), tuple(sorted(files)))


def _rows(session: Session, select: str) -> list[tuple[Any, ...]]:
    as_tuples = session.execution_profile_clone_update(EXEC_PROFILE_DEFAULT, row_factory=tuple_factory)
    statement = SimpleStatement(select, fetch_size=2_000)
    return [tuple(row) for row in session.execute(statement, execution_profile=as_tuples)]
