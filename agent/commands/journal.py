"""The agent's memory of commands, in SQLite. In: changes. Out: records; a change is on the disk when its call returns.

Kept: commands, the stages they entered, the event log, the fences of jobs, what each coordinator has acknowledged.
A subclass may override `enter_stage` and `set_state` to watch a command pass.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Never, TypeVar

import msgspec

from agent.commands.errors import JournalFailed, JournalUnreadable
from agent.commands.journal_file import open_for_reading, open_for_writing
from agent.commands.journal_rows import (
    UNFINISHED,
    encode,
    fence_of,
    insert_command,
    insert_event,
    raise_fence,
    select_commands,
    select_events,
    situation_of,
    update_command,
)
from agent.commands.journal_writer import JournalWriter
from agent.commands.records import CommandRecord, Decide, Guard
from agent.wire.commands import Event, Kind, State

Result = TypeVar("Result")

KEPT_SECONDS = 30 * 24 * 3600.0
"""How long a terminal command and its events are kept."""

MEND_SECONDS = 5.0
"""Between two tries to write after one failed."""


class Journal:
    """The journal at `path`. Call `open` before anything else and `close` at the end."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._write_thread = ThreadPoolExecutor(1, "journal-write")
        self._read_thread = ThreadPoolExecutor(1, "journal-read")
        self._write_connection: sqlite3.Connection | None = None
        self._read_connection: sqlite3.Connection | None = None
        self._writer: JournalWriter | None = None
        self.failing = False
        """the last write failed: disk full, disk gone"""

    async def open(self) -> None:
        """Open or make the file. Raises JournalUnreadable, JournalTooNew."""
        loop = asyncio.get_running_loop()
        self._write_connection = await loop.run_in_executor(self._write_thread, open_for_writing, self._path)
        self._read_connection = await loop.run_in_executor(self._read_thread, open_for_reading, self._path)
        self._writer = JournalWriter(self._write_thread, self._write_connection)

    async def close(self) -> None:
        """Finish what waits and close the file."""
        loop = asyncio.get_running_loop()
        if self._writer is not None:
            await self._writer.settle()
            self._writer = None
        for thread, connection in (
            (self._read_thread, self._read_connection),
            (self._write_thread, self._write_connection),
        ):
            if connection is not None:
                await loop.run_in_executor(thread, connection.close)
            thread.shutdown(wait=True)
        self._read_connection = self._write_connection = None

    @property
    def commits(self) -> int:
        """Transactions since the journal was opened."""
        return self._writer.commits if self._writer else 0

    # What changes a command

    async def accept(self, command: CommandRecord, decide: Decide, event: Event) -> tuple[CommandRecord, bool]:
        """Take a command if `decide` says so, with its first event. Gives the command as the journal has it, and
        whether it is new. Raises what `decide` raises. A fence that was shown is remembered in either case."""

        def work(connection: sqlite3.Connection) -> tuple[CommandRecord, bool]:
            situation = situation_of(connection, command)
            new = decide(command, situation)
            if command.job is not None and (new or command.fence > situation.fence.highest):
                raise_fence(connection, command.job, command.fence, self._clock())
            if not new:
                assert situation.existing is not None  # noqa: S101 - «not new» means it is there
                return situation.existing, False
            insert_command(connection, command)
            insert_event(connection, event, command.report_to)
            return command, True

        return await self._write(work)

    async def set_state(self, command: CommandRecord, event: Event | None, guard: Guard | None = None) -> None:
        """Write a command's new state with its event. `guard` sees the job's fence in the same transaction and may
        refuse. A command that is terminal in the journal is never changed (LookupError)."""

        def work(connection: sqlite3.Connection) -> None:
            if guard is not None:
                guard(fence_of(connection, command.job))
            update_command(connection, command)
            if command.kind is Kind.IMPORT and command.state is State.RUNNING and command.job is not None:
                raise_fence(connection, command.job, command.fence, self._clock(), import_begun=True)
            if event is not None:
                insert_event(connection, event, command.report_to)

        await self._write(work)

    async def enter_stage(self, command: CommandRecord, data: Any | None, event: Event) -> None:
        """Write that `command.stage` begins, with JSON-ready data; None keeps what is there."""
        encoded = None if data is None else encode(data)

        def work(connection: sqlite3.Connection) -> None:
            update_command(connection, command)
            connection.execute(
                "INSERT INTO stages (command, stage, data, entered) VALUES (?, ?, ?, ?) ON CONFLICT (command, stage) "
                "DO UPDATE SET data = coalesce(excluded.data, data), entered = excluded.entered",
                (command.id, command.stage, encoded, self._clock()),
            )
            insert_event(connection, event, command.report_to)

        await self._write(work)

    async def set_report_to(self, command: str, report_to: str, event: Event) -> None:
        """Name another reader for a command, and tell it the present state."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE commands SET report_to = ? WHERE id = ?", (report_to, command))
            insert_event(connection, event, report_to)

        await self._write(work)

    # What is read

    async def command(self, command: str) -> CommandRecord | None:
        """One command."""
        found = await self._read(lambda connection: select_commands(connection, "WHERE id = ?", (command,)))
        return found[0] if found else None

    async def commands(self, job: str | None, states: Sequence[State], limit: int) -> list[CommandRecord]:
        """The newest commands first, without counts, of one job and in some states only when these are given."""
        conditions = ["1"]
        values: list[object] = []
        if job is not None:
            conditions.append("job = ?")
            values.append(job)
        if states:
            conditions.append(f"state IN ({', '.join('?' * len(states))})")
            values.extend(state.value for state in states)
        condition = f"WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT ?"
        return await self._read(
            lambda connection: select_commands(connection, condition, (*values, limit), counts=False)
        )

    async def unfinished(self) -> list[tuple[CommandRecord, dict[str, Any]]]:
        """All commands that are not terminal, in the order of acceptance, with the data of their stages."""

        def work(connection: sqlite3.Connection) -> list[tuple[CommandRecord, dict[str, Any]]]:
            found = []
            for command in select_commands(connection, f"WHERE state IN {UNFINISHED} ORDER BY number"):
                rows = connection.execute("SELECT stage, data FROM stages WHERE command = ?", (command.id,))
                found.append((command, {stage: data and msgspec.json.decode(data) for stage, data in rows}))
            return found

        return await self._read(work)

    # The event log

    async def events(
        self, after: int, until: int, limit: int, most_bytes: int, report_to: str | None = None
    ) -> tuple[list[Event], bool]:
        """Entries after a sequence up to another, in order, at most `limit` and not many more than `most_bytes` of
        JSON; whether these are all."""
        return await self._read(
            lambda connection: select_events(connection, after, until, limit, most_bytes, report_to)
        )

    async def last_sequence(self) -> int:
        """No higher sequence was ever given out."""

        def work(connection: sqlite3.Connection) -> int:
            row = connection.execute(
                "SELECT max(reserved, coalesce((SELECT max(sequence) FROM events), 0)) FROM sequences"
            ).fetchone()
            return int(row[0])

        return await self._read(work)

    async def reserve_sequences(self, until: int) -> None:
        """From now on sequences up to `until` may be given out without being written."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE sequences SET reserved = max(reserved, ?)", (until,))

        await self._write(work)

    async def position(self, reader: str) -> int:
        """The last sequence that a reader has acknowledged, 0 at first."""

        def work(connection: sqlite3.Connection) -> int:
            row = connection.execute("SELECT position FROM readers WHERE name = ?", (reader,)).fetchone()
            return 0 if row is None else int(row[0])

        return await self._read(work)

    async def set_position(self, reader: str, position: int) -> None:
        """Remember what a reader has acknowledged."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO readers VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET position = excluded.position",
                (reader, position),
            )

        await self._write(work)

    async def prune(self, kept_seconds: float = KEPT_SECONDS) -> int:
        """Forget commands (with stages and events) that ended longer ago than that, and fences as old; says how many
        commands went. The log's last sequence stays known."""
        before = self._clock() - kept_seconds

        def work(connection: sqlite3.Connection) -> int:
            connection.execute(
                "UPDATE sequences SET reserved = max(reserved, coalesce((SELECT max(sequence) FROM events), 0))"
            )
            gone = connection.execute("DELETE FROM commands WHERE finished < ?", (before,)).rowcount
            connection.execute(
                "DELETE FROM fences WHERE used < ? AND job NOT IN (SELECT job FROM commands WHERE job IS NOT NULL)",
                (before,),
            )
            return gone

        return await self._write(work)

    async def mend(self, every: float = MEND_SECONDS) -> Never:
        """Find out when a journal that failed can be written again, without waiting for a command."""
        while True:
            await asyncio.sleep(every)
            if self.failing:
                with suppress(JournalFailed):
                    await self.reserve_sequences(0)

    async def _write(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        if self._writer is None:
            raise JournalUnreadable("the journal is not open")
        try:
            result = await self._writer.submit(work)
        except JournalFailed:
            self.failing = True
            raise
        self.failing = False
        return result

    async def _read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        connection = self._read_connection
        if connection is None:
            raise JournalUnreadable("the journal is not open")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._read_thread, work, connection)
        except sqlite3.Error as error:
            raise JournalUnreadable(f"the journal {self._path} can't be read: {error}", reason=str(error)) from None
