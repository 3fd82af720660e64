"""Which snapshots unfinished commands work on: in, a tag; out, whether it may be taken away automatically."""

from collections.abc import Callable, Collection


class TagsInUse:
    """`using`: the ids of unfinished commands that name a tag. It is set once there is a runner: until then no command
    runs."""

    def __init__(self) -> None:
        self.using: Callable[[str], Collection[str]] = lambda tag: ()

    def has(self, tag: str, but: str = "") -> bool:
        """Whether any unfinished command, other than `but`, works on the snapshot `tag`."""
        return any(command != but for command in self.using(tag))
