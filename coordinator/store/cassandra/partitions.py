"""Changing a record whole, whatever dies in between. In: a key and a pure decision over its rows. Out: the rows changed
and the entries that follow from them, or nothing changed.

A change reads the version v with the rows, decides, and swaps v for v+1 by one conditional batch of one partition
(Paxos), which bears a name of its own (`writer`). So

- rows of one record change together, and only from what was decided upon;
- an outcome that is not known is read back at SERIAL: the version is still v (not done; a straggler that does it yet
  makes the next attempt fail, and is recognised by its name), or v+1 with our name (done), or another's (not done:
  decide anew);
- no clock decides which of two writes stays.

Entries (`index`) stand in other partitions. Before the swap those that the new rows will have are opened with the
number 2v+1, after it they are written, or erased, with 2(v+1): whichever comes first at whichever replica, the higher
number stays. Whoever reads an open entry asks the record. So a death between two partitions leaves open entries, never
a wrong or a missing one. What a reader repairs bears 2v, which is lower than that of any change under way.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import msgspec
import structlog

from coordinator.store.cassandra.errors import Refused, Unanswered, failed
from coordinator.store.cassandra.index import difference, entries_of, period_of
from coordinator.store.cassandra.packing import (
    cut,
    elsewhere,
    joined,
    packed_aside,
    reference,
    row_limit,
    unpacked_aside,
)
from coordinator.store.cassandra.patience import Patience
from coordinator.store.cassandra.tables import Drop, Entry, Kept, Key, Row, Snapshot, Tables
from coordinator.store.database import StoreFailed
from coordinator.store.protocol import Hold
from kit.together import together

log = structlog.get_logger(__name__)

T = TypeVar("T")
_LOOKS = 3
"""How often a row is read whose pieces were replaced between two reads."""
STUB_SECONDS = 2 * 365 * 86_400
"""How long the version of a record without rows is kept: longer than any entry that bears its numbers."""


class Change(msgspec.Struct, frozen=True):
    """What becomes of a record's rows. `stub`: none is left."""

    puts: Sequence[Row] = ()
    drops: Sequence[Drop] = ()
    stub: bool = False


Decide = Callable[[Snapshot], Change | None]
"""What to change, given the rows; None: nothing. Called again when they changed meanwhile, so it must be pure."""


class Partitions:
    """`patience`: seconds, by `clock`, that an operation may take before it fails."""

    def __init__(self, tables: Tables, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.tables = tables
        self._seconds = patience
        self._clock = clock
        self._locks: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()
        self._whole: set[asyncio.Task[Any]] = set()
        self._over = False
        self._periods: set[Entry] = set()

    def held(self, hold: Hold) -> "Partitions":
        """The same state, each write of which awaits `hold` before every attempt."""
        return Partitions(self.tables.held(hold), self._seconds, self._clock)

    async def read(self, key: Key, parts: Sequence[str], names: Sequence[str] = ()) -> Snapshot:
        """The rows, with their JSON. Raises `StoreFailed`."""
        patience = self._patience()
        for _ in range(_LOOKS):
            found = await patience.ask(lambda: self.tables.read(key, parts, names))
            plain = await self._plain(key, found, patience)
            if plain is not None:
                return plain
        raise StoreFailed(f"the coordinator's state of {key.kind} {key.id} lacks pieces", record=key.id)

    async def glance(self, key: Key, parts: Sequence[str], names: Sequence[str] = ()) -> tuple[Row, ...]:
        """The rows, all of them small, for a judgement that lasts no longer than a moment: half of what `read` costs.
        What was told as done is seen. Raises `StoreFailed`."""
        rows = await self._patience().ask(lambda: self.tables.glance(key, parts, names))
        if any(elsewhere(row.data) for row in rows):
            return (await self.read(key, parts, names)).rows
        return tuple([msgspec.structs.replace(row, data=await unpacked_aside(row.data)) for row in rows])

    async def look(self, entry: Entry) -> Kept | None:
        """One entry, None if it isn't there. Raises `StoreFailed`."""
        return await self._patience().ask(lambda: self.tables.look(entry))

    async def change(
        self, key: Key, parts: Sequence[str], decide: Decide, names: Sequence[str] = (), *, bare: bool = False
    ) -> None:
        """Change the record, given its rows of those parts and names; `bare`: without their JSON. Raises `StoreFailed`:
        then it is done whole or not at all."""
        patience = self._patience()  # from before the lock is waited for: the whole operation is to end in time
        lock = self._locks.setdefault(key, asyncio.Lock())
        await patience.in_turn(lock)  # between coordinators the version decides; within one nobody need lose
        try:
            await self._change(key, parts, names, decide, bare, patience)
        finally:
            lock.release()

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work to its end, also when the caller is cancelled meanwhile. Raises `StoreFailed`."""
        if self._over:
            work.close()
            raise StoreFailed("nothing more is written: the coordinator has stopped acting")
        task = asyncio.ensure_future(work)
        self._whole.add(task)
        task.add_done_callback(self._whole.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Finish what is being written."""
        await asyncio.gather(*self._whole, return_exceptions=True)
        await self.tables.close()

    async def finish(self, seconds: float) -> None:
        """Nothing is begun any more; what is being written is done, or cut off when it lasts longer than that. Cut off
        anywhere a change is whole or not there; a statement that was sent just then may be done yet."""
        self._over = True
        if self._whole:
            _, late = await asyncio.wait(self._whole, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def repair(self, key: Key, entry: Entry, now: Snapshot) -> None:
        """Write an entry as it follows from the record's rows `now` (all of its part). No change under way is
        disturbed: its entries bear a higher number."""
        right = next((kept for row in now.rows for kept in entries_of(key, row) if kept.entry == entry), None)
        if right is None and now.version:  # of a record that isn't there, the entry may be the first step of its making
            await self._quietly(lambda: self.tables.erase([entry], 2 * now.version))
        elif right is not None and right.data is not None:
            await self._quietly(lambda: self.tables.note([right], 2 * now.version))

    async def erase_ahead(self, key: Key, found: Snapshot, logs: Collection[str]) -> None:
        """Erase the entries, in those logs, of rows that are about to be dropped for good and that nobody asks for:
        after a death between the rows and their entries nothing would lead to these any more."""
        entries = [kept.entry for row in found.rows for kept in entries_of(key, row) if kept.entry.log in logs]
        if entries:
            patience = self._patience()
            await patience.ask(lambda: self.tables.erase(entries, 2 * found.version + 1))

    async def drop_orphans(self, key: Key, parts: Sequence[str]) -> None:
        """Forget pieces that no row of the record names: a death, or a change of details unread, left them. For records
        that nobody writes any more; `parts`: all there are."""
        patience = self._patience()
        found = await patience.ask(lambda: self.tables.read(key, parts))
        used = {where.which for row in found.rows if (where := elsewhere(row.data)) is not None}
        for which in sorted(await patience.ask(lambda: self.tables.piece_names(key)) - used):

            async def drop(which: str = which) -> None:
                await self.tables.drop_pieces(key, which)

            await patience.ask(drop)

    async def forget_period(self, period: Entry) -> None:
        """Forget that there is such a scope."""
        self._periods.discard(period)
        await self._quietly(lambda: self.tables.erase([period], None))

    async def _change(
        self, key: Key, parts: Sequence[str], names: Sequence[str], decide: Decide, bare: bool, patience: Patience
    ) -> None:
        writer = uuid.uuid4().hex
        tried: tuple[int, Snapshot, Change] | None = None
        while True:
            raw = await patience.ask(lambda: self.tables.read(key, parts, names))
            if tried is not None and raw.writer == writer:
                await self._after(key, *tried, patience)
                return
            found = raw if bare else await self._plain(key, raw, patience)
            if found is None:
                await patience.wait()
                continue
            change = decide(found)
            if change is None:
                return
            tried = (found.version, found, change)
            opened, _, _ = difference(key, found.rows, _rows_after(found, change))
            await self._open(opened, 2 * found.version + 1, patience)
            puts = await self._packed(key, change.puts, patience)
            seconds = STUB_SECONDS if change.stub else None
            try:
                if await self.tables.swap(key, found.version, writer, puts, change.drops, seconds):
                    await self._after(key, *tried, patience)
                    await self._drop_pieces(key, raw, change)
                    return
            except Refused as refused:
                raise failed(refused) from None
            except Unanswered as error:
                log.info("a write's outcome is looked up", record=f"{key.kind} {key.id}", reason=str(error))
                await patience.wait(error)
                continue
            await patience.wait()

    async def _after(self, key: Key, version: int, found: Snapshot, change: Change, patience: Patience) -> None:
        """Bring the entries to what was changed; what fails is done by whoever reads them."""
        _, written, erased = difference(key, found.rows, _rows_after(found, change))
        number = 2 * (version + 1)
        if written:
            await self._quietly(lambda: self.tables.note(written, number))
        if erased:
            await self._quietly(lambda: self.tables.erase(erased, number))

    async def _open(self, opened: Sequence[Kept], number: int, patience: Patience) -> None:
        periods = {period for kept in opened if (period := period_of(kept.entry)) is not None} - self._periods
        if periods:
            await patience.ask(lambda: self.tables.note([Kept(period, "") for period in sorted(periods)], None))
            self._periods |= periods
        if opened:
            await patience.ask(lambda: self.tables.note(opened, number))

    def _patience(self) -> Patience:
        return Patience(self._seconds, self._clock)

    async def _quietly(self, write: Callable[[], Awaitable[None]]) -> None:
        try:
            await write()
        except (Unanswered, Refused) as error:
            log.info("entries of the state are left open", reason=str(error))

    async def _plain(self, key: Key, raw: Snapshot, patience: Patience) -> Snapshot | None:
        rows = await together(*(self._unpacked(key, row, patience) for row in raw.rows))
        if None in rows:
            return None
        return msgspec.structs.replace(raw, rows=tuple(row for row in rows if row is not None))

    async def _unpacked(self, key: Key, row: Row, patience: Patience) -> Row | None:
        where = elsewhere(row.data)
        if where is None:
            return msgspec.structs.replace(row, data=await unpacked_aside(row.data))
        kept = joined(where, await patience.ask(lambda: self.tables.pieces(key, where.which)))
        return None if kept is None else msgspec.structs.replace(row, data=await unpacked_aside(kept))

    async def _packed(self, key: Key, rows: Sequence[Row], patience: Patience) -> list[Row]:
        limit = row_limit(len(rows))

        async def packed(row: Row) -> Row:
            kept = await packed_aside(row.data)
            if len(kept) > limit:
                kept = await self._put_pieces(key, kept, patience)
            return msgspec.structs.replace(row, data=kept)

        return await together(*map(packed, rows))

    async def _put_pieces(self, key: Key, kept: bytes, patience: Patience) -> bytes:
        where, pieces = cut(kept)

        async def put(number: int, piece: bytes) -> None:
            await patience.ask(lambda: self.tables.put_piece(key, where.which, number, piece))

        await together(*(put(number, piece) for number, piece in enumerate(pieces)))
        return reference(where)

    async def _drop_pieces(self, key: Key, raw: Snapshot, change: Change) -> None:
        """Forget the pieces of rows that were replaced or removed; those that a death leaves go with the record."""
        gone = {(row.part, row.name) for row in change.puts}
        dropped = set(change.drops)
        for row in raw.rows:
            where = elsewhere(row.data)
            if where is None:
                continue
            if (row.part, row.name) in gone or Drop(row.part, row.name) in dropped or Drop(row.part) in dropped:
                await self._quietly(lambda which=where.which: self.tables.drop_pieces(key, which))  # type: ignore[misc]


def _rows_after(found: Snapshot, change: Change) -> list[Row]:
    """The rows as they will be."""
    dropped = set(change.drops)
    rows = {
        (row.part, row.name): row
        for row in found.rows
        if Drop(row.part) not in dropped and Drop(row.part, row.name) not in dropped
    }
    rows.update({(row.part, row.name): row for row in change.puts})
    return list(rows.values())
