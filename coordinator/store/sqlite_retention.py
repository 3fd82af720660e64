"""Rules of retention in SQLite (`protocol.Retention`), and what keeps a backup id's own rule from giving way to the
wider one of its place: where it ends, an explicit one that retains all stands in its place."""

import sqlite3
from collections.abc import Sequence

import msgspec

from coordinator.model.destinations import Destination
from coordinator.model.retention import EVERY_ID, KeptRule, Rule
from coordinator.store.database import Database

_FORGOTTEN = "forgotten:"
"""Before a repository's id: the place of rules whose destination is forgotten. No destination's id has a colon."""


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
            lambda connection: connection.execute(query, (cluster, destination, _FORGOTTEN)).fetchall()
        )
        return [msgspec.json.decode(row[0], type=KeptRule) for row in rows]

    async def put(self, rules: Sequence[KeptRule]) -> None:
        await self._database.write(lambda connection: write_rules(connection, rules))


def write_rules(connection: sqlite3.Connection, rules: Sequence[KeptRule]) -> None:
    """Each in the place of a former one. One of `EVERY_ID` that retains all is none: nothing wider takes its place."""
    for kept in rules:
        where = (kept.cluster, kept.destination, kept.backup_id)
        if kept.backup_id == EVERY_ID and kept.rule.retains_all:
            connection.execute("DELETE FROM retention WHERE cluster = ? AND destination = ? AND backup_id = ?", where)
        else:
            connection.execute(
                "INSERT OR REPLACE INTO retention (cluster, destination, backup_id, data) VALUES (?, ?, ?, ?)",
                (*where, msgspec.json.encode(kept)),
            )


def retain_all_of(connection: sqlite3.Connection, cluster: str, backup_id: str, places: Sequence[str]) -> None:
    """From now on nothing of the backup id goes by itself, at the places and wherever it has a rule."""
    query = "SELECT destination FROM retention WHERE cluster = ? AND backup_id = ?"
    ruled = [row[0] for row in connection.execute(query, (cluster, backup_id))]
    write_rules(connection, [KeptRule(cluster, place, backup_id, Rule()) for place in sorted({*places, *ruled})])


def forget_rules(connection: sqlite3.Connection, cluster: str, destination: str) -> None:
    """Forget a destination's rules while it is still kept, in the transaction that forgets it or makes it another
    place: of ids that had one nothing goes by itself when its repository is added anew."""
    known = _known(connection, cluster, destination)
    if known is not None:
        there = f"{_FORGOTTEN}{known.repository_id}"
        write_rules(connection, [KeptRule(cluster, there, by, Rule()) for by in _ids(connection, cluster, destination)])
    connection.execute("DELETE FROM retention WHERE cluster = ? AND destination = ?", (cluster, destination))


def remember_rules(connection: sqlite3.Connection, destination: Destination) -> None:
    """Before a destination is put: ids that had rules of their own in its repository before keep what they have."""
    cluster, place = destination.cluster, destination.id
    known = _known(connection, cluster, place)
    if known is not None and known.repository_id != destination.repository_id:
        left = f"{_FORGOTTEN}{known.repository_id}"
        write_rules(connection, [KeptRule(cluster, left, by, Rule()) for by in _ids(connection, cluster, place)])
    there = f"{_FORGOTTEN}{destination.repository_id}"
    new = set(_ids(connection, cluster, there)) - set(_ids(connection, cluster, place))
    write_rules(connection, [KeptRule(cluster, place, by, Rule()) for by in sorted(new)])


def _known(connection: sqlite3.Connection, cluster: str, destination: str) -> Destination | None:
    query = "SELECT data FROM destinations WHERE cluster = ? AND id = ?"
    row = connection.execute(query, (cluster, destination)).fetchone()
    return None if row is None else msgspec.json.decode(row[0], type=Destination)


def _ids(connection: sqlite3.Connection, cluster: str, place: str) -> list[str]:
    """The backup ids that have a rule of their own there."""
    query = "SELECT backup_id FROM retention WHERE cluster = ? AND destination = ? AND backup_id <> ?"
    return [row[0] for row in connection.execute(query, (cluster, place, EVERY_ID))]
