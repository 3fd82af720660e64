"""Between the journal's rows and its records."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from agent.commands.acceptance import rivals_of
from agent.commands.records import CommandRecord, Fence, Situation
from agent.wire.commands import Event, Kind, Progress, State

UNFINISHED = "('queued', 'running', 'waiting')"
_COLUMNS = (
    "id, kind, arguments, tag, job, phase, fence, not_after, report_to, state, accepted, instance, stage, cancelling, "
    "started, finished, progress, result, error, number"
)
_progress = msgspec.json.Decoder(Progress)
_object = msgspec.json.Decoder(dict[str, Any])
_event = msgspec.json.Decoder(Event)
encode = msgspec.json.Encoder(enc_hook=str).encode
"""What a job put into fields of an error that JSON doesn't know is shown as text."""


def maybe(value: object) -> bytes | None:
    """JSON, or NULL for None and for nothing counted."""
    return encode(value) if value else None


def command_of(row: Sequence[Any]) -> CommandRecord:
    """A row of `select_commands` as a record."""
    return CommandRecord(
        id=row[0],
        kind=Kind(row[1]),
        arguments=row[2],
        tag=row[3],
        job=row[4],
        phase=row[5],
        fence=row[6],
        not_after=row[7],
        report_to=row[8],
        state=State(row[9]),
        accepted=row[10],
        instance=row[11],
        stage=row[12],
        cancelling=bool(row[13]),
        started=row[14],
        finished=row[15],
        progress=_progress.decode(row[16]) if row[16] else {},
        result=_object.decode(row[17]) if row[17] else None,
        error=_object.decode(row[18]) if row[18] else None,
        number=row[19],
    )


def select_commands(
    connection: sqlite3.Connection, condition: str = "", values: Sequence[object] = (), *, counts: bool = True
) -> list[CommandRecord]:
    """Commands that fulfil a condition (SQL that follows FROM commands), with or without their counts per table."""
    columns = _COLUMNS if counts else _COLUMNS.replace("progress", "NULL")
    rows = connection.execute(f"SELECT {columns} FROM commands {condition}", values)  # noqa: S608 - constants only
    return [command_of(row) for row in rows]


def insert_command(connection: sqlite3.Connection, command: CommandRecord) -> None:
    """A new row."""
    connection.execute(
        "INSERT INTO commands (id, kind, arguments, tag, job, phase, fence, not_after, report_to, state, accepted, "
        "instance) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            command.id,
            command.kind.value,
            command.arguments,
            command.tag,
            command.job,
            command.phase,
            command.fence,
            command.not_after,
            command.report_to,
            command.state.value,
            command.accepted,
            command.instance,
        ),
    )


def update_command(connection: sqlite3.Connection, command: CommandRecord) -> None:
    """Write what may change in a command's life. A terminal command is never changed."""
    changed = connection.execute(
        f"UPDATE commands SET state = ?, stage = ?, cancelling = ?, started = ?, finished = ?, instance = ?, "  # noqa: S608
        f"progress = ?, result = ?, error = ? WHERE id = ? AND state IN {UNFINISHED}",
        (
            command.state.value,
            command.stage,
            command.cancelling,
            command.started,
            command.finished,
            command.instance,
            maybe(command.progress),
            None if command.result is None else encode(command.result),
            maybe(command.error),
            command.id,
        ),
    )
    if changed.rowcount != 1:
        raise LookupError(f"{command.id} is not an unfinished command of the journal")


def insert_event(connection: sqlite3.Connection, event: Event, report_to: str | None) -> None:
    """A new entry of the event log."""
    connection.execute(
        "INSERT INTO events (sequence, command, report_to, event) VALUES (?, ?, ?, ?)",
        (event.sequence, event.command, report_to, encode(event)),
    )


def select_events(
    connection: sqlite3.Connection, after: int, until: int, limit: int, most_bytes: int, report_to: str | None
) -> tuple[list[Event], bool]:
    """Entries after one sequence up to another, in order; of one reader's commands or of all: at most `limit`, and up
    to the one that passes `most_bytes`. Whether these are all."""
    mine = "" if report_to is None else "AND report_to = ?"
    values: list[object] = [after, until] + ([] if report_to is None else [report_to])
    rows = connection.execute(
        f"SELECT event FROM events WHERE sequence > ? AND sequence <= ? {mine} ORDER BY sequence LIMIT ?",  # noqa: S608
        (*values, limit),
    )
    events: list[Event] = []
    size = 0
    for (event,) in rows:
        events.append(_event.decode(event))
        size += len(event)
        if size > most_bytes:
            return events, False
    return events, len(events) < limit


def fence_of(connection: sqlite3.Connection, job: str | None) -> Fence:
    """What is known of a job."""
    if job is None:
        return Fence()
    row = connection.execute("SELECT highest, import_begun FROM fences WHERE job = ?", (job,)).fetchone()
    return Fence() if row is None else Fence(row[0], bool(row[1]))


def raise_fence(
    connection: sqlite3.Connection, job: str, fence: int, now: float, *, import_begun: bool = False
) -> None:
    """Note a fence that was shown, and that an import began."""
    connection.execute(
        "INSERT INTO fences (job, highest, import_begun, used) VALUES (?, ?, ?, ?) ON CONFLICT (job) DO UPDATE SET "
        "highest = max(highest, excluded.highest), import_begun = max(import_begun, excluded.import_begun), "
        "used = excluded.used",
        (job, fence, import_begun, now),
    )


def situation_of(connection: sqlite3.Connection, command: CommandRecord) -> Situation:
    """What acceptance of a command is decided from."""
    found = select_commands(connection, "WHERE id = ?", (command.id,))
    rivals = sorted(kind.value for kind in rivals_of(command.kind))
    same_tag: list[CommandRecord] = []
    if command.tag is not None and rivals:
        condition = f"WHERE tag = ? AND state IN {UNFINISHED} AND kind IN ({', '.join('?' * len(rivals))}) LIMIT 1"
        same_tag = select_commands(connection, condition, (command.tag, *rivals))
    unfinished = connection.execute(f"SELECT count(*) FROM commands WHERE state IN {UNFINISHED}").fetchone()[0]  # noqa: S608
    return Situation(
        found[0] if found else None, fence_of(connection, command.job), same_tag[0] if same_tag else None, unfinished
    )
