"""The clock of a store in memory."""


class Clock:
    """A store's clock: a second passes with each object."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now
