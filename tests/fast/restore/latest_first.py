"""Cassandra's importers: one import of a table at a time, and of those that wait the one that came last begins first,
as a Java monitor may let them in. An import goes on when nobody waits for its answer any more."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from agent.cassandra.errors import ImportFailed
from agent.cassandra.node_view import NodeView
from agent.wire.node import KeyspaceView
from tests.fast.cassandra.directory_control import DirectoryControl


class LatestFirst(DirectoryControl):
    """`slow`: each import that finds files waits in its midst for a release of `go`. `deaf`: no import gets through,
    and none is answered. `begun`, `ended`: the names of the files that each import found, in that order. `cut`: those
    of imports whose files were taken away in their midst; of such Cassandra leaves some in the table's directory."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self.slow = False
        self.go = asyncio.Semaphore(0)
        self.deaf = False
        self.begun: list[tuple[str, ...]] = []
        self.ended: list[tuple[str, ...]] = []
        self.cut: list[tuple[str, ...]] = []
        self._busy: set[tuple[str, str]] = set()
        self._waiting: dict[tuple[str, str], list[asyncio.Future[None]]] = defaultdict(list)
        self._inside: set[asyncio.Task[str]] = set()

    @property
    def waiting(self) -> int:
        """How many imports were asked for and have not begun."""
        return sum(map(len, self._waiting.values()))

    async def import_sstables(self, keyspace: str, table: str, directories: Sequence[Path]) -> str:
        if self.deaf:
            await asyncio.Event().wait()
        inside = asyncio.create_task(self._import(keyspace, table, directories))
        self._inside.add(inside)
        inside.add_done_callback(self._forget)
        return await asyncio.shield(inside)

    async def _import(self, keyspace: str, table: str, directories: Sequence[Path]) -> str:
        async with self._alone(keyspace, table):
            if gone := [str(directory) for directory in directories if not directory.is_dir()]:
                raise ImportFailed(f"there is no directory {', '.join(gone)}")
            paths = sorted(path for directory in directories for path in directory.iterdir())
            found = tuple(path.name for path in paths)
            if found:
                self.begun.append(found)
                if self.slow:
                    await self.go.acquire()
            if not all(path.exists() for path in paths):
                self.cut.append(found)
                raise ImportFailed("files are gone")
            said = await super().import_sstables(keyspace, table, directories)
            self.ended.append(found)
            return said

    @asynccontextmanager
    async def _alone(self, keyspace: str, table: str) -> AsyncIterator[None]:
        importer = keyspace, table
        if importer in self._busy:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[importer] = [*self._waiting[importer], turn]
            await turn
        self._busy.add(importer)
        try:
            yield
        finally:
            waiting = [turn for turn in self._waiting[importer] if not turn.done()]  # not those of a test that ended
            self._waiting[importer] = waiting[:-1]
            if waiting:
                waiting[-1].set_result(None)
            else:
                self._busy.discard(importer)

    def _forget(self, inside: asyncio.Task[str]) -> None:
        self._inside.discard(inside)
        if not inside.cancelled():
            inside.exception()  # nobody may have waited for it


class OneTable(NodeView):
    """A node with ks.t."""

    async def keyspaces(self) -> dict[str, KeyspaceView]:
        return {"ks": KeyspaceView({}, True, {"t": "1"}, {})}


async def until(reached: Callable[[], bool]) -> None:
    """Wait for it; the deadline is only against hanging."""
    async with asyncio.timeout(10):
        while not reached():  # noqa: ASYNC110 what is waited for is seen in many places
            await asyncio.sleep(0.001)
