"""Deterministic test data: makes the tables, writes the rows, knows what every column should hold.

In: a seed and a number of rows. Out: rows in a real cluster, and `expected()`. All write times are fixed and in the
past, so that they can be compared, and so that whatever a test deletes or writes later wins over them.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent, execute_concurrent_with_args
from cassandra.query import BatchStatement, BatchType, PreparedStatement

from tests.cluster import fading
from tests.cluster.cassandra import CassandraNode
from tests.cluster.comparison import canonical
from tests.cluster.processes import together
from tests.cluster.tables import DELETED_ROW, LONG_TTL, Row, TableSpec, keyspace_statements, table_specs

FIRST_WRITE = 1_700_000_000_000_000  # microseconds since 1970; row n is written at FIRST_WRITE + n
FEW = 120
_CHUNK = 4_000
_BATCH = 50


class DataSet:
    """`rows` rows in the large table and at most FEW in every other one."""

    def __init__(self, *, seed: int, rows: int, version: str, replication: int, prefix: str = "shop") -> None:
        self.seed = seed
        self.rows = rows
        self.replication = replication
        self.prefix = prefix
        self.tables = table_specs(version, prefix)
        self.keyspaces = [f"{prefix}_all", f"{prefix}_Mixed", f"{prefix}_single", f"{prefix}_empty"]
        self.first_ttl_write = 0.0
        """When rows with a TTL began being written, seconds since 1970."""

    def table(self, name: str) -> TableSpec:
        """The table of that name (without its keyspace)."""
        return next(spec for spec in self.tables if spec.name == name)

    def count(self, spec: TableSpec) -> int:
        """How many row numbers a table gets; deleted ones are among them."""
        return self.rows if spec.large else min(self.rows, FEW)

    async def create(self, session: Session) -> None:
        """Make the keyspaces, types, tables, indexes and views."""
        await asyncio.to_thread(self._create, session)

    async def write(self, session: Session, nodes: Sequence[CassandraNode] = ()) -> None:
        """Write all rows, at the session's consistency; raises what the driver raises. `nodes` are flushed before rows
        are deleted again: the tombstones then lie in other SSTables than what they hide."""
        await asyncio.to_thread(self._write, session)
        for spec in self._fading:
            await together(*(node.nodetool("flush", spec.keyspace, spec.name) for node in nodes))
        await asyncio.to_thread(self._run, session, fading.deletions)

    async def write_the_deleted_again(self, session: Session) -> None:
        """Write what was deleted at times before its deletion, on every replica. Nothing of it shows, so `expected`
        stays what it was, unless tombstones are missing."""
        await asyncio.to_thread(self._run, session, fading.written_again, ConsistencyLevel.ALL)

    def expected(self, spec: TableSpec) -> dict[Row, Row]:
        """Primary key → all columns and, behind them, the write time of each timed column (None where no value)."""
        return dict(self._expected(spec))

    def _expected(self, spec: TableSpec) -> Iterator[tuple[Row, Row]]:
        written_last: dict[Any, int] = {}
        if spec.name == "people":  # the static column has the write time of the partition's last row
            for number in range(self.count(spec)):
                written_last[self._row(spec, number)[0]] = number
        for number in range(self.count(spec)):
            row = self._row(spec, number)
            if row == DELETED_ROW:
                continue
            times: list[int | None] = []
            own_time = FIRST_WRITE + number
            for column, value in zip(spec.columns, row, strict=True):
                if column.timed:
                    time_of_it = FIRST_WRITE + written_last[row[0]] if column.name == "sign" else own_time
                    times.append(None if value is None else time_of_it)
            yield row[: spec.key], (*(canonical(value) for value in row), *times)

    def _row(self, spec: TableSpec, number: int) -> Row:
        table = spec.view_of or spec.name
        return spec.make(random.Random(f"{self.seed}/{table}/{number}"), number)

    def _create(self, session: Session) -> None:
        statements = keyspace_statements(self.prefix, self.replication)
        statements += [statement for spec in self.tables for statement in spec.create]
        # Nodes take a second to agree after each statement. One node needs to agree with nobody until the last one.
        one_node = _some_node(session)
        patience = session.cluster.max_schema_agreement_wait
        session.cluster.max_schema_agreement_wait = 0
        try:
            for statement in statements[:-1]:
                session.execute(statement, host=one_node)
        finally:
            session.cluster.max_schema_agreement_wait = patience
        session.execute(statements[-1], host=one_node)

    def _write(self, session: Session) -> None:
        for spec in self.tables:
            if spec.view_of is None:
                self._write_table(session, spec)

    def _write_table(self, session: Session, spec: TableSpec) -> None:
        names = [column.name for column in spec.columns]
        if spec.counter:
            changes = ", ".join(f"{name} = {name} + ?" for name in names[spec.key :])
            where = " AND ".join(f"{name} = ?" for name in names[: spec.key])
            statement = f"UPDATE {spec.full_name} SET {changes} WHERE {where}"
            rows = (self._row(spec, number) for number in range(self.count(spec)))
            _execute(session, statement, ((*row[spec.key :], *row[: spec.key]) for row in rows))
            return
        insert = f"INSERT INTO {spec.full_name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        if spec.ttl:
            self._write_fading(session, spec, insert)
            return
        rows = ((*self._row(spec, number), FIRST_WRITE + number) for number in range(self.count(spec)))
        _execute(session, f"{insert} USING TIMESTAMP ?", rows)

    def _write_fading(self, session: Session, spec: TableSpec, insert: str) -> None:
        """Rows with and without a TTL (of 0, which is none), those among them that will be deleted."""
        self.first_ttl_write = time.time()
        numbers = range(self.count(spec))
        rows = (self._row(spec, number) or (number // fading.PARTITION, number, "gone", "gone") for number in numbers)
        full = ((*row[:3], row[3] or "gone", FIRST_WRITE + row[1], 0 if row[1] % 2 else LONG_TTL) for row in rows)
        _execute(session, f"{insert} USING TIMESTAMP ? AND TTL ?", full)

    @property
    def _fading(self) -> list[TableSpec]:
        """The table whose rows end: none when a test took only other tables."""
        return [spec for spec in self.tables if spec.ttl]

    def _run(
        self,
        session: Session,
        made: Callable[[str, range, int], list[fading.Statement]],
        consistency: int | None = None,
    ) -> None:
        for spec in self._fading:
            for statement, arguments in made(spec.full_name, range(self.count(spec)), FIRST_WRITE):
                _execute(session, statement, arguments, consistency)


def _some_node(session: Session) -> Any:
    """A host that the session already holds connections to: `connect` waits for the first host alone, and a statement
    that is sent to another one before its turn fails as if that host were down."""
    return next(host for host in session.get_pool_state() if host.is_up)


def _execute(session: Session, statement: str, arguments: Iterable[Row], consistency: int | None = None) -> None:
    """Updates (counters) one by one, all else in unlogged batches: a batch costs little more than a statement.
    `consistency` is for updates; the session's by default."""
    prepared = session.prepare(statement)
    prepared.consistency_level = consistency
    in_batches = not statement.startswith("UPDATE")
    source = iter(arguments)
    while chunk := list(itertools.islice(source, _CHUNK)):
        if in_batches:
            execute_concurrent(session, [(_batch(prepared, part), None) for part in _parts(chunk)], concurrency=8)
        else:
            execute_concurrent_with_args(session, prepared, chunk, concurrency=64)


def _parts(rows: list[Row]) -> Iterator[list[Row]]:
    for first in range(0, len(rows), _BATCH):
        yield rows[first : first + _BATCH]


def _batch(prepared: PreparedStatement, rows: list[Row]) -> BatchStatement:
    batch = BatchStatement(BatchType.UNLOGGED)
    for row in rows:
        batch.add(prepared, row)
    return batch
