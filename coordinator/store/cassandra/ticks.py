"""Numbers that put things in the order in which they were made. In: nothing. Out: microseconds, no two the same."""

import time

MICROS = 1_000_000


class Ticks:
    """Microseconds of this machine's clock, or one more than the last. Between machines it is their clocks that order,
    which nothing but the order of lists hangs on."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, count: int = 1) -> int:
        """The first of so many that follow one another."""
        first = max(self._last + 1, int(time.time() * MICROS))
        self._last = first + count - 1
        return first
