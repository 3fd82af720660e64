"""Compares every column of every row with what was written: on each node directly at ONE, then at QUORUM.

In: a `DataSet` and the cluster's nodes. Out: the numbers of rows compared, or `RowsDiffer` that says what is missing,
too much, or different, and on which node. A node is asked for the token ranges that it replicates and no others: it
then answers at ONE from its own disk, so an unrestored replica cannot hide behind the others.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.metadata import Murmur3Token
from cassandra.query import SimpleStatement, tuple_factory

from tests.cluster import sessions
from tests.cluster.cassandra import CassandraNode
from tests.cluster.tables import LONG_TTL, STATES, Row, TableSpec

if TYPE_CHECKING:
    from tests.cluster.rows import DataSet

_PAGE = 2_000
_EXAMPLES = 3
_ALREADY_CANONICAL = frozenset({str, bytes, int, float, bool, type(None), Decimal, UUID, datetime})


class RowsDiffer(AssertionError):
    """What a node (or the quorum) answers is not what was written."""


class Comparison(msgspec.Struct, frozen=True):
    """How many rows were compared and found equal."""

    at_one: dict[str, int]
    """By the node's address; a row counts once on each node that replicates it. Views are counted too."""
    at_quorum: int

    @property
    def rows(self) -> int:
        """Rows compared over all."""
        return sum(self.at_one.values()) + self.at_quorum


def canonical(value: Any) -> Any:
    """A value in a form in which equal content is equal, whatever class the driver or the test made."""
    if type(value) in _ALREADY_CANONICAL:
        return value
    if isinstance(value, Mapping):
        return tuple(sorted((canonical(key), canonical(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return tuple(canonical(item) for item in value)
    if isinstance(value, Iterable):  # sets, the driver's own among them
        return tuple(sorted(canonical(item) for item in value))
    return value


async def compare_every_column(
    data: "DataSet",
    nodes: Sequence[CassandraNode],
    tables: Sequence[str] | None = None,
    *,
    views: bool = True,
    report: Callable[[str | None, int], None] | None = None,
) -> Comparison:
    """Compare these tables (all by default, by name without keyspace); raises RowsDiffer. `report` hears the number of
    rows after each node, and with None after the reads at QUORUM."""
    specs = [
        spec
        for spec in data.tables
        if (tables is None or spec.name in tables or (spec.view_of or "") in tables) and (views or not spec.view_of)
    ]
    expected = {spec.full_name: data.expected(spec) for spec in specs}
    at_one: dict[str, int] = {}
    for node in nodes:
        session = await sessions.session_one(node)
        try:
            at_one[node.address] = await asyncio.to_thread(_compare, data, specs, expected, session, node.address)
        finally:
            await asyncio.to_thread(sessions.close, session)
        if report is not None:
            report(node.address, at_one[node.address])
    session = await sessions.session_all(nodes)
    try:
        at_quorum = await asyncio.to_thread(_compare, data, specs, expected, session, None)
    finally:
        await asyncio.to_thread(sessions.close, session)
    if report is not None:
        report(None, at_quorum)
    return Comparison(at_one=at_one, at_quorum=at_quorum)


def _compare(
    data: "DataSet",
    specs: Sequence[TableSpec],
    expected: Mapping[str, dict[Row, Row]],
    session: Session,
    node: str | None,
) -> int:
    session.cluster.refresh_schema_metadata()
    return sum(_compare_table(data, spec, expected[spec.full_name], session, node) for spec in specs)


def _compare_table(data: "DataSet", spec: TableSpec, wanted: dict[Row, Row], session: Session, node: str | None) -> int:
    where = f"{spec.full_name} {f'at ONE on {node}' if node else 'at QUORUM'}"
    names = [column.name for column in spec.columns]
    timed = [column.name for column in spec.columns if column.timed]
    selected = [*names, *(f"WRITETIME({name})" for name in timed)]
    if spec.ttl:
        selected += [f"TTL({name})" for name in timed]
    select = f"SELECT {', '.join(selected)} FROM {spec.full_name}"
    found: Iterable[Row]
    ranges = _ranges_of(session, spec, node)
    if ranges:
        token = f"token({', '.join(names[: spec.partition_key])})"
        found = itertools.chain.from_iterable(
            _read(session, f"{select} WHERE {token} > {low} AND {token} <= {high}") for low, high in ranges
        )
        holds = _holder(session, spec, node)
        wanted = {key: row for key, row in wanted.items() if holds(key)}
    else:
        found = _read(session, select)
    width = len(names) + len(timed)
    with_ttl = _raise_if_different(where, spec, wanted, found, width)
    _compare_ttl(data, spec, where, with_ttl, width)
    if spec.indexed is not None and not ranges:
        _compare_index(spec, where, wanted, session)
    return len(wanted)


def _read(session: Session, select: str) -> Iterable[Row]:
    as_tuples = session.execution_profile_clone_update(EXEC_PROFILE_DEFAULT, row_factory=tuple_factory)
    rows: Iterable[Row] = session.execute(SimpleStatement(select, fetch_size=_PAGE), execution_profile=as_tuples)
    return rows


def _ranges_of(session: Session, spec: TableSpec, node: str | None) -> list[tuple[int, int]]:
    """The token ranges (low, high] that the node replicates, [] when it replicates all of them."""
    metadata = session.cluster.metadata
    if node is None:
        return []
    ring = [token.value for token in metadata.token_map.ring]
    mine = [
        (low, high)
        for low, high in zip([None, *ring[:-1]], ring, strict=True)
        if node in {host.address for host in metadata.token_map.get_replicas(_bare(spec.keyspace), _token(high))}
    ]
    if len(mine) == len(ring):
        return []
    least, greatest = -(2**63), 2**63 - 1
    ranges = [(least if low is None else low, high) for low, high in mine]
    if mine and mine[0][0] is None:
        ranges.append((ring[-1], greatest))  # the first range begins behind the last token
    return ranges


def _holder(session: Session, spec: TableSpec, node: str | None) -> Callable[[Row], bool]:
    """Whether the node replicates the row of a primary key."""
    key = " AND ".join(f"{column.name} = ?" for column in spec.columns[: spec.partition_key])
    prepared = session.prepare(f"SELECT * FROM {spec.full_name} WHERE {key}")
    metadata = session.cluster.metadata

    def holds(values: Row) -> bool:
        routing_key = prepared.bind(values[: spec.partition_key]).routing_key
        return node in {host.address for host in metadata.get_replicas(_bare(spec.keyspace), routing_key)}

    return holds


def _bare(name: str) -> str:
    return name.strip('"')


def _token(value: int) -> Any:
    return Murmur3Token(value)


def _raise_if_different(
    where: str, spec: TableSpec, wanted: dict[Row, Row], found: Iterable[Row], width: int
) -> list[Row]:
    """Compare the rows as they come (there may be many); those of a table with TTLs are returned."""
    seen: set[Row] = set()
    surplus: list[Row] = []
    different: list[tuple[Row, Row]] = []
    kept: list[Row] = []
    for row in found:
        key = tuple(row[: spec.key])
        answered = tuple(canonical(value) for value in row[:width])
        written = wanted.get(key)
        if written is None or key in seen:
            surplus.append(key)
        elif written != answered:
            different.append((written, answered))
        seen.add(key)
        if spec.ttl:
            kept.append(row)
    missing = [key for key in wanted if key not in seen]
    if missing or surplus or different:
        raise RowsDiffer(
            f"{where}: of {len(wanted)} rows {len(missing)} missing, {len(surplus)} too many,"
            f" {len(different)} different: missing {missing[:_EXAMPLES]}, too many {surplus[:_EXAMPLES]},"
            f" (written, found) {different[:_EXAMPLES]}"
        )
    return kept


def _compare_ttl(data: "DataSet", spec: TableSpec, where: str, found: list[Row], first: int) -> None:
    """A TTL counts down from when the row was written, in whole seconds, whatever happened to the SSTable since."""
    now = time.time()
    values = [index for index, column in enumerate(spec.columns) if column.timed]
    for row in found:
        for index, left in zip(values, row[first:], strict=True):
            expires = row[1] % 2 == 0 and row[index] is not None
            if not expires:
                if left is not None:
                    raise RowsDiffer(f"{where}: row {row[: spec.key]} has a TTL of {left} s and was written without")
            elif left is None or not LONG_TTL - (now - data.first_ttl_write) - 2 <= left <= LONG_TTL:
                raise RowsDiffer(f"{where}: row {row[: spec.key]} has a TTL of {left} s, written with {LONG_TTL}")


def _compare_index(spec: TableSpec, where: str, wanted: dict[Row, Row], session: Session) -> None:
    """Every value of the indexed column finds exactly its rows."""
    at = [column.name for column in spec.columns].index(spec.indexed or "")
    keys = ", ".join(column.name for column in spec.columns[: spec.key])
    for state in STATES:
        found = {
            tuple(row)
            for row in _read(session, f"SELECT {keys} FROM {spec.full_name} WHERE {spec.indexed} = '{state}'")
        }
        right = {key for key, row in wanted.items() if row[at] == state}
        if found != right:
            raise RowsDiffer(f"{where}: the index finds {len(found)} rows with state {state}, of {len(right)}")
