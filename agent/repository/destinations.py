"""The agent's registry of destinations. In: settings with revisions. Out: open storages, always with the newest ones.

A storage that is replaced (new settings, new keys) is closed when its last user has let go of it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple

import msgspec
import structlog

from agent.repository.destination_files import DestinationFiles, StoredDestination, unmasked
from agent.repository.errors import UnknownDestination
from agent.repository.limits import Limits
from agent.storage.protocol import Storage
from agent.wire.destinations import ON_SERVER, DestinationView, PutDestination, masked, place_of, secrets_of
from agent.wire.names import check_name
from agent.wire.throttle import PatchThrottle, ThrottleView
from kit.errors import HelenusError, InvalidInput

_log = structlog.get_logger("agent.destinations")

Opener = Callable[[StoredDestination], Awaitable[Storage]]
"""Makes a storage (provider and wrappers) from a record, without asking the store. Raises `BadSettings`."""


class RevisionTooOld(HelenusError):
    """A PUT that is older than, or contradicts, what this agent holds."""

    code = "revision_too_old"
    status = 409
    todo = "Read the destination, and put it again with a higher revision."


class DestinationInUse(HelenusError):
    """A command works, or waits to work, with the destination."""

    code = "destination_in_use"
    status = 409
    retry = "later"
    todo = "Wait for the commands that use the destination, or cancel them, then send it again."


class Borrowed(NamedTuple):
    """An open storage and the number of its opening: it grows with each new one of any destination."""

    generation: int
    storage: Storage


class _Opened:
    def __init__(self, generation: int, storage: Storage) -> None:
        self.generation = generation
        self.storage = storage
        self.users = 0
        self.retired = False


class Destinations:
    """`register_secret` is told each secret, so that logs leave it out. `wanted` tells whether a command that hasn't
    ended names a destination."""

    def __init__(
        self,
        files: DestinationFiles,
        opener: Opener,
        limits: Limits,
        *,
        register_secret: Callable[[str], None] = lambda secret: None,
        wanted: Callable[[str], bool] = lambda destination_id: False,
    ) -> None:
        self._files = files
        self._opener = opener
        self._limits = limits
        self._register_secret = register_secret
        self.wanted = wanted
        self._records: dict[str, StoredDestination] = {}
        self._opened: dict[str, _Opened] = {}
        self._uses: dict[str, int] = {}
        self._changes = asyncio.Lock()
        self._opening: dict[str, asyncio.Lock] = {}
        """One for each destination: an opening that hangs holds up no other destination's."""
        self._changed: dict[str, asyncio.Event] = {}
        self._generation = 0
        self.taken_back: Callable[[StoredDestination], Awaitable[None]] = _nothing
        """Awaited with settings that this agent holds no more; set by who made something for them."""

    async def load(self) -> None:
        """Read what was put before this process started."""
        for record in (await asyncio.to_thread(self._files.read_all)).values():
            self._take(record)

    # Settings

    async def put(self, destination_id: str, request: PutDestination) -> DestinationView:
        """Keep the settings, durably. Raises `InvalidInput`, `BadSettings`, `RevisionTooOld`, and `DestinationInUse`
        for another place while a command needs this one."""
        check_name("destination", destination_id)
        if destination_id == ON_SERVER:
            raise InvalidInput(f"{ON_SERVER} is the node itself and takes no settings", destination=destination_id)
        if request.settings.throttle_bytes_per_second < 0:
            raise InvalidInput("a limit can't be negative", setting="throttle_bytes_per_second")
        async with self._changes:
            before = self._records.get(destination_id)
            settings = unmasked(request.settings, before.settings if before else None)
            if before is not None and request.revision <= before.revision:
                if request.revision == before.revision and settings == before.settings:
                    return self.view(destination_id)
                raise RevisionTooOld(
                    f"revision {request.revision} of {destination_id} is not newer than the one this agent holds",
                    destination=destination_id,
                    revision=before.revision,
                )
            moved = before is not None and place_of(before.settings) != place_of(settings)
            if moved:
                self._refuse_moving(destination_id)
            if before is not None and not moved:
                record = msgspec.structs.replace(before, revision=request.revision, settings=settings)
            else:
                record = StoredDestination(destination_id, request.revision, settings)
            for secret in secrets_of(settings).values():
                self._register_secret(secret)
            trial = await self._opener(record)
            await trial.close()
            await asyncio.to_thread(self._files.write, record)
            if before is not None and moved:
                try:
                    self._refuse_moving(destination_id)
                except DestinationInUse:  # the command came meanwhile
                    await asyncio.to_thread(self._files.write, before)
                    raise
            self._take(record)
            await self._retire(destination_id)
            if before is not None and moved:
                await self.taken_back(before)
            self._tell(destination_id)
            _log.info("destination put", destination=destination_id, revision=record.revision)
            return self.view(destination_id)

    def view(self, destination_id: str) -> DestinationView:
        """The settings with masks. Raises `UnknownDestination`."""
        record = self.record(destination_id)
        return DestinationView(
            record.id,
            record.revision,
            masked(record.settings),
            record.repository_id,
            record.cluster_id,
            self.in_use(record.id),
        )

    def views(self) -> list[DestinationView]:
        """All destinations, by id."""
        return [self.view(destination_id) for destination_id in sorted(self._records)]

    async def delete(self, destination_id: str) -> None:
        """Forget the settings (never the data: see `taken_back`). Raises `UnknownDestination`, `DestinationInUse`."""
        async with self._changes:
            self.record(destination_id)
            if self.in_use(destination_id):
                raise DestinationInUse(f"{destination_id} is in use", destination=destination_id)
            await asyncio.to_thread(self._files.remove, destination_id)
            record = self._records.pop(destination_id)
            self._limits.forget(destination_id)
            self._opening.pop(destination_id, None)
            await self._retire(destination_id)
            await self.taken_back(record)
            _log.info("destination deleted", destination=destination_id)

    def record(self, destination_id: str) -> StoredDestination:
        """What this agent knows of a destination. Raises `UnknownDestination`."""
        record = self._records.get(destination_id)
        if record is None:
            raise UnknownDestination(f"this agent has no destination {destination_id!r}", destination=destination_id)
        return record

    async def remember(
        self,
        destination_id: str,
        revision: int,
        *,
        conditional_create: bool | None = None,
        repository_id: str | None = None,
        cluster_id: str | None = None,
        key_epoch: int = 0,
    ) -> None:
        """Keep what a check of that revision found out; nothing if newer settings have come meanwhile."""
        async with self._changes:
            before = self._records.get(destination_id)
            if before is None or before.revision != revision:
                return
            record = msgspec.structs.replace(
                before,
                conditional_create=before.conditional_create if conditional_create is None else conditional_create,
                probed=before.probed or conditional_create is not None,
                repository_id=repository_id or before.repository_id,
                cluster_id=cluster_id or before.cluster_id,
                key_epoch=max(key_epoch, before.key_epoch),
            )
            if record == before:
                return
            await asyncio.to_thread(self._files.write, record)
            self._records[destination_id] = record
            if record.conditional_create != before.conditional_create:
                await self._retire(destination_id)  # the provider is told when it is opened

    # Use

    @contextmanager
    def used(self, destination_id: str) -> Iterator[None]:
        """While the block runs the destination can't be deleted. Raises `UnknownDestination`."""
        self.record(destination_id)
        self._uses[destination_id] = self._uses.get(destination_id, 0) + 1
        try:
            yield
        finally:
            self._uses[destination_id] -= 1

    def in_use(self, destination_id: str) -> bool:
        """Whether a command works, or will work, with it."""
        return bool(self._uses.get(destination_id)) or self.wanted(destination_id)

    @asynccontextmanager
    async def borrowed(self, destination_id: str) -> AsyncIterator[Borrowed]:
        """The storage of the newest settings, open at least as long as the block runs. Raises `UnknownDestination`,
        `BadSettings`, `Denied`."""
        opened = await self._open(destination_id)
        opened.users += 1
        try:
            yield Borrowed(opened.generation, opened.storage)
        finally:
            opened.users -= 1
            if opened.retired and opened.users == 0:
                await opened.storage.close()

    def generation(self, destination_id: str) -> int | None:
        """The number of the opening that is current, None while there is none."""
        opened = self._opened.get(destination_id)
        return None if opened is None else opened.generation

    async def renew(self, destination_id: str, generation: int) -> None:
        """Open anew at the next use, if that opening is still current: files of credentials are then read again."""
        if self.generation(destination_id) == generation:
            await self._retire(destination_id)

    async def changed(self, destination_id: str, seconds: float) -> bool:
        """Wait for newer settings, at most so many seconds; whether they came."""
        event = self._changed.setdefault(destination_id, asyncio.Event())
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Close every storage."""
        for destination_id in list(self._opened):
            await self._retire(destination_id)

    # Limits

    def set_throttle(self, request: PatchThrottle) -> ThrottleView:
        """Change the limits in force, all of them or none. Raises `UnknownDestination`, `InvalidInput`."""
        if min([request.node_bytes_per_second or 0, *request.destinations.values()]) < 0:
            raise InvalidInput("a limit can't be negative", setting="bytes_per_second")
        for destination_id in request.destinations:
            self.record(destination_id)
        if request.node_bytes_per_second is not None:
            self._limits.node.set_rate(request.node_bytes_per_second)
        for destination_id, rate in request.destinations.items():
            self._limits.of(destination_id).set_rate(rate)
        return self.throttle()

    def throttle(self) -> ThrottleView:
        """The limits in force."""
        return ThrottleView(
            int(self._limits.node.rate), {name: int(self._limits.of(name).rate) for name in sorted(self._records)}
        )

    # Inside

    def _refuse_moving(self, destination_id: str) -> None:
        if self.wanted(destination_id):
            raise DestinationInUse(
                f"{destination_id} can't become another place while a command works with it: "
                "only its keys and limits may change",
                destination=destination_id,
            )

    def _take(self, record: StoredDestination) -> None:
        before = self._records.get(record.id)
        self._records[record.id] = record
        for secret in secrets_of(record.settings).values():
            self._register_secret(secret)
        rate = record.settings.throttle_bytes_per_second
        if before is None or before.settings.throttle_bytes_per_second != rate:
            self._limits.of(record.id).set_rate(rate)  # else a limit that was set live stays

    async def _open(self, destination_id: str) -> _Opened:
        async with self._opening.setdefault(destination_id, asyncio.Lock()):
            record = self.record(destination_id)
            opened = self._opened.get(destination_id)
            while opened is None:
                storage = await self._opener(record)
                if self._records.get(destination_id) is not record:  # changed, or gone, while it was being opened
                    await storage.close()
                    record = self.record(destination_id)
                    continue
                self._generation += 1
                opened = self._opened[destination_id] = _Opened(self._generation, storage)
            return opened

    async def _retire(self, destination_id: str) -> None:
        opened = self._opened.pop(destination_id, None)
        if opened is not None:
            opened.retired = True
            if opened.users == 0:
                await opened.storage.close()

    def _tell(self, destination_id: str) -> None:
        self._changed.pop(destination_id, asyncio.Event()).set()


async def _nothing(record: StoredDestination) -> None:
    return None
