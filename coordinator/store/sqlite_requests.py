"""Requests, steps and the activity log in SQLite (`protocol.Requests`)."""

import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from coordinator.model.activity import ActivityEvent, ActivityQuery
from coordinator.model.requests import NodePart, Request, RequestKind, RequestState
from coordinator.model.table_counts import Layouts
from coordinator.model.tags import tag_of
from coordinator.store.database import Database
from coordinator.store.kept_parts import packed, packed_in_turns, unpacked_in_turns
from coordinator.store.protocol import EVERYTHING
from coordinator.store.sqlite_activity import put_events, select_events, select_events_of
from coordinator.store.sqlite_retention import forget_rules

_COLUMNS = "data, cancel"
PARTS_AT_ONCE = 100
"""Nodes' parts that are read in one go."""
PACKED_FROM = 64 * 1024
"""Bytes of a step from which on it is compressed: the plan of a backup of 1,000 nodes has 6 MB."""


class SqliteRequests:
    """See `protocol.Requests`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._layouts = Layouts()

    async def claim_tag(self, cluster: str, backup_id: str, at: int) -> tuple[str, int]:
        def claim(connection: sqlite3.Connection) -> tuple[str, int]:
            second = at
            while True:
                tag = tag_of(backup_id, second)
                known = connection.execute("SELECT 1 FROM requests WHERE cluster = ? AND tag = ?", (cluster, tag))
                if known.fetchone() is None and _insert_tag(connection, cluster, tag):
                    return tag, second
                second += 1

        return await self._database.write(claim)

    async def create(self, request: Request, events: Sequence[ActivityEvent] = ()) -> None:
        def insert(connection: sqlite3.Connection) -> None:
            made = connection.execute(
                "INSERT INTO requests (id, cluster, kind, state, tag, finished, cancel, data)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                (
                    request.id,
                    request.cluster,
                    request.kind.value,
                    request.state.value,
                    request.tag,
                    request.finished,
                    request.cancel,
                    msgspec.json.encode(request),
                ),
            )
            if made.rowcount:
                put_events(connection, events)

        await self._database.write(insert)

    async def get(self, request_id: str) -> Request | None:
        return await self._database.read(lambda connection: _get(connection, request_id))

    async def find(
        self,
        *,
        cluster: str | None = None,
        kind: RequestKind | None = None,
        state: RequestState | None = None,
        tag: str | None = None,
    ) -> list[Request]:
        wanted = {"cluster": cluster, "kind": kind and kind.value, "state": state and state.value, "tag": tag}
        asked = {column: value for column, value in wanted.items() if value is not None}
        # Column names are the fixed ones above; values are bound.
        where = " AND ".join(f"{column} = ?" for column in asked) or "1"
        query = f"SELECT {_COLUMNS} FROM requests WHERE {where} ORDER BY sequence"  # noqa: S608
        rows = await self._database.read(lambda connection: connection.execute(query, [*asked.values()]).fetchall())
        return [_request(row) for row in rows]

    async def ended_since(self, since: float) -> list[Request]:
        query = f"SELECT {_COLUMNS} FROM requests WHERE finished >= ? ORDER BY finished, sequence"  # noqa: S608 - fixed
        rows = await self._database.read(lambda connection: connection.execute(query, (since,)).fetchall())
        return [_request(row) for row in rows]

    async def update(self, request: Request) -> None:
        await self._database.write(lambda connection: _replace(connection, request))

    async def finish(
        self,
        request: Request,
        parts: Sequence[NodePart] = (),
        events: Sequence[ActivityEvent] = (),
        forget: Sequence[str] = (),
    ) -> None:
        def end(connection: sqlite3.Connection) -> None:
            if _replace(connection, request):
                put_events(connection, events)
                # One at a time: all of them together would be held in memory, and hold up other threads.
                connection.executemany(
                    "INSERT OR REPLACE INTO node_parts (request, position, data) VALUES (?, ?, ?)",
                    ((request.id, position, packed(part, self._layouts)) for position, part in enumerate(parts)),
                )
                gone = [(request.cluster, destination) for destination in forget]
                for cluster, destination in gone:
                    forget_rules(connection, cluster, destination)
                connection.executemany("DELETE FROM destinations WHERE cluster = ? AND id = ?", gone)

        await self._database.write(end)

    async def ask_cancel(self, request_id: str, *, force: bool) -> Request | None:
        def ask(connection: sqlite3.Connection) -> Request | None:
            weaker = ("", "asked") if force else ("", "")
            connection.execute(
                "UPDATE requests SET cancel = ? WHERE id = ? AND state = ? AND cancel IN (?, ?)",
                ("force" if force else "asked", request_id, RequestState.RUNNING.value, *weaker),
            )
            return _get(connection, request_id)

        return await self._database.write(ask)

    async def drop_cancel(self, request_id: str, cancel: str) -> None:
        def drop(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE requests SET cancel = '' WHERE id = ? AND state = ? AND cancel = ?",
                (request_id, RequestState.RUNNING.value, cancel),
            )

        await self._database.write(drop)

    async def parts(self, request_id: str) -> list[NodePart]:
        return await unpacked_in_turns(await self.kept_parts(request_id), self._layouts)

    async def kept_parts(self, request_id: str) -> list[bytes]:
        query = "SELECT data FROM node_parts WHERE request = ? AND position >= ? ORDER BY position LIMIT ?"
        found = list[bytes]()
        while True:
            page = (request_id, len(found), PARTS_AT_ONCE)
            some = await self._database.read(partial(_rows, query, page))
            found += [data for (data,) in some]
            if len(some) < PARTS_AT_ONCE:
                return found or await packed_in_turns(await self._parts_of_before(request_id), self._layouts)

    async def _parts_of_before(self, request_id: str) -> list[NodePart]:
        """Those that an earlier release kept."""
        row = await self._database.read(
            lambda connection: connection.execute("SELECT data FROM parts WHERE request = ?", (request_id,)).fetchone()
        )
        return [] if row is None else msgspec.json.decode(zlib.decompress(row[0]), type=list[NodePart])

    async def step(self, request_id: str, name: str) -> dict[str, Any] | None:
        query = "SELECT data FROM steps WHERE request = ? AND name = ?"
        row = await self._database.read(lambda connection: connection.execute(query, (request_id, name)).fetchone())
        return None if row is None else _unpacked(row[0])

    async def record_step(self, request_id: str, name: str, data: dict[str, Any]) -> None:
        await self.record_steps(request_id, {name: data})

    async def record_steps(self, request_id: str, steps: Mapping[str, dict[str, Any]]) -> None:
        encoded = {name: msgspec.json.encode(data) for name, data in steps.items()}

        def record(connection: sqlite3.Connection) -> None:
            for name, plain in encoded.items():
                kept = zlib.compress(plain, 1) if len(plain) >= PACKED_FROM else plain
                connection.execute(
                    "INSERT INTO steps (request, name, data) VALUES (?, ?, ?)"
                    " ON CONFLICT (request, name) DO UPDATE SET data = excluded.data",
                    (request_id, name, kept),
                )

        await self._database.write(record)

    async def events(self, cluster: str, query: ActivityQuery = EVERYTHING) -> list[ActivityEvent]:
        return await self._database.read(lambda connection: select_events(connection, cluster, query))

    async def events_of(self, request_id: str) -> list[ActivityEvent]:
        return await self._database.read(lambda connection: select_events_of(connection, request_id))

    async def mark_deleted(self, cluster: str, tag: str, destination: str, at: int) -> None:
        def mark(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE events SET deleted_at = ? WHERE cluster = ? AND tag = ? AND destination = ?"
                " AND type = 'backup' AND deleted_at IS NULL",
                (at, cluster, tag, destination),
            )

        await self._database.write(mark)


def _unpacked(data: bytes) -> dict[str, Any]:
    """A step's data. Plain ones begin with a brace, compressed ones never do."""
    plain = data if data.startswith(b"{") else zlib.decompress(data)
    return msgspec.json.decode(plain, type=dict[str, Any])


def _insert_tag(connection: sqlite3.Connection, cluster: str, tag: str) -> bool:
    done = connection.execute("INSERT OR IGNORE INTO tags (cluster, tag) VALUES (?, ?)", (cluster, tag))
    return done.rowcount == 1


def _rows(query: str, values: tuple[object, ...], connection: sqlite3.Connection) -> list[tuple[bytes]]:
    return connection.execute(query, values).fetchall()


def _get(connection: sqlite3.Connection, request_id: str) -> Request | None:
    query = f"SELECT {_COLUMNS} FROM requests WHERE id = ?"  # noqa: S608 - the columns are fixed, the id is bound
    row = connection.execute(query, (request_id,)).fetchone()
    return None if row is None else _request(row)


def _request(row: tuple[bytes, str]) -> Request:
    return msgspec.structs.replace(msgspec.json.decode(row[0], type=Request), cancel=row[1])


def _replace(connection: sqlite3.Connection, request: Request) -> bool:
    """Write a running request's new form; False when it has ended (then nothing is changed)."""
    done = connection.execute(
        "UPDATE requests SET state = ?, tag = ?, finished = ?, data = ?,"
        " cancel = CASE WHEN cancel = '' THEN ? ELSE cancel END WHERE id = ? AND state = ?",
        (
            request.state.value,
            request.tag,
            request.finished,
            msgspec.json.encode(request),
            request.cancel,
            request.id,
            RequestState.RUNNING.value,
        ),
    )
    return done.rowcount == 1
