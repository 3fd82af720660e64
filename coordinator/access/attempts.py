"""How often somebody may try. In: a key (an address, a name). Out: 0, or the seconds until the next try.

Each key may try a few times at once, and then once in a while. The memory is bounded: keys that may try as often as any
are forgotten, and when all places are taken, newcomers share one. None is forgotten early, or a flood of other keys
would set a guesser free.
"""

import math
import time
from collections.abc import Callable

import msgspec

MOST_KEYS = 10_000
_OTHERS = "\0others"


class Allowance(msgspec.Struct, frozen=True):
    """`at_once` tries, and one more every `seconds`."""

    at_once: int
    seconds: float


class Attempts:
    """`clock`: seconds that only grow."""

    def __init__(
        self, allowance: Allowance, *, clock: Callable[[], float] = time.monotonic, most_keys: int = MOST_KEYS
    ) -> None:
        self._allowance = allowance
        self._clock = clock
        self._most = most_keys
        self._free_at: dict[str, float] = {}
        """key → when it may try as often as any again"""

    def take(self, key: str) -> int:
        """0 = the try is taken and counted; else it isn't, and the next may come after so many seconds."""
        now, allowance = self._clock(), self._allowance
        key = self._place(key, now)
        free_at = max(self._free_at.get(key, now), now)
        wait = free_at - now - (allowance.at_once - 1) * allowance.seconds
        if wait > 0:
            return math.ceil(wait)
        self._free_at[key] = free_at + allowance.seconds
        return 0

    def give_back(self, key: str) -> None:
        """A try that was right doesn't count."""
        if key in self._free_at:
            self._free_at[key] -= self._allowance.seconds

    def __len__(self) -> int:
        return len(self._free_at)

    def _place(self, key: str, now: float) -> str:
        if key in self._free_at or len(self._free_at) < self._most:
            return key
        self._free_at = {each: at for each, at in self._free_at.items() if at > now}
        return key if len(self._free_at) < self._most else _OTHERS
