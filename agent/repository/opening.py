"""Opens what a command's target names. In: the registry of destinations and a `Target`. Out: an `OpenedRepository`."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from agent.crypto.keyring import Keyring
from agent.repository.destination_files import StoredDestination
from agent.repository.destinations import Destinations
from agent.repository.errors import RepositoryGone
from agent.repository.hold_notes import HoldNotes
from agent.repository.holding import Lock
from agent.repository.live_storage import LiveStorage, Patience
from agent.repository.opened import OpenedRepository, Waiting, silent
from agent.storage.protocol import OPEN, Storage
from agent.storage.throttle import TokenBucket
from agent.wire.commands import Target
from agent.wire.destinations import object_lock_of, place_of

Verify = Callable[[Storage, Target, StoredDestination], Awaitable[Keyring | None]]
"""Raises unless the storage holds the repository and the cluster that the target names; the keyring of an encrypted
one."""


class OpenDestinations:
    """The agent's destinations, as jobs see them (`agent.repository.opened.Repositories`).

    `once`: what was verified for an opening is not verified again for it (listings); else each block verifies anew. An
    encrypted repository always is, for its keys may have been rotated: two small requests. `holds`: what was seen to
    being held under object lock. `clock`: unix seconds.
    """

    def __init__(
        self,
        destinations: Destinations,
        verify: Verify,
        patience: Patience,
        holds: HoldNotes,
        *,
        once: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._destinations = destinations
        self._verify = verify
        self._patience = patience
        self._holds = holds
        self._once = once
        self._clock = clock
        self._verified: dict[tuple[str, str, str], int] = {}

    @asynccontextmanager
    async def opened(self, target: Target, waiting: Waiting = silent) -> AsyncIterator[OpenedRepository]:
        """See `Repositories.opened`."""

        keyring: Keyring | None = None

        async def verify(storage: Storage) -> None:
            nonlocal keyring
            record = self._destinations.record(target.destination)
            try:
                keyring = await self._verify(storage, target, record)
            except RepositoryGone as error:
                raise error.at(record.settings.path) from error

        with self._destinations.used(target.destination):
            key = (target.destination, target.repository_id, target.cluster_id)
            storage = LiveStorage(
                self._destinations,
                target.destination,
                verify,
                waiting=waiting,
                patience=self._patience,
                verified=self._verified.get(key, 0),
            )
            await storage.ready()
            if self._once and keyring is None:
                self._verified[key] = storage.verified
            own = target.throttle_bytes_per_second
            settings = self._destinations.record(target.destination).settings
            lock = object_lock_of(settings)
            yield OpenedRepository(
                target.destination,
                storage,
                target.repository_id,
                target.cluster_id,
                TokenBucket(own) if own else OPEN,
                settings.streams,
                keyring,
                None if lock is None else Lock(lock, self._holds, place_of(settings), self._clock),
            )
