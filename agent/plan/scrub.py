"""What a scrub reads this time: in, when each slice was last read and what is listed; out, slices, and a sample. Pure.

An object's slice is the first byte of its name: names are digests, so 256 slices are of about equal size, a set that
changes stays covered, and a slice can be listed alone. A run takes those that were unread for longest, as large a
share of all as of the period went by since the last whole run: then each is read within a period, plus the longest
time between two runs.
"""

import heapq
import math
from collections.abc import Sequence
from typing import NamedTuple

SLICES = 256
HALF_LIFE_SECONDS = 7 * 86_400.0
"""An object this much older is half as likely to be in the sample."""
FIRST_SHARE_SECONDS = 86_400.0
"""What went by before the first run: a day."""


def due_slices(last_read: Sequence[float | None], last_run: float | None, now: float, period: float) -> list[int]:
    """The slices to read at `now`. `last_read`: unix seconds for each slice, None = never; `last_run`: when a run last
    came to its end; `period`: seconds in which everything is to be read."""
    passed = FIRST_SHARE_SECONDS if last_run is None else max(0.0, now - last_run)
    count = min(SLICES, max(1, math.ceil(SLICES * passed / period)))
    return sorted(range(SLICES), key=lambda one: (-math.inf if (at := last_read[one]) is None else at, one))[:count]


def oldest_unread(last_read: Sequence[float | None], oldest: Sequence[float | None]) -> float | None:
    """Since when (unix seconds) the byte that was unread for longest is unread; None when there is no byte.

    `oldest`: for each slice when its oldest object was written, None when it has none. What was written after a
    slice was read is unread since it was written, and so is what never was read.
    """
    since = [
        wrote if read is None else max(read, wrote)
        for read, wrote in zip(last_read, oldest, strict=True)
        if wrote is not None
    ]
    return min(since, default=None)


class Sampled(NamedTuple):
    """An object of the sample: its place in the drawing, key, name and stored bytes."""

    draw: float
    key: str
    name: bytes
    size: int


class Sample:
    """At most `most` objects of a listing, newer ones more likely (weighted sampling without replacement, in one pass).

    `seed`: the same seed draws the same from the same listing, so that a scrub that is resumed reads what it would
    have read. `now`: unix seconds of the scrub's beginning.
    """

    def __init__(self, most: int, seed: bytes, now: float) -> None:
        self._most = most
        self._seed = int.from_bytes(seed[:8].ljust(8, b"\0"), "big")
        self._now = now
        self._kept: list[Sampled] = []

    def add(self, key: str, name: bytes, size: int, modified: float) -> None:
        """Let an object take part."""
        # The name is a digest: its bytes are as good as drawn, and the seed makes each scrub draw otherwise.
        mixed = (int.from_bytes(name[8:16], "big") ^ self._seed) * 0x9E3779B97F4A7C15 % 2**64
        drawn = ((mixed >> 12) + 0.5) / 2**52  # never 0 nor 1
        half_lives = max(0.0, self._now - modified) / HALF_LIFE_SECONDS
        # log of the exponential variate's time over its weight 2^-half_lives: the smallest are kept.
        place = math.log(-math.log(drawn)) + half_lives * math.log(2)
        one = Sampled(-place, key, name, size)
        if len(self._kept) < self._most:
            heapq.heappush(self._kept, one)
        elif self._most and one > self._kept[0]:
            heapq.heapreplace(self._kept, one)

    def drawn(self) -> list[Sampled]:
        """The sample, in the order of keys."""
        return sorted(self._kept, key=lambda one: one.key)
