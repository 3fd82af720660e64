"""What unfinished commands work on: in, a snapshot's tag or a restore's job; out, whether it may be taken away
automatically."""

from collections.abc import Callable, Collection


class InUse:
    """`using`: the ids of unfinished commands that name a tag (or belong to a job). It is set once there is a runner:
    until then no command runs."""

    def __init__(self) -> None:
        self.using: Callable[[str], Collection[str]] = lambda name: ()

    def has(self, name: str, but: str = "") -> bool:
        """Whether any unfinished command, other than `but`, works on it."""
        return any(command != but for command in self.using(name))
