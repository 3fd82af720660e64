"""What is asked of Cassandra for a look at it, and how often the answers are gone through."""

from collections.abc import Iterator

from agent.cassandra.cql import Cql, Row
from agent.cassandra.node_view import NodeView
from agent.cassandra.schema_capture import capture_schema
from agent.cassandra.settings import CqlSettings


class Counted(list[Row]):
    """Rows that count how often somebody goes through them."""

    walks = 0

    def __iter__(self) -> Iterator[Row]:
        self.walks += 1
        return super().__iter__()


class Answering(Cql):
    """Gives each table's rows with the columns that were asked for."""

    def __init__(self, tables: dict[str, list[Row]]) -> None:
        super().__init__(CqlSettings())
        self._tables = tables
        self.asked: list[str] = []
        self.answers: list[Counted] = []

    async def rows(self, statement: str, *, deadline: float | None = None) -> list[Row]:
        self.asked.append(statement)
        if statement.startswith("DESCRIBE"):
            return []
        columns, _, table = statement.removeprefix("SELECT ").partition(" FROM ")
        names = columns.split(", ")
        answer = Counted({name: row[name] for name in names} for row in self._tables.get(table, []))
        self.answers.append(answer)
        return answer


async def test_a_look_at_the_schema_versions_asks_for_nothing_else() -> None:
    """Promise: waiting for agreement looks four times a second, also in a ring of 256,000 tokens."""
    cql = Answering(
        {
            "system.local": [{"broadcast_address": "127.0.0.1", "schema_version": "v1", "tokens": ["1"]}],
            "system.peers_v2": [
                {"peer": "127.0.0.2", "host_id": "h2", "schema_version": "v1", "tokens": ["2"]},
                {"peer": "127.0.0.3", "host_id": "h3", "schema_version": None, "tokens": None},
                {"peer": "127.0.0.9", "host_id": None, "schema_version": None, "tokens": None},
            ],
        }
    )
    assert await NodeView(cql).schema_versions() == {"127.0.0.1": "v1", "127.0.0.2": "v1", "127.0.0.3": ""}
    assert not [statement for statement in cql.asked if "tokens" in statement]


async def test_a_schema_is_gone_through_once_however_many_keyspaces_it_has() -> None:
    """Promise: the agent answers others while it captures the schema of a large cluster."""
    names = [f"ks{number}" for number in range(20)]
    cql = Answering(
        {
            "system_schema.keyspaces": [
                {"keyspace_name": name, "replication": {"class": "x"}, "durable_writes": True} for name in names
            ],
            "system_schema.tables": [
                {"keyspace_name": name, "table_name": "t", "id": f"id of {name}", "gc_grace_seconds": 10}
                for name in names
            ],
            "system_schema.columns": [
                {
                    "keyspace_name": name,
                    "table_name": "t",
                    "column_name": "k",
                    "type": "int",
                    "kind": "partition_key",
                    "position": 0,
                    "clustering_order": "none",
                }
                for name in names
            ],
            "system_schema.types": [
                {"keyspace_name": "ks7", "type_name": "p", "field_names": ["x"], "field_types": ["int"]}
            ],
        }
    )
    captured = await capture_schema(cql, names)
    assert {one.name: one.table_ids for one in captured} == {name: {"t": f"id of {name}"} for name in names}
    assert all([column.name for column in one.columns["t"]] == ["k"] for one in captured)
    assert [one.name for one in captured if one.types] == ["ks7"]
    assert {answer.walks for answer in cql.answers} == {1}
