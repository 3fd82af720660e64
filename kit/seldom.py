"""Lines that strangers cause. In: a key. Out: whether a line about it is due, and how many weren't told since the last.

Who sends a thousand wrong tokens writes a line a minute, not a thousand.
"""

import time
from collections.abc import Callable

SECONDS = 60.0
MOST_KEYS = 1_000


class Seldom:
    """One line a key and `seconds`; keys over `most_keys` share one. `clock`: seconds that only grow."""

    def __init__(
        self,
        seconds: float = SECONDS,
        *,
        clock: Callable[[], float] = time.monotonic,
        most_keys: int = MOST_KEYS,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._most = most_keys
        self._told: dict[str, tuple[float, int]] = {}
        """key → when its last line was, and how many there would have been since"""

    def due(self, key: str) -> int | None:
        """How many lines were left out since the last one, if one is due now; else None, and it is counted."""
        now = self._clock()
        if key not in self._told and len(self._told) >= self._most:
            self._told = {each: (at, left) for each, (at, left) in self._told.items() if now - at < self._seconds}
            key = key if len(self._told) < self._most else ""
        at, left = self._told.get(key, (now - self._seconds, 0))
        if now - at < self._seconds:
            self._told[key] = (at, left + 1)
            return None
        self._told[key] = (now, 0)
        return left
