"""The activity log's rows. In: a connection, and events or a query. Out: rows written, or the events of one page.

What a query asks for stands in columns, so that only the events of the page are decoded; but for whether a failed
backup is partial.
"""

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from coordinator.model.activity import ActivityEvent, ActivityQuery

_COLUMNS = "data, deleted_at"
_THERE = (
    "CASE status WHEN 'error' THEN json_extract(CAST(data AS TEXT), '$.partial')"
    " ELSE status IN ('running', 'success') END"
)
"""The rest of `ActivityEvent.live`."""
_EVENT = msgspec.json.Decoder(ActivityEvent)


def put_events(connection: sqlite3.Connection, events: Sequence[ActivityEvent]) -> None:
    """Keep new events or replace them as they stand; a deletion once noted stays."""
    connection.executemany(
        "INSERT INTO events (request, destination, cluster, type, tag, deleted_at, event_time, status, data)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (request, destination) DO UPDATE SET data = excluded.data, status = excluded.status,"
        " event_time = excluded.event_time, deleted_at = COALESCE(deleted_at, excluded.deleted_at)",
        [
            (
                event.request,
                str(event.destination["id"]),
                event.cluster,
                event.type,
                event.tag,
                event.deleted_at,
                event.event_time,
                event.status,
                msgspec.json.encode(event),
            )
            for event in events
        ],
    )


def select_events(connection: sqlite3.Connection, cluster: str, query: ActivityQuery) -> list[ActivityEvent]:
    """One page; equal times stay in the order of writing, both ways round. Empty when `query.first` has no entry."""
    direction, beyond = ("DESC", "<=") if query.newest_first else ("ASC", ">=")
    where: list[str] = ["cluster = ?"]
    values: list[str | int] = [cluster]
    if query.timestamp is not None:
        where.append(f"event_time {beyond} ?")
        values.append(query.timestamp)
    if query.type:
        where.append("type = ?")
        values.append(query.type)
    if query.live:
        where.append(f"type = 'backup' AND deleted_at IS NULL AND {_THERE}")
    if query.successful:
        where.append("status = 'success'")
    order = f"ORDER BY event_time {direction}, sequence {direction} LIMIT ?"
    if query.first:
        # Conditions and order are the fixed texts above; values are bound.
        sought = f"SELECT event_time, sequence FROM events WHERE {' AND '.join(where)} AND tag = ? {order}"  # noqa: S608
        anchor = connection.execute(sought, (*values, query.first, 1)).fetchone()
        if anchor is None:
            return []
        where.append(f"(event_time, sequence) {beyond} (?, ?)")
        values += anchor
    page = f"SELECT {_COLUMNS} FROM events WHERE {' AND '.join(where)} {order}"  # noqa: S608
    return _events(connection.execute(page, (*values, -1 if query.count is None else query.count)))


def select_events_of(connection: sqlite3.Connection, request_id: str) -> list[ActivityEvent]:
    """The events of one request, in the order of writing."""
    query = f"SELECT {_COLUMNS} FROM events WHERE request = ? ORDER BY sequence"  # noqa: S608 - the columns are fixed
    return _events(connection.execute(query, (request_id,)))


def drop_events(connection: sqlite3.Connection, before: float) -> None:
    """Forget what was begun before (unix seconds) and has ended."""
    connection.execute("DELETE FROM events WHERE event_time < ? AND status != 'running'", (before,))


def _events(rows: Iterable[tuple[bytes, int | None]]) -> list[ActivityEvent]:
    return [msgspec.structs.replace(_EVENT.decode(data), deleted_at=deleted_at) for data, deleted_at in rows]
