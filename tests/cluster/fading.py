"""Deletions in the test data: which rows of the table `fading` are deleted again, and with which sort of tombstone.

In: row numbers; the row with number n has the key (n // PARTITION, n). Out: who is gone, and statements with their
arguments that delete, and that write the deleted again at times before its deletion: while the tombstones are there,
nothing of the latter shows.
"""

from collections.abc import Iterable

Statement = tuple[str, list[tuple[int, ...]]]
"""CQL with `?`, and the arguments of each of its executions."""

PARTITION = 10
_ROW = 3
_RANGE = range(6, 8)


def gone(number: int) -> bool:
    """Whether the row is deleted: alone, with a range of rows, or with its partition."""
    return number % PARTITION == _ROW or number % PARTITION in _RANGE or _with_partition(number // PARTITION)


def second_gone(number: int) -> bool:
    """Whether the column `second` of the row is deleted (the row may be gone too)."""
    return number % 5 == 0


def _with_partition(part: int) -> bool:
    return part % 4 == 1


def deletions(table: str, numbers: Iterable[int], first_write: int) -> list[Statement]:
    """Tombstones of columns, rows, ranges of rows and partitions. Row n was written at `first_write` + n microseconds;
    each deletion is the time after the last row that it hides."""
    numbers = list(numbers)
    parts = sorted({number // PARTITION for number in numbers})
    row = "WHERE part = ? AND id = ?"
    return [
        (
            f"DELETE second FROM {table} USING TIMESTAMP ? {row}",
            [(first_write + n + 1, n // PARTITION, n) for n in numbers if second_gone(n)],
        ),
        (
            f"DELETE FROM {table} USING TIMESTAMP ? {row}",
            [(first_write + n + 1, n // PARTITION, n) for n in numbers if n % PARTITION == _ROW],
        ),
        (
            f"DELETE FROM {table} USING TIMESTAMP ? WHERE part = ? AND id >= ? AND id < ?",
            [
                (first_write + end, part, part * PARTITION + _RANGE.start, end)
                for part in parts
                for end in [part * PARTITION + _RANGE.stop]
            ],
        ),
        (
            f"DELETE FROM {table} USING TIMESTAMP ? WHERE part = ?",
            [(first_write + (part + 1) * PARTITION, part) for part in parts if _with_partition(part)],
        ),
    ]


def written_again(table: str, numbers: Iterable[int], first_write: int) -> list[Statement]:
    """What was deleted, with other values, at the times of the first writes."""
    numbers = list(numbers)
    row = "WHERE part = ? AND id = ?"
    return [
        (
            f"UPDATE {table} USING TIMESTAMP ? SET second = 'again' {row}",
            [(first_write + n, n // PARTITION, n) for n in numbers if second_gone(n)],
        ),
        (
            f"UPDATE {table} USING TIMESTAMP ? SET first = 'again', second = 'again' {row}",
            [(first_write + n, n // PARTITION, n) for n in numbers if gone(n)],
        ),
    ]
