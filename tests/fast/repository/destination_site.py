"""A registry of destinations whose stores know whether they are open, for tests of how it is used."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.repository.destination_files import DestinationFiles, StoredDestination
from agent.repository.destinations import Destinations
from agent.repository.limits import Limits
from agent.storage.protocol import Storage
from agent.wire.destinations import LocalSettings, PutDestination, Settings
from tests.fast.storage.memory import MemoryStorage


class Counted(MemoryStorage):
    """Knows whether it is open."""

    def __init__(self, record: StoredDestination) -> None:
        super().__init__()
        self.record = record
        self.closed = False

    async def close(self) -> None:
        self.closed = True


class Site:
    """A registry over a directory; `meanwhile` is awaited while the next storage is being opened."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.storages: list[Counted] = []
        self.taken_back: list[StoredDestination] = []
        self.destinations = Destinations(DestinationFiles(directory), self._open, Limits())
        self.destinations.taken_back = self._take_back
        self.meanwhile: Callable[[], Awaitable[None]] = _nothing

    async def _open(self, record: StoredDestination) -> Storage:
        storage = Counted(record)
        self.storages.append(storage)
        await asyncio.sleep(0)  # others have their turn
        meanwhile, self.meanwhile = self.meanwhile, _nothing
        await meanwhile()
        return storage

    async def _take_back(self, record: StoredDestination) -> None:
        self.taken_back.append(record)

    @property
    def open(self) -> list[Counted]:
        """The storages that nobody has closed."""
        return [storage for storage in self.storages if not storage.closed]

    async def put(self, revision: int, settings: Settings | None = None, name: str = "store") -> None:
        await self.destinations.put(name, PutDestination(revision, settings or LocalSettings("a")))

    async def restarted(self) -> "Site":
        """The same agent after a restart."""
        again = Site(self.directory)
        await again.destinations.load()
        return again


async def _nothing() -> None:
    return None
