"""A coordinator's database that gives no answers for a while. In: the trouble. Out: each call fails with it."""

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from coordinator.store.database import Database, StoreFailed

T = TypeVar("T")


class Troubled(Database):
    """Each call fails as long as there is `trouble`; `refused` counts those. `loses_answers`: the first write among
    them, and every second one after it, is done all the same; `lost` counts these."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.trouble: StoreFailed | None = None
        self.loses_answers = False
        self.refused = self.lost = self._writes = 0

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """See `Database.read`."""
        self._fail()
        return await super().read(function)

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """See `Database.write`."""
        if self.trouble is not None and self.loses_answers:
            self._writes += 1
            if self._writes % 2:
                await super().write(function)
                self.lost += 1
        self._fail()
        return await super().write(function)

    def _fail(self) -> None:
        if self.trouble is not None:
            self.refused += 1
            raise self.trouble.with_traceback(None)  # else it grows with each call
