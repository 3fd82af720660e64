"""Rules of retention in SQLite (`protocol.Retention`), and what becomes of them in the transactions that end them."""

import sqlite3
from collections.abc import Callable, Sequence

import msgspec

from coordinator.model.destinations import Destination
from coordinator.model.retention import KeptRule
from coordinator.store.database import Database
from coordinator.store.ruling import FORGOTTEN, Ruling


class SqliteRetention:
    """See `protocol.Retention`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, cluster: str, destination: str | None = None) -> list[KeptRule]:
        query = (
            "SELECT data FROM retention WHERE cluster = ?1 AND destination = COALESCE(?2, destination)"
            " AND substr(destination, 1, length(?3)) <> ?3 ORDER BY destination, backup_id"
        )
        rows = await self._database.read(
            lambda connection: connection.execute(query, (cluster, destination, FORGOTTEN)).fetchall()
        )
        return [msgspec.json.decode(row[0], type=KeptRule) for row in rows]

    async def put(self, rules: Sequence[KeptRule]) -> None:
        await self._database.write(lambda connection: write_rules(connection, rules))


def write_rules(connection: sqlite3.Connection, rules: Sequence[KeptRule]) -> None:
    """See `Ruling.put`."""
    for cluster in sorted({kept.cluster for kept in rules}):
        mine = [kept for kept in rules if kept.cluster == cluster]
        _rule(connection, cluster, lambda ruling, mine=mine: ruling.put(mine))  # type: ignore[misc]


def retain_all_of(connection: sqlite3.Connection, cluster: str, backup_id: str, places: Sequence[str]) -> None:
    """See `Ruling.retain_all_of`."""
    _rule(connection, cluster, lambda ruling: ruling.retain_all_of(backup_id, places))


def forget_rules(connection: sqlite3.Connection, cluster: str, destination: str) -> None:
    """See `Ruling.forget`: while the destination is still kept, in the transaction that forgets it."""
    known = _known(connection, cluster, destination)
    repository_id = None if known is None else known.repository_id
    _rule(connection, cluster, lambda ruling: ruling.forget(destination, repository_id))


def remember_rules(connection: sqlite3.Connection, destination: Destination) -> None:
    """See `Ruling.remember`: before a destination is put, unless it is older than the kept one."""
    known = _known(connection, destination.cluster, destination.id)
    if known is not None and known.revision > destination.revision:
        return
    former = None if known is None else known.repository_id
    _rule(
        connection,
        destination.cluster,
        lambda ruling: ruling.remember(destination.id, destination.repository_id, former),
    )


def _rule(connection: sqlite3.Connection, cluster: str, change: Callable[[Ruling], None]) -> None:
    rows = connection.execute("SELECT data FROM retention WHERE cluster = ?", (cluster,))
    ruling = Ruling(cluster, [msgspec.json.decode(row[0], type=KeptRule) for row in rows])
    change(ruling)
    connection.executemany(
        "DELETE FROM retention WHERE cluster = ? AND destination = ? AND backup_id = ?",
        [(cluster, *name) for name in ruling.drops],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO retention (cluster, destination, backup_id, data) VALUES (?, ?, ?, ?)",
        [(cluster, kept.destination, kept.backup_id, msgspec.json.encode(kept)) for kept in ruling.puts],
    )


def _known(connection: sqlite3.Connection, cluster: str, destination: str) -> Destination | None:
    query = "SELECT data FROM destinations WHERE cluster = ? AND id = ?"
    row = connection.execute(query, (cluster, destination)).fetchone()
    return None if row is None else msgspec.json.decode(row[0], type=Destination)
