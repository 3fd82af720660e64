"""Time that a wait goes by. In: the clock as it was when the wait began. Out: times that go on from there, whatever the
clock is set to meanwhile: one that jumps ahead must not let anybody believe that an agent's time is over."""

from collections.abc import Callable


class Steady:
    """`clock` tells unix seconds, and is asked once; `monotonic` tells seconds that nobody sets."""

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._ahead = clock() - monotonic()

    def __call__(self) -> float:
        """Now, in unix seconds by the clock as it was."""
        return self._monotonic() + self._ahead
