"""The schema of the test data: every kind of table that a backup may meet, described once.

In: a Cassandra version, a replication factor, a prefix of keyspace names. Out: `TableSpec`s whose rows are functions of
(seed, row number), and the CQL that makes their keyspaces. Speculation and read repair are off everywhere: a read at
ONE on a node then shows what that node holds.
"""

import datetime
import decimal
import random
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from tests.cluster import fading, places

HONEST = "speculative_retry = 'NEVER' AND read_repair = 'NONE'"
LONG_TTL = 900_000  # seconds; far longer than any test
STATES = ("new", "paid", "sent", "back")
_WORDS = ("sea", "ship", "sail", "oar", "mast", "wave", "wind", "salt", "rope", "star", "isle", "bay", "gull", "tide")
_EPOCH = datetime.datetime(2020, 1, 1)  # noqa: DTZ001  # the driver answers timestamps as naive UTC

Row = tuple[Any, ...]
DELETED_ROW: Row = ()
"""What a TableSpec makes of a number whose row is written and then deleted."""


class Column(msgspec.Struct, frozen=True):
    """A column by its name in CQL; `timed` ones answer WRITETIME and TTL."""

    name: str
    timed: bool = False


class TableSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A table (or view) and the rows it should hold."""

    keyspace: str
    name: str
    create: tuple[str, ...]
    columns: tuple[Column, ...]
    """The key's columns first."""
    partition_key: int = 1
    key: int = 1
    """How many of the first columns are the partition key, and the whole primary key."""
    make: Callable[[random.Random, int], Row]
    counter: bool = False
    ttl: bool = False
    """Rows with an even number are written with LONG_TTL; some rows and values are deleted again: see `fading`."""
    view_of: str | None = None
    indexed: str | None = None
    """A column with an index, to be queried by each of STATES."""
    large: bool = False
    """Gets all rows asked for; others get few."""

    @property
    def full_name(self) -> str:
        """Keyspace and table as CQL writes them."""
        return f"{self.keyspace}.{self.name}"


def _words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(_WORDS, k=count))


def _order(rng: random.Random, number: int) -> Row:
    return (
        f"customer-{number // 4}",
        number,
        rng.choice(STATES),
        rng.getrandbits(62) - 2**61,
        rng.random(),
        decimal.Decimal(rng.randrange(10**9)) / 100,
        rng.randbytes(rng.randrange(1, 200)),
        rng.random() < 0.5,
        _EPOCH + datetime.timedelta(milliseconds=rng.randrange(10**11)),
        uuid.UUID(int=rng.getrandbits(128), version=4),
        _words(rng, 5) if number % 7 else None,
    )


def _quoted(rng: random.Random, number: int) -> Row:
    return (number, _words(rng, 3), 'say "ah" ' + _words(rng, 2))


def _person(rng: random.Random, number: int) -> Row:
    house = number // 5
    home = (_words(random.Random(house), 2), house)
    tags = frozenset(rng.sample(_WORDS, rng.randrange(1, 6)))
    notes = tuple(_words(rng, 2) for _ in range(rng.randrange(1, 4)))
    marks = {word: rng.randrange(100) for word in rng.sample(_WORDS, 3)}
    return (house, number, f"house {house}", home, tags, notes, marks, (number, _words(rng, 1)), (1, number))


def _visit(rng: random.Random, number: int) -> Row:
    return (f"page-{number}", rng.randrange(5), rng.randrange(1, 10**6), -rng.randrange(1, 1000))


def _fading(rng: random.Random, number: int) -> Row:
    if fading.gone(number):
        return DELETED_ROW
    return (number // fading.PARTITION, number, _words(rng, 2), None if fading.second_gone(number) else _words(rng, 2))


def _item(rng: random.Random, number: int) -> Row:
    return (number, STATES[number % len(STATES)], _words(rng, 4))


def _item_by_state(rng: random.Random, number: int) -> Row:
    item, state, text = _item(rng, number)
    return (state, item, text)


def _timed(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, timed=True) for name in names)


def _plain(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name) for name in names)


def table_specs(version: str, prefix: str) -> list[TableSpec]:
    """All tables, views last; keyspaces are `<prefix>_all`, `"<prefix>_Mixed"` and `<prefix>_single` (RF 1)."""
    everywhere, mixed, single = f"{prefix}_all", f'"{prefix}_Mixed"', f"{prefix}_single"
    items = f"(id int PRIMARY KEY, state text, text text) WITH {HONEST}"
    item_columns = (*_plain("id"), *_timed("state", "text"))
    specs = [
        TableSpec(
            keyspace=everywhere,
            name="orders",
            create=(
                f"CREATE TABLE {everywhere}.orders (customer text, id int, state text, big bigint, ratio double, price"
                " decimal, raw blob, flag boolean, at timestamp, ref uuid, note text, PRIMARY KEY (customer, id))"
                f" WITH {HONEST}",
            ),
            columns=(
                *_plain("customer", "id"),
                *_timed("state", "big", "ratio", "price", "raw", "flag", "at", "ref", "note"),
            ),
            key=2,
            make=_order,
            large=True,
        ),
        TableSpec(
            keyspace=mixed,
            name='"Quoted_Table"',
            create=(
                f'CREATE TABLE {mixed}."Quoted_Table" ("Id" int PRIMARY KEY, "select" text, "a ""b"" c" text)'
                f" WITH {HONEST}",
            ),
            columns=(*_plain('"Id"'), *_timed('"select"', '"a ""b"" c"')),
            make=_quoted,
        ),
        TableSpec(
            keyspace=everywhere,
            name="people",
            create=(
                f"CREATE TYPE {everywhere}.address (street text, number int)",
                f"CREATE TABLE {everywhere}.people (house int, id int, sign text static, home frozen<address>,"
                " tags set<text>, notes list<text>, marks map<text, int>, pair tuple<int, text>,"
                f" path frozen<list<int>>, PRIMARY KEY (house, id)) WITH {HONEST}",
            ),
            columns=(
                *_plain("house", "id"),
                *_timed("sign", "home"),
                *_plain("tags", "notes", "marks"),
                *_timed("pair", "path"),
            ),
            key=2,
            make=_person,
        ),
        TableSpec(
            keyspace=everywhere,
            name="visits",
            create=(
                f"CREATE TABLE {everywhere}.visits (page text, day int, seen counter, gone counter,"
                f" PRIMARY KEY (page, day)) WITH {HONEST}",
            ),
            columns=_plain("page", "day", "seen", "gone"),
            key=2,
            make=_visit,
            counter=True,
        ),
        TableSpec(
            keyspace=everywhere,
            name="fading",
            create=(
                f"CREATE TABLE {everywhere}.fading (part int, id int, first text, second text,"
                f" PRIMARY KEY (part, id)) WITH {HONEST}",
            ),
            columns=(*_plain("part", "id"), *_timed("first", "second")),
            key=2,
            make=_fading,
            ttl=True,
        ),
        TableSpec(
            keyspace=everywhere,
            name="indexed",
            create=(
                f"CREATE TABLE {everywhere}.indexed {items}",
                f"CREATE INDEX indexed_state ON {everywhere}.indexed (state)",
            ),
            columns=item_columns,
            make=_item,
            indexed="state",
        ),
        TableSpec(
            keyspace=single,
            name="things",
            create=(f"CREATE TABLE {single}.things {items}",),
            columns=item_columns,
            make=_item,
        ),
    ]
    if version != places.CASSANDRA_41:
        specs.append(
            TableSpec(
                keyspace=everywhere,
                name="searched",
                create=(
                    f"CREATE TABLE {everywhere}.searched {items}",
                    f"CREATE INDEX searched_state ON {everywhere}.searched (state) USING 'sai'",
                ),
                columns=item_columns,
                make=_item,
                indexed="state",
            )
        )
    return [*specs, *_viewed(everywhere, items, item_columns)]


def _viewed(keyspace: str, items: str, columns: tuple[Column, ...]) -> list[TableSpec]:
    table = TableSpec(
        keyspace=keyspace,
        name="stock",
        create=(f"CREATE TABLE {keyspace}.stock {items}",),
        columns=columns,
        make=_item,
    )
    view = TableSpec(
        keyspace=keyspace,
        name="stock_by_state",
        create=(
            f"CREATE MATERIALIZED VIEW {keyspace}.stock_by_state AS SELECT state, id, text FROM {keyspace}.stock"
            f" WHERE state IS NOT NULL AND id IS NOT NULL PRIMARY KEY (state, id) WITH {HONEST}",
        ),
        columns=(*_plain("state", "id"), *_timed("text")),
        key=2,
        make=_item_by_state,
        view_of="stock",
    )
    return [table, view]


def keyspace_statements(prefix: str, replication: int, dc: str = "dc1") -> list[str]:
    """CREATE KEYSPACE of all keyspaces, an empty one among them."""
    names = {f"{prefix}_all": replication, f'"{prefix}_Mixed"': replication, f"{prefix}_single": 1}
    names[f"{prefix}_empty"] = replication
    return [
        f"CREATE KEYSPACE {name} WITH replication = {{'class': 'NetworkTopologyStrategy', '{dc}': {copies}}}"
        for name, copies in names.items()
    ]
