"""The data sets of the figures: in, a session of one node; out, `shop`, `many` and `large`, written and flushed.

`shop`: three tables, 166,666 rows of about 4.2 KB, three quarters of it random (about 480 MB of SSTables).
`many`: 150 tables of 40 rows, flushed twice (about 2,400 files, 12 MB).
`large`: four tables of one SSTable of 1 GiB each, random bytes.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

from cassandra.concurrent import execute_concurrent_with_args

SHOP_TABLES = ("orders", "items", "customers")
SHOP_ROWS = 166_666
MANY_TABLES = 150
RANDOM_BYTES = 3_150
PLAIN_BYTES = 1_050
LARGE_TABLES = 4
LARGE_ROW_BYTES = 65_536
REPLICATION = "{'class': 'SimpleStrategy', 'replication_factor': 1}"


def shop_rows(seed: int, count: int) -> Iterator[tuple[int, bytes, str]]:
    """`count` rows of about 4.2 KB: a key, random bytes, and text that compresses."""
    generator = random.Random(seed)
    for key in range(count):
        yield key, generator.randbytes(RANDOM_BYTES), f"customer {key} bought things; " * (PLAIN_BYTES // 30)


def write_mixed(session: Any, nodetool: Callable[..., None]) -> None:
    """Create and fill `shop` and `many`; `nodetool(*arguments)` flushes after each table and generation."""
    for keyspace in ("shop", "many"):
        session.execute(f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {REPLICATION}")
    share = SHOP_ROWS // len(SHOP_TABLES)
    for number, table in enumerate(SHOP_TABLES):
        session.execute(f"CREATE TABLE IF NOT EXISTS shop.{table} (id int PRIMARY KEY, body blob, note text)")
        insert = session.prepare(f"INSERT INTO shop.{table} (id, body, note) VALUES (?, ?, ?)")
        extra = SHOP_ROWS - share * len(SHOP_TABLES) if number == 0 else 0
        execute_concurrent_with_args(session, insert, shop_rows(number, share + extra), concurrency=64)
        nodetool("flush", "shop")
    statements = []
    for number in range(MANY_TABLES):
        session.execute(f"CREATE TABLE IF NOT EXISTS many.t{number:03d} (id int PRIMARY KEY, note text)")
        statements.append(session.prepare(f"INSERT INTO many.t{number:03d} (id, note) VALUES (?, ?)"))
    for generation in range(2):
        for statement in statements:
            keys = range(generation * 20, generation * 20 + 20)
            execute_concurrent_with_args(session, statement, [(key, f"note {key}") for key in keys], concurrency=20)
        nodetool("flush", "many")


def write_large(session: Any, nodetool: Callable[..., None]) -> None:
    """Create and fill `large`; a compaction leaves one SSTable a table."""
    session.execute(f"CREATE KEYSPACE IF NOT EXISTS large WITH replication = {REPLICATION}")
    for number in range(LARGE_TABLES):
        session.execute(f"CREATE TABLE IF NOT EXISTS large.t{number} (id int PRIMARY KEY, body blob)")
        insert = session.prepare(f"INSERT INTO large.t{number} (id, body) VALUES (?, ?)")
        generator = random.Random(number)
        rows = ((key, generator.randbytes(LARGE_ROW_BYTES)) for key in range(2**30 // LARGE_ROW_BYTES))
        execute_concurrent_with_args(session, insert, rows, concurrency=16)
        nodetool("flush", "large")
    nodetool("compact", "large")
