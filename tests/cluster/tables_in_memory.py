"""The tables of a state in memory (`coordinator.store.cassandra.tables`), and what can befall them. In: calls. Out:
what the tables hold, or the way in which a cluster fails: an answer that is lost before or after the work was done.

Several coordinators share one `World`. Each call is one step of it; `Fate` decides what becomes of each step.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from coordinator.store.cassandra.errors import Unanswered
from coordinator.store.cassandra.patience import Patience
from coordinator.store.cassandra.tables import Drop, Entry, Kept, Key, Row, Snapshot
from coordinator.store.protocol import Hold

T = TypeVar("T")


class Outcome(Enum):
    """Of one step."""

    DONE = "done"
    LOST_BEFORE = "not done, no answer"
    LOST_AFTER = "done, no answer"
    DEAD = "this and every later step of this coordinator: not done"


Fate = Callable[[int, str], Outcome]
"""What becomes of a step, by its number (from 0 on) and the call's name."""


_WRITES = ("swap", "note", "erase", "put_piece", "drop_pieces")


class Killed(BaseException):
    """The coordinator was killed here."""


@dataclass
class _Record:
    version: int = 0
    writer: str = ""
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)


class World:
    """What is kept, whoever asks."""

    def __init__(self) -> None:
        self.records: dict[Key, _Record] = {}
        self.entries: dict[Entry, tuple[int, Kept | None]] = {}
        """with the number of the last write; None: erased"""
        self.pieces: dict[tuple[Key, str], dict[int, bytes]] = {}
        self.clock = 1 << 50

    def kept(self) -> list[Kept]:
        """Every entry that isn't erased."""
        return [kept for _, kept in self.entries.values() if kept is not None]


async def _at_once() -> None:
    return None


class TablesInMemory:
    """One coordinator's view of a world."""

    def __init__(
        self,
        world: World,
        fate: Fate = lambda number, call: Outcome.DONE,
        turn: Callable[[], Awaitable[None]] = _at_once,
        seconds: float = 30.0,
        hold: Hold = _at_once,
    ) -> None:
        """`turn` is awaited before each step: others have theirs meanwhile. `seconds`: how long a scan is tried.
        `hold`: awaited before each write, as the last thing."""
        self._seconds = seconds
        self._hold = hold
        self.world = world
        self._fate = fate
        self._turn = turn
        self.steps = 0
        self._dead = False

    async def glance(self, key: Key, parts: Sequence[str], names: Sequence[str] = ()) -> tuple[Row, ...]:
        return (await self._step("glance", lambda: self._snapshot(key, parts, names))).rows

    async def read(self, key: Key, parts: Sequence[str], names: Sequence[str] = ()) -> Snapshot:
        return await self._step("read", lambda: self._snapshot(key, parts, names))

    async def swap(
        self, key: Key, expected: int, writer: str, puts: Sequence[Row], drops: Sequence[Drop], seconds: int | None
    ) -> bool:
        def work() -> bool:
            record = self.world.records.setdefault(key, _Record())
            if record.version != expected:
                return False
            record.version, record.writer = expected + 1, writer
            for drop in drops:
                for where in [
                    where for where in record.rows if where[0] == drop.part and drop.name in (None, where[1])
                ]:
                    del record.rows[where]
            record.rows.update({(row.part, row.name): row for row in puts})
            return True

        return await self._step("swap", work)

    async def note(self, kept: Sequence[Kept], number: int | None) -> None:
        await self._step("note", lambda: self._write({each.entry: each for each in kept}, number))

    async def erase(self, entries: Sequence[Entry], number: int | None) -> None:
        await self._step("erase", lambda: self._write(dict.fromkeys(entries), number))

    async def look(self, entry: Entry) -> Kept | None:
        return await self._step("look", lambda: self.world.entries.get(entry, (0, None))[1])

    async def scan(self, log: str, scope: str, *, newest_first: bool = False) -> AsyncIterator[list[Kept]]:
        def work() -> list[Kept]:
            found = [kept for kept in self.world.kept() if (kept.entry.log, kept.entry.scope) == (log, scope)]
            return sorted(found, key=lambda kept: kept.entry, reverse=newest_first)

        page = await Patience(self._seconds).ask(lambda: self._step("scan", work))
        if page:
            yield page

    async def put_piece(self, owner: Key, which: str, number: int, data: bytes) -> None:
        await self._step("put_piece", lambda: self.world.pieces.setdefault((owner, which), {}).update({number: data}))

    async def pieces(self, owner: Key, which: str) -> list[bytes]:
        return await self._step(
            "pieces", lambda: [data for _, data in sorted(self.world.pieces.get((owner, which), {}).items())]
        )

    async def piece_names(self, owner: Key) -> set[str]:
        return await self._step("piece_names", lambda: {which for of, which in self.world.pieces if of == owner})

    async def drop_pieces(self, owner: Key, which: str) -> None:
        await self._step("drop_pieces", lambda: self.world.pieces.pop((owner, which), None))

    async def close(self) -> None:
        return None

    def host_ids(self) -> frozenset[str]:
        return frozenset()

    def held(self, hold: Hold) -> "TablesInMemory":
        return TablesInMemory(self.world, self._fate, self._turn, self._seconds, hold)

    def _snapshot(self, key: Key, parts: Sequence[str], names: Sequence[str]) -> Snapshot:
        record = self.world.records.get(key, _Record())
        rows = [
            row for (part, name), row in sorted(record.rows.items()) if part in parts and (not names or name in names)
        ]
        return Snapshot(record.version, record.writer, tuple(rows))

    def _write(self, entries: Mapping[Entry, Kept | None], number: int | None) -> None:
        self.world.clock += 1
        at = self.world.clock if number is None else number
        for entry, kept in entries.items():
            last, there = self.world.entries.get(entry, (-1, None))
            # Of equal numbers a removal stays, as in Cassandra.
            if at > last or (at == last and (there is not None or kept is None)):
                self.world.entries[entry] = (at, kept)

    async def _step(self, call: str, work: Callable[[], T]) -> T:
        await self._turn()
        if call in _WRITES:
            await self._hold()
        outcome = Outcome.DEAD if self._dead else self._fate(self.steps, call)
        self.steps += 1
        if outcome is Outcome.DEAD:
            self._dead = True
            raise Killed
        if outcome is Outcome.LOST_BEFORE:
            raise Unanswered("the answer was lost")
        answer = work()
        if outcome is Outcome.LOST_AFTER:
            raise Unanswered("the answer was lost")
        return answer
