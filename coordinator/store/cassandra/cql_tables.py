"""The tables in CQL (`tables.Tables`). In: calls. Out: one statement each, or one batch of one partition.

`records` is written by conditional batches only and read at SERIAL, so that Paxos alone orders its changes. `pointers`
are written plainly at QUORUM with the numbers that they come with as timestamps: neither depends on a clock.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any

from coordinator.store.cassandra.driver import Caller, Driver, Rows, Statement
from coordinator.store.cassandra.errors import Refused, Unanswered, failed
from coordinator.store.cassandra.patience import Patience
from coordinator.store.cassandra.tables import Drop, Entry, Kept, Key, Row, Snapshot
from coordinator.store.protocol import Hold

_ROW = "version, writer, part, name, data, position, mark"

_TOGETHER = 100
"""Entries of one scope in one write: a copy has 32 KiB at most."""


class CqlTables:
    """See `tables.Tables`. `patience`: seconds for a page of a scan, which is asked again until then. `caller`: whose
    statements they are, anybody's unless told."""

    def __init__(self, driver: Driver, keyspace: str, patience: float, caller: Caller | None = None) -> None:
        self._driver = driver
        self._keyspace = keyspace
        self._patience = patience
        self._caller = caller or driver.anybody
        records, entries, pieces = (f"{keyspace}.{name}" for name in ("records", "pointers", "pieces"))
        # Names of tables are those above, the keyspace's is checked by its setting; values are bound.
        of_record = "WHERE kind = ? AND id = ?"
        self._version = f"SELECT version, writer FROM {records} {of_record} LIMIT 1"  # noqa: S608
        self._parts = f"SELECT {_ROW} FROM {records} {of_record} AND part IN ?"  # noqa: S608
        self._names = f"{self._parts} AND name IN ?"
        self._swap = f"UPDATE {records} SET version = ?, writer = ? {of_record} IF version = ?"  # noqa: S608
        self._stub = f"UPDATE {records} USING TTL ? SET version = ?, writer = ? {of_record} IF version = ?"  # noqa: S608
        self._put = f"INSERT INTO {records} (kind, id, part, name, data, position, mark) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
        self._drop_row = f"DELETE FROM {records} {of_record} AND part = ? AND name = ?"  # noqa: S608
        self._drop_part = f"DELETE FROM {records} {of_record} AND part = ?"  # noqa: S608
        note = f"INSERT INTO {entries} (log, scope, position, name, owner, data) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608
        self._note, self._note_at = note, f"{note} USING TIMESTAMP ?"
        entry = "WHERE log = ? AND scope = ? AND position = ? AND name = ?"
        self._erase = f"DELETE FROM {entries} {entry}"  # noqa: S608
        self._erase_at = f"DELETE FROM {entries} USING TIMESTAMP ? {entry}"  # noqa: S608
        self._look = f"SELECT owner, data FROM {entries} {entry}"  # noqa: S608
        scan = f"SELECT position, name, owner, data FROM {entries} WHERE log = ? AND scope = ?"  # noqa: S608
        self._oldest_first = scan
        self._after_it = f"{scan} AND (position, name) > (?, ?)"
        newest = "ORDER BY position DESC, name DESC"
        self._newest_first = f"{scan} {newest}"
        self._before_it = f"{scan} AND (position, name) < (?, ?) {newest}"
        self._put_piece = f"INSERT INTO {pieces} (kind, owner, which, number, data) VALUES (?, ?, ?, ?, ?)"  # noqa: S608
        self._pieces = f"SELECT data FROM {pieces} WHERE kind = ? AND owner = ? AND which = ?"  # noqa: S608
        self._piece_names = f"SELECT which FROM {pieces} WHERE kind = ? AND owner = ?"  # noqa: S608
        self._drop_pieces = f"DELETE FROM {pieces} WHERE kind = ? AND owner = ? AND which = ?"  # noqa: S608

    async def glance(self, key: Key, parts: Sequence[str], names: Sequence[str] = ()) -> tuple[Row, ...]:
        # A change is told when a quorum has it, and each quorum meets that one.
        rows, _ = await self._rows(key, parts, names, serial=False)
        return _plain_rows(rows)

    async def read(self, key: Key, parts: Sequence[str], names: Sequence[str] = ()) -> Snapshot:
        while True:
            found, pages = await self._rows(key, parts, names)
            if not found:
                # Of a partition without the wanted rows only this tells the version. Then the rows again: one that came
                # in between must not be taken for missing at that version.
                version, writer = await self._version_of(key)
                found, pages = await self._rows(key, parts, names)
                if not found:
                    return Snapshot(version, writer, ())
            whole = Snapshot(found[0][0], found[0][1], _plain_rows(found))
            # Else it was changed between two pages; the rows of a later one may all have gone with that.
            if {row[0] for row in found} == {whole.version} and (
                pages == 1 or await self._version_of(key) == (whole.version, whole.writer)
            ):
                return whole

    async def swap(
        self, key: Key, expected: int, writer: str, puts: Sequence[Row], drops: Sequence[Drop], seconds: int | None
    ) -> bool:
        change = (expected + 1, writer, *key, expected or None)
        first = Statement(self._swap, change) if seconds is None else Statement(self._stub, (seconds, *change))
        rows = [Statement(self._put, (*key, row.part, row.name, row.data, row.position, row.mark)) for row in puts]
        gone = [
            Statement(self._drop_part, (*key, drop.part))
            if drop.name is None
            else Statement(self._drop_row, (*key, drop.part, drop.name))
            for drop in drops
        ]
        return bool((await self._driver.batch([first, *gone, *rows], by=self._caller))[0][0])

    async def note(self, kept: Sequence[Kept], number: int | None) -> None:
        text, at = (self._note, ()) if number is None else (self._note_at, (number,))
        # Open: no bytes. A null would be a tombstone.
        await self._write(
            {each.entry: Statement(text, (*each.entry, each.owner, each.data or b"", *at)) for each in kept}
        )

    async def erase(self, entries: Sequence[Entry], number: int | None) -> None:
        text, at = (self._erase, ()) if number is None else (self._erase_at, (number,))
        await self._write({each: Statement(text, (*at, *each)) for each in entries})

    async def look(self, entry: Entry) -> Kept | None:
        rows = await self._driver.ask(self._look, entry, by=self._caller)
        return Kept(entry, rows[0][0], rows[0][1] or None) if rows else None

    async def scan(self, log: str, scope: str, *, newest_first: bool = False) -> AsyncIterator[list[Kept]]:
        text = self._newest_first if newest_first else self._oldest_first
        after = self._before_it if newest_first else self._after_it
        last: tuple[int, str] | None = None
        patience = Patience(self._patience)
        while True:
            asked = (text, (log, scope)) if last is None else (after, (log, scope, *last))
            pages = self._driver.pages(*asked, by=self._caller)
            try:
                async for rows in pages:
                    if rows:
                        last = (rows[-1][0], rows[-1][1])
                        yield [Kept(Entry(log, scope, at, name), owner, data or None) for at, name, owner, data in rows]
                    patience = Patience(self._patience)
                return
            except Unanswered as error:
                await patience.wait(error)  # and go on behind the last one
            except Refused as refused:
                raise failed(refused) from None

    async def put_piece(self, owner: Key, which: str, number: int, data: bytes) -> None:
        await self._driver.write(self._put_piece, (*owner, which, number, data), by=self._caller)

    async def pieces(self, owner: Key, which: str) -> list[bytes]:
        return [row[0] for row in await self._driver.ask(self._pieces, (*owner, which), by=self._caller)]

    async def piece_names(self, owner: Key) -> set[str]:
        return {row[0] for row in await self._driver.ask(self._piece_names, owner, by=self._caller)}

    async def drop_pieces(self, owner: Key, which: str) -> None:
        await self._driver.write(self._drop_pieces, (*owner, which), by=self._caller)

    def host_ids(self) -> frozenset[str]:
        return self._driver.host_ids()

    def held(self, hold: Hold) -> "CqlTables":
        return CqlTables(self._driver, self._keyspace, self._patience, self._caller._replace(hold=hold))

    async def close(self) -> None:
        await self._driver.close()

    async def _version_of(self, key: Key) -> tuple[int, str]:
        versions = await self._driver.ask(self._version, key, by=self._caller, serial=True)
        version, writer = versions[0] if versions else (None, None)
        return version or 0, writer or ""

    async def _rows(
        self, key: Key, parts: Sequence[str], names: Sequence[str], *, serial: bool = True
    ) -> tuple[Rows, int]:
        """With the number of pages that they came in."""
        text, values = (self._names, (*key, list(parts), list(names))) if names else (self._parts, (*key, list(parts)))
        pages = [page async for page in self._driver.pages(text, values, by=self._caller, serial=serial)]
        return [row for page in pages for row in page], len(pages)

    async def _write(self, statements: Mapping[Entry, Statement]) -> None:
        """Those of one scope together: one write to each replica."""
        scopes: dict[tuple[str, str], list[Statement]] = {}
        for entry, statement in statements.items():
            scopes.setdefault((entry.log, entry.scope), []).append(statement)
        runs = [of[at : at + _TOGETHER] for of in scopes.values() for at in range(0, len(of), _TOGETHER)]
        await _all(*(self._driver.batch(run, by=self._caller) for run in runs))


def _plain_rows(found: Rows) -> tuple[Row, ...]:
    return tuple(Row(part, name, data, position, mark) for _, _, part, name, data, position, mark in found)


async def _all(*works: Coroutine[Any, Any, Any]) -> None:
    """Wait for all of them, then raise the first one's error, if any failed."""
    for answer in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
