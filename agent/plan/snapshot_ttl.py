"""How long Cassandra keeps a snapshot that is to be copied: in, its bytes and how fast they go; out, seconds. Pure.

The time-to-live is only for a snapshot whose agent never comes back: it must not end while a copy is still under way.
"""

import math
from collections.abc import Iterable

UNMEASURED = 8_000_000.0
"""Bytes per second that a copy is taken to make as long as none was measured: slower than stores commonly are."""


def copy_rate(measured: float, limits: Iterable[float] = ()) -> float:
    """Bytes per second that a copy will make: as the last one that was `measured` (0 = none was), or as the lowest of
    the limits (0 = no limit) if that is slower."""
    return min([measured if measured > 0 else UNMEASURED, *(limit for limit in limits if limit > 0)])


def time_to_live(least: int, size: int, rate: float) -> int | None:
    """Twice the time that `size` bytes take, but not less than `least` seconds; None when `least` is 0: no end."""
    if least <= 0:
        return None
    return max(least, math.ceil(2 * size / rate))
