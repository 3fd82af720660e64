"""Which restores' phases are under way: in, a job; out, whether an unfinished command belongs to it."""

from collections.abc import Callable, Collection


class JobsInUse:
    """`using`: the ids of unfinished commands of a job. It is set once there is a runner: until then none runs."""

    def __init__(self) -> None:
        self.using: Callable[[str], Collection[str]] = lambda job: ()

    def has(self, job: str) -> bool:
        """Whether any command of the job is queued, running or waiting."""
        return bool(self.using(job))
