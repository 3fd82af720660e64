"""Token buckets for bytes. In: a limit in bytes per second, changed at any time; callers in many threads. Out: time.

A bucket keeps one line «bytes allowed until now» and one count «bytes promised so far». A caller takes the next place
behind all earlier ones and waits until the line has reached its end: first come first served, no queue to keep, and a
thread that wakes late takes nothing away from the others.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from agent.storage.protocol import OPEN, Gate
from agent.storage.turns import Turns

STEP = 64 * 1024
"""Bytes that providers pass through a gate at a time."""
LEAST_PER_STREAM = 256 * 1024
"""Bytes per second below which a stream risks the store's idle time-out (design §3.12)."""
BURST_SECONDS = 0.1
"""What an idle bucket may save up, as a part of a second's worth: no second carries more than 1.1 times the limit."""

CHECK_SECONDS = 0.25
"""How long a wait may last before it is asked whether anybody still wants it."""

Check = Callable[[], None]
Wait = Callable[[threading.Condition, float | None], object]


def _wait(condition: threading.Condition, seconds: float | None) -> object:
    return condition.wait(seconds)


class TokenBucket:
    """A `Gate` of `rate` bytes per second (0 = no limit), shared by any number of threads.

    `set_rate` takes effect at once, for those who wait already too; on the event loop, if anybody waits for one of its
    `turns`: as many as each keep `LEAST_PER_STREAM`. `clock` gives seconds that never go back; `wait`
    waits on a condition, at most so many seconds: both are there to run the bucket in virtual time.
    """

    def __init__(self, rate: float, *, clock: Callable[[], float] = time.monotonic, wait: Wait = _wait) -> None:
        if rate < 0:
            raise ValueError("a limit can't be negative")
        self._clock = clock
        self._wait = wait
        self._changed = threading.Condition()
        self._rate = float(rate)
        self._since = clock()
        self._allowed = 0.0  # the line at `_since`
        self._promised = 0.0
        self.turns = Turns(lambda: streams_for(self._rate, sys.maxsize))

    @property
    def rate(self) -> float:
        """Bytes per second now; 0 = no limit."""
        return self._rate

    @property
    def free(self) -> bool:
        """Whether there is no limit now."""
        return self._rate == 0

    def set_rate(self, rate: float) -> None:
        """Change the limit, bytes per second, for everybody at once."""
        if rate < 0:
            raise ValueError("a limit can't be negative")
        with self._changed:
            now = self._clock()
            self._allowed, self._since = self._line(now), now
            if self._rate == 0:
                self._promised = self._allowed  # what flowed without a limit is nobody's debt
            self._rate = float(rate)
            self._changed.notify_all()
        self.turns.changed()

    def pass_bytes(self, count: int, check: Check | None = None) -> None:
        """Return when `count` more bytes may flow; any count, also more than the bucket holds. `check` is called every
        quarter of a second of the wait; what it raises ends it, and gives the place back."""
        with self._changed:
            if self._rate == 0:
                return
            now = self._clock()
            saved = self._line(now) - self._promised
            if saved > self._rate * BURST_SECONDS:
                self._allowed = self._promised + self._rate * BURST_SECONDS
                self._since = now
            self._promised += count
            place = self._promised
            while self._rate != 0:
                missing = place - self._line(self._clock())
                if missing <= 1e-6:
                    return
                if check is None:
                    self._wait(self._changed, missing / self._rate)
                    continue
                try:
                    check()
                except BaseException:
                    self._promised -= count
                    raise
                self._wait(self._changed, min(missing / self._rate, CHECK_SECONDS))

    def _line(self, now: float) -> float:
        return self._allowed + self._rate * (now - self._since)


class Gates:
    """Several gates, one after the other: the node's, the destination's, the command's own."""

    def __init__(self, *gates: Gate) -> None:
        self._gates: Sequence[Gate] = gates

    @property
    def free(self) -> bool:
        """Whether none of them has a limit now."""
        return all(is_free(gate) for gate in self._gates)

    @property
    def rate(self) -> float:
        """Bytes per second of the narrowest of them now; 0 = no limit."""
        return min((rate for rate in map(rate_of, self._gates) if rate), default=0.0)

    def turns(self) -> Iterator[Turns]:
        """Those of every bucket among them, in their order."""
        for gate in self._gates:
            if isinstance(gate, TokenBucket):
                yield gate.turns
            elif isinstance(gate, Gates):
                yield from gate.turns()

    def pass_bytes(self, count: int, check: Check | None = None) -> None:
        """Return when every gate has let `count` more bytes through. `check`: as the bucket's."""
        for gate in self._gates:
            pass_checked(gate, count, check)


class Stream(Gates):
    """The gates of one object's bytes, which may be many: they take their turn at each limit (agent.storage.limited).
    What is small, and is waited for, such as a plan, takes none."""


def pass_checked(gate: Gate, count: int, check: Check | None) -> None:
    """Pass the bytes through the gate; a wait in a bucket ends with what `check` raises."""
    if isinstance(gate, TokenBucket | Gates):
        gate.pass_bytes(count, check)
    else:
        gate.pass_bytes(count)


def is_free(gate: Gate) -> bool:
    """Whether the gate lets everything through just now, so that bytes may come in one large piece."""
    return gate is OPEN or bool(getattr(gate, "free", False))


def rate_of(gate: Gate) -> float:
    """The gate's limit now, bytes per second; 0 = none, or none that it tells."""
    return gate.rate if isinstance(gate, TokenBucket | Gates) else 0.0


def streams_for(rate: float, most: int) -> int:
    """How many streams to run under a limit of `rate` bytes per second (0 = none) so that each keeps 256 KiB/s."""
    if rate == 0:
        return most
    return max(1, min(most, int(rate // LEAST_PER_STREAM)))
