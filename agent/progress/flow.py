"""One object's bytes on their way. In: steps, as a gate is told of them. Out: a counter that moves within the object.

A limit can make a piece of 8 MiB take minutes, and an SSTable hours: what is counted must move meanwhile.
"""

from collections.abc import Callable

STEP = 256 * 1024
"""Bytes after which a flow is told of, and from which an object is worth one: the counters cost nothing that shows."""


class Flow:
    """A `Gate` that never waits. `length`: bytes that the object counts for; `count` is told how many more, in steps.

    A step counts when the next one asks, for it may wait elsewhere; what a retry sends again counts once at most; the
    last byte counts when the object is `settled`. Used by one thread at a time.
    """

    __slots__ = ("_count", "_latest", "_most", "_passed", "_told")

    free = True

    def __init__(self, length: int, count: Callable[[int], object]) -> None:
        self._count = count
        self._most = length - 1
        self._passed = 0
        self._latest = 0
        self._told = 0

    def pass_bytes(self, count: int) -> None:
        """Note a step; see `Gate.pass_bytes`."""
        self._passed += self._latest
        self._latest = count
        more = min(self._passed, self._most) - self._told
        if more >= STEP:
            self._told += more
            self._count(more)

    def settled(self, size: int) -> None:
        """No step follows: the object counts for `size` bytes, none if it failed."""
        self._count(size - self._told)
        self._told = size
