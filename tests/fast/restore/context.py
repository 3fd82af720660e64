"""A command's context in memory: stages and counts as the journal would keep them."""

from typing import Any


class Counters:
    """A tally that only adds up."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], list[int]] = {}

    def expect(self, destination: str, keyspace: str, table: str, files: int, size: int) -> None:
        self.files.setdefault((keyspace, table), [0, 0])[1] = files

    def anew(self, destination: str) -> None:
        for counts in self.files.values():
            counts[0] = 0

    def done(self, destination: str, keyspace: str, table: str, files: int, size: int) -> None:
        self.files.setdefault((keyspace, table), [0, 0])[0] += files

    def error(self, destination: str, keyspace: str, table: str, text: str) -> None:
        raise AssertionError(text)


class Stages:
    """Stages in memory; `entered` lists them."""

    def __init__(self) -> None:
        self.entered: list[str] = []

    @property
    def current(self) -> str:
        return self.entered[-1] if self.entered else ""

    def recall(self, stage: str) -> Any | None:
        return None

    async def enter(self, stage: str, data: Any | None = None) -> None:
        self.entered.append(stage)


class Context:
    """A command as its job sees it."""

    def __init__(self, arguments: Any, job: str | None = "job-1") -> None:
        self.command_id = "command-1"
        self.job = job
        self.arguments = arguments
        self.stages = Stages()
        self.tally = Counters()
        self.undo = False
        self.not_after: float | None = None
        self.stop_requested = False

    def waiting(self, error: dict[str, Any] | None) -> None:
        return None
