"""The three tables that the state stands in, as the store sees them. In: keys, rows, entries. Out: what they hold.

records   what is true. A partition (`Key`) of named rows and one version: `swap` writes any number of its rows at once,
          if the version is still the expected one, and makes it one higher. Nothing else writes there.
pointers  where to find it: an entry points to the record that it follows from, and, closed, holds a copy. Writes bear a
          number; of two writes of one entry the higher number stays, whichever came first.
pieces    parts of what is too large for a row. Written before the row that names them, never replaced.

Every call but `scan` may raise `Unanswered` (ask again) and `Refused`.
"""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from coordinator.store.protocol import Hold


class Key(NamedTuple):
    """A partition of records: what sort of thing, and which."""

    kind: str
    id: str


class Row(msgspec.Struct, frozen=True):
    """`position` orders rows of one part, `mark` says of a row what needs no reading of its `data`."""

    part: str
    name: str
    data: bytes
    position: int = 0
    mark: str = ""


class Drop(NamedTuple):
    """A row to be removed; without a name all rows of the part."""

    part: str
    name: str | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """Rows of a partition as they stood together. `version` 0: nothing was ever written. `writer`: of the version."""

    version: int
    writer: str
    rows: tuple[Row, ...]


class Entry(NamedTuple):
    """The identity of an entry: in `scope` of `log` they are ordered by position and name."""

    log: str
    scope: str
    position: int
    name: str


class Kept(msgspec.Struct, frozen=True):
    """An entry with its record's id. `data` None: open, the record is to be asked."""

    entry: Entry
    owner: str
    data: bytes | None = None


class Tables(Protocol):
    """See the module."""

    async def glance(self, key: Key, parts: Sequence[str], names: Sequence[str] = ()) -> tuple[Row, ...]:
        """Those rows as every change whose outcome was told to its writer left them; of one that is under way they may
        show it or not. Nothing is to be changed upon it."""
        ...

    async def read(self, key: Key, parts: Sequence[str], names: Sequence[str] = ()) -> Snapshot:
        """The partition's version with the rows of those parts (and, if any are given, those names), as all that was
        written before left them; whatever a writer who is gone left half-done is done or can't happen any more."""
        ...

    async def swap(
        self, key: Key, expected: int, writer: str, puts: Sequence[Row], drops: Sequence[Drop], seconds: int | None
    ) -> bool:
        """All of it or nothing, if the version is the expected one; whether it was. `seconds`: how long the version
        itself is kept when the partition has no rows left."""
        ...

    async def note(self, kept: Sequence[Kept], number: int | None) -> None:
        """Write entries; without a number it is the clock's."""
        ...

    async def erase(self, entries: Sequence[Entry], number: int | None) -> None:
        """Remove entries; without a number it is the clock's."""
        ...

    async def look(self, entry: Entry) -> Kept | None:
        """One entry, None if it isn't there."""
        ...

    def scan(self, log: str, scope: str, *, newest_first: bool = False) -> AsyncIterator[list[Kept]]:
        """All entries of a scope in order, page by page. Raises `StoreUnreachable`."""
        ...

    async def put_piece(self, owner: Key, which: str, number: int, data: bytes) -> None:
        """Keep one piece."""
        ...

    async def pieces(self, owner: Key, which: str) -> list[bytes]:
        """All pieces of that name, in order."""
        ...

    async def piece_names(self, owner: Key) -> set[str]:
        """Which names the owner has pieces of."""
        ...

    async def drop_pieces(self, owner: Key, which: str) -> None:
        """Forget the pieces of that name."""
        ...

    def host_ids(self) -> frozenset[str]:
        """Of all nodes of the cluster, as far as is known."""
        ...

    def held(self, hold: Hold) -> "Tables":
        """The same tables, each write of which awaits `hold` as the last thing before it is sent."""
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...
