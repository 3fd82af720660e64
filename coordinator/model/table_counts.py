"""Counts of a node's tables, packed. In: counts as agents tell them. Out: the same to be read, joined, summed up, and
as JSON.

A thousand nodes of a thousand tables are a million tables: an object for each would be 400 MB, and to encode them all
would stop the event loop for seconds. Packed they are 32 bytes each, their names are kept once for all nodes that have
the same tables, and a node's part of an answer is made in half a millisecond.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, groupby
from operator import add, attrgetter, itemgetter
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from agent.wire.commands import Counts

Names = tuple[tuple[str, str], ...]
"""(keyspace, table), in order"""
NUMBERS = 4
"""Of each table: files done, files in all, bytes done, bytes in all."""
_MOST = 2**63 - 1
_numbers = attrgetter("done_files", "total_files", "done_bytes", "total_bytes")


class Layout:
    """Which tables are counted, in order. Made by `Layouts` alone: of equal names there is one."""

    def __init__(self, names: Names, kin: "Layouts") -> None:
        self.names = names
        self.kin = kin
        self.index = {name: number for number, name in enumerate(names)}
        self.tables: dict[str, tuple[int, tuple[str, ...]]] = {}
        """keyspace → number of its first table, its tables"""
        for keyspace, group in groupby(names, key=itemgetter(0)):
            tables = tuple(table for _, table in group)
            self.tables[keyspace] = self.index[keyspace, tables[0]], tables

    @cached_property
    def template(self) -> str:
        """The JSON of all tables as they are shown, without errors; a place for each number."""
        entry = '{"done_files":%d,"total_files":%d,"done_size":%d,"total_size":%d,"errors":[]}'
        keyspaces = [
            f"{_text(keyspace)}:{{{','.join(f'{_text(table)}:{entry}' for _, table in tables)}}}"
            for keyspace, tables in groupby(self.names, key=itemgetter(0))
        ]
        return f"{{{','.join(keyspaces)}}}"


class Layouts:
    """All layouts that are in use; those that aren't go by themselves."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[Names, Layout] = WeakValueDictionary()

    def of(self, names: Names) -> Layout:
        """The layout of these names, which are in order and don't repeat."""
        known = self._known.get(names)
        if known is None:
            known = self._known[names] = Layout(names, self)
        return known

    def pack(self, told: Mapping[str, Mapping[str, Counts]]) -> "TableCounts":
        """What is told of tables: keyspace → table → counts."""
        if isinstance(told, TableCounts):
            return told
        names = tuple(sorted((keyspace, table) for keyspace, tables in told.items() for table in tables))
        return TableCounts.nothing(self.of(names)).told(told)


class TableCounts(Mapping[str, Mapping[str, Counts]]):
    """Counts of tables: keyspace → table → counts. Never changed: what looks at it sees one moment. `numbers`: four for
    each table of the layout; `errors`: number of the table → its errors, for those that have any."""

    __slots__ = ("_files", "errors", "layout", "numbers")

    def __init__(self, layout: Layout, numbers: "array[int]", errors: Mapping[int, list[str]]) -> None:
        self.layout = layout
        self.numbers = numbers
        self.errors = errors
        self._files: tuple[int, int] | None = None

    @classmethod
    def nothing(cls, layout: Layout) -> "TableCounts":
        """Nothing of any table."""
        return cls(layout, array("q", bytes(8 * NUMBERS * len(layout.names))), {})

    @property
    def files(self) -> tuple[int, int]:
        """Files done, and in all, over all tables."""
        return self._files or self.sum_up()

    def sum_up(self) -> tuple[int, int]:
        """The same; from now on it is known."""
        if self._files is None:
            self._files = sum(self.numbers[0::NUMBERS]), sum(self.numbers[1::NUMBERS])
        return self._files

    def total_bytes(self) -> dict[str, int]:
        """Keyspace → bytes in all, over its tables."""
        return {
            keyspace: sum(self.numbers[NUMBERS * first + 3 : NUMBERS * (first + len(tables)) : NUMBERS])
            for keyspace, (first, tables) in self.layout.tables.items()
        }

    @property
    def all_done(self) -> bool:
        """Whether all files and bytes are done."""
        numbers = self.numbers
        return numbers[0::NUMBERS] == numbers[1::NUMBERS] and numbers[2::NUMBERS] == numbers[3::NUMBERS]

    def told(self, news: Mapping[str, Mapping[str, Counts]]) -> "TableCounts":
        """These counts, replaced by the news where there are any."""
        index = self.layout.index
        new: list[tuple[str, str]] = []
        for keyspace, tables in news.items():
            known = self.layout.tables.get(keyspace)
            if known is None or (*tables,) != known[1]:
                new += [(keyspace, table) for table in tables if (keyspace, table) not in index]
        if new:
            return self._widened(self.layout.kin.of(tuple(sorted([*self.layout.names, *new])))).told(news)
        try:
            return self._with(news)
        except OverflowError:  # no honest agent's: what can't be shown as it is mustn't keep all else from being shown
            return self._with(
                {
                    keyspace: {table: _counts(_bounded(counts), counts.errors) for table, counts in tables.items()}
                    for keyspace, tables in news.items()
                }
            )

    def _with(self, news: Mapping[str, Mapping[str, Counts]]) -> "TableCounts":
        """With news of tables that are all in the layout. Raises OverflowError."""
        index = self.layout.index
        numbers, errors = array("q", self.numbers), dict(self.errors)
        for keyspace, tables in news.items():
            if not tables:
                continue
            first, names = self.layout.tables[keyspace]
            if len(tables) == len(names):
                # All of the keyspace: no loop of our own over a thousand tables.
                ordered = tables.values() if (*tables,) == names else [tables[name] for name in names]
                flat = array("q", chain.from_iterable(map(_numbers, ordered)))
                numbers[NUMBERS * first : NUMBERS * (first + len(names))] = flat
            else:
                for table, counts in tables.items():
                    at = NUMBERS * index[keyspace, table]
                    numbers[at] = counts.done_files
                    numbers[at + 1] = counts.total_files
                    numbers[at + 2] = counts.done_bytes
                    numbers[at + 3] = counts.total_bytes
            if errors:
                for table in tables:
                    errors.pop(index[keyspace, table], None)
            errors |= {index[keyspace, table]: counts.errors for table, counts in tables.items() if counts.errors}
        return TableCounts(self.layout, numbers, errors)

    def over(self, before: "TableCounts") -> "TableCounts":
        """What was before, replaced by these where they have any."""
        if before.layout is self.layout or not before.layout.names:
            return self
        return before.told(self)

    def where_sized(self, before: "TableCounts") -> "TableCounts":
        """These counts of the tables of which they have any bytes, of the others what was before; the errors of both.
        The layout must be the same."""
        totals = self.numbers[3::NUMBERS]
        numbers = self.numbers
        if 0 in totals:
            numbers = array("q", before.numbers)
            for number, total in enumerate(totals):
                if total:
                    at = NUMBERS * number
                    numbers[at : at + NUMBERS] = self.numbers[at : at + NUMBERS]
        errors = {
            number: [*before.errors.get(number, ()), *self.errors.get(number, ())]
            for number in before.errors.keys() | self.errors.keys()
        }
        return TableCounts(self.layout, numbers, errors)

    def none_done(self) -> "TableCounts":
        """The same tables, of which nothing is done."""
        numbers = array("q", self.numbers)
        zeros = array("q", bytes(8 * len(self.layout.names)))
        numbers[0::NUMBERS] = zeros
        numbers[2::NUMBERS] = zeros
        return TableCounts(self.layout, numbers, self.errors)

    def plus(self, other: "TableCounts") -> "TableCounts":
        """The sums, table by table."""
        if not other.layout.names or not self.layout.names:
            return self if self.layout.names else other
        if other.layout is not self.layout:
            layout = self.layout.kin.of(tuple(sorted({*self.layout.names, *other.layout.names})))
            return self._widened(layout).plus(other._widened(layout))
        errors = {number: [*self.errors.get(number, ()), *own] for number, own in other.errors.items()}
        return TableCounts(self.layout, array("q", map(add, self.numbers, other.numbers)), {**self.errors, **errors})

    def encode(self) -> bytes:
        """As JSON, in the form in which they are shown."""
        if self.errors:
            return msgspec.json.encode(self.shown())
        return (self.layout.template % tuple(self.numbers)).encode()

    def shown(self) -> dict[str, dict[str, dict[str, Any]]]:
        """keyspace → table → counts as they are shown."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for number, (keyspace, table) in enumerate(self.layout.names):
            counts = self._at(number)
            found.setdefault(keyspace, {})[table] = {
                "done_files": counts.done_files,
                "total_files": counts.total_files,
                "done_size": counts.done_bytes,
                "total_size": counts.total_bytes,
                "errors": counts.errors,
            }
        return found

    def _at(self, number: int) -> Counts:
        return _counts(self.numbers[NUMBERS * number : NUMBERS * (number + 1)], self.errors.get(number, []))

    def _widened(self, layout: Layout) -> "TableCounts":
        """The same counts in a layout that has all of their tables and more."""
        wide = TableCounts.nothing(layout)
        numbers = wide.numbers
        for number, name in enumerate(self.layout.names):
            at = NUMBERS * layout.index[name]
            numbers[at : at + NUMBERS] = self.numbers[NUMBERS * number : NUMBERS * (number + 1)]
        errors = {layout.index[self.layout.names[number]]: told for number, told in self.errors.items()}
        return TableCounts(layout, numbers, errors)

    def __getitem__(self, keyspace: str) -> Mapping[str, Counts]:
        first, tables = self.layout.tables[keyspace]
        return {table: self._at(first + number) for number, table in enumerate(tables)}

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.tables)

    def __len__(self) -> int:
        return len(self.layout.tables)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TableCounts):
            same = other.layout is self.layout or other.layout.names == self.layout.names
            return same and self.numbers == other.numbers and self.errors == other.errors
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]


NO_TABLES = TableCounts.nothing(Layouts().of(()))

Places = Mapping[str, Mapping[str, Mapping[str, Counts]]]
"""destination id → keyspace → table → counts"""


def _counts(numbers: Sequence[int], errors: list[str]) -> Counts:
    done_files, total_files, done_bytes, total_bytes = numbers
    return Counts(done_files, total_files, done_bytes, total_bytes, errors)


def _bounded(counts: Counts) -> tuple[int, ...]:
    return tuple(max(-_MOST, min(_MOST, number)) for number in _numbers(counts))


def _text(name: str) -> str:
    """A name as JSON, for a template of numbers."""
    return msgspec.json.encode(name).decode().replace("%", "%%")
