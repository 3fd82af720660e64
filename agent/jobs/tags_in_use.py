"""Which snapshots unfinished commands work on: in, a tag; out, whether it may be taken away automatically."""

from collections.abc import Callable, Collection


class TagsInUse:
    """`using`: the ids of unfinished commands that name a tag. It is set once there is a runner: until then no command
    runs."""

    def __init__(self) -> None:
        self.using: Callable[[str], Collection[str]] = lambda tag: ()

    def has(self, tag: str) -> bool:
        """Whether any unfinished command works on the snapshot `tag`."""
        return bool(self.using(tag))
