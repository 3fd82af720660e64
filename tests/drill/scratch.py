"""The scratch Cassandra of a drill: one node that gets the backup's schema, then its SSTables, then serves them.

In: a directory and what was found of a backup. Out: a running node with every row of every node of the backup: it owns
the whole ring, and each keyspace has one copy. Indexes and views are made last: Cassandra builds them from the rows.
"""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from cassandra.cluster import Session
from cassandra.query import SimpleStatement

from agent.cassandra.cql_text import quote
from agent.cassandra.schema_compare import all_statements, plain_statement
from agent.cli.scratch_tables import CASSANDRAS_OWN, lay
from agent.model.snapshot import KeyspaceSchema
from tests.cluster import places
from tests.cluster.cassandra import CassandraNode
from tests.cluster.scratch import ScratchCluster
from tests.drill.found import DrillImpossible, Found, objects_of

BUILD_SECONDS = 6 * 3600.0
_STATEMENT_SECONDS = 120.0
_POLL = 0.5
_PAGE = 500


class Scratch:
    """The node; `end()` it, whatever happened."""

    def __init__(self, directory: Path, found: Found) -> None:
        self.cluster = ScratchCluster(
            directory,
            nodes=1,
            version=_version(found.version),
            name="drill",
            options={"user_defined_functions_enabled": True, "sasi_indexes_enabled": True},
        )
        self._schema = {name: one for name, one in found.schema.items() if name not in CASSANDRAS_OWN}

    @property
    def node(self) -> CassandraNode:
        """The node."""
        return self.cluster.nodes[0]

    @property
    def version(self) -> str:
        """Cassandra's."""
        return self.cluster.version

    async def learn_schema(self) -> None:
        """Start, make keyspaces, types, functions and tables, stop: the schema is then on the disk."""
        await self.cluster.start()
        statements = [_keyspace(one) for one in self._schema.values()]
        for one in objects_of(self._schema, "type", "function", "aggregate", "table"):
            statements += all_statements(one)
        await self._make(statements)
        await self.cluster.stop()

    async def take_rows(self, directories: Iterable[Path]) -> int:
        """Lay every SSTable of the directories into its table and start again; how many there are."""
        tables = await asyncio.to_thread(lay, directories, self.node.data_directories[0])
        await self.cluster.start()
        return sum(len(table.sstables) for table in tables)

    async def build(self) -> tuple[int, int]:
        """Make indexes and views and wait until they are built; how many of each."""
        indexes, views = objects_of(self._schema, "index"), objects_of(self._schema, "view")
        await self._make(plain_statement(one) for one in (*indexes, *views))
        wanted = {(one.keyspace, one.name) for one in (*indexes, *views)}
        session = await self.cluster.session()
        async with asyncio.timeout(BUILD_SECONDS):
            while not wanted <= await asyncio.to_thread(_built, session):  # noqa: ASYNC110  # Cassandra sets no event
                await asyncio.sleep(_POLL)
        return len(indexes), len(views)

    async def count(self, report: Callable[[str, int], None]) -> int:
        """Read every column of every row; `report` is told the table and its rows. All rows."""
        session = await self.cluster.session()
        total = 0
        for one in objects_of(self._schema, "table"):
            rows = await asyncio.to_thread(_rows, session, f"{quote(one.keyspace)}.{quote(one.name)}")
            report(f"{one.keyspace}.{one.name}", rows)
            total += rows
        return total

    async def _make(self, statements: Iterable[str]) -> None:
        session = await self.cluster.session()
        for statement in statements:
            try:
                await asyncio.to_thread(session.execute, statement, timeout=_STATEMENT_SECONDS)
            except Exception as error:
                raise DrillImpossible(
                    f"Cassandra {self.version} refused the backup's schema: {error}\n{statement}"
                ) from error


def _version(version: str) -> str:
    """The fetched Cassandra that reads what this version wrote and was asked the same statements."""
    for known in (places.CASSANDRA_50, places.CASSANDRA_41):
        if version.split(".")[:2] == known.split(".")[:2]:
            return known
    raise DrillImpossible(f"the backup is of Cassandra {version}: there is no such scratch node, only 4.1 and 5.0")


def _keyspace(one: KeyspaceSchema) -> str:
    """The keyspace with one copy, wherever the backup's were."""
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    durable = str(one.durable_writes).lower()
    return f"CREATE KEYSPACE {quote(one.name)} WITH replication = {replication} AND durable_writes = {durable}"


def _built(session: Session) -> set[tuple[str, str]]:
    indexes = session.execute('SELECT table_name, index_name FROM system."IndexInfo"')
    views = session.execute("SELECT keyspace_name, view_name FROM system.built_views")
    return {tuple(row) for row in (*indexes, *views)}


def _rows(session: Session, table: str) -> int:
    return sum(1 for _ in session.execute(SimpleStatement(f"SELECT * FROM {table}", fetch_size=_PAGE)))
