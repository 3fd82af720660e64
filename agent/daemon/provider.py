"""Opens destinations' storages. In: a record and what this agent allows. Out: a provider in its wrappers.

An SDK is loaded, in a thread, when the first destination needs it. Directories and files of credentials may lie on a
file system that hangs: they are looked at in threads of their own (agent.storage.own_threads).
"""

import asyncio
from contextlib import suppress
from functools import partial
from pathlib import Path

from agent.crypto.slots import Unlocking
from agent.daemon.key_files import unlocking_of
from agent.daemon.measures import StorageMeasures
from agent.daemon.settings import DestinationSettings, roots
from agent.repository.control_keys import SIDES
from agent.repository.destination_files import StoredDestination
from agent.repository.limits import Limits
from agent.storage.keys import RESERVED
from agent.storage.local.files import allowed_path, translated
from agent.storage.opened import load, open_storage
from agent.storage.own_threads import OwnThreads
from agent.storage.protocol import BadSettings, Gate, Storage
from agent.storage.throttle import Gates
from agent.wire.destinations import encryption_of
from kit.atomic_files import make_directory


class Provider:
    """Opens storages whose bytes pass the destination's and the node's limits. `state`: the agent's own
    directory, which no destination shares."""

    def __init__(
        self,
        settings: DestinationSettings,
        limits: Limits,
        measures: StorageMeasures,
        state: Path,
        threads: OwnThreads | None = None,
    ) -> None:
        self._settings = settings
        self._local_roots = roots(settings.local_roots)
        self._file_roots = roots(settings.file_roots)
        self._limits = limits
        self._measures = measures
        self._state = state
        self._threads = threads or OwnThreads()

    async def __call__(self, record: StoredDestination) -> Storage:
        """An `Opener` (agent.repository.destinations)."""
        await self.prepare(record, make=False)
        return await self.open(record, record.conditional_create)

    async def prepare(self, record: StoredDestination, *, make: bool) -> bool:
        """Load the SDK that the record needs; with `make` make the local directory. Whether that was not there. Raises
        `BadSettings`, `DirectoryDenied`, `DirectoryReadOnly`, `Transient`."""
        await asyncio.to_thread(load, record.settings)
        if make and record.settings.on_the_nodes:
            return await self._threads.run(record.id, partial(self._make_directory, record.settings.path))
        return False

    async def discard(self, record: StoredDestination, *, made: bool) -> None:
        """Remove what a local directory without objects holds beside them; with `made` the directory too. What is in
        use stays."""
        if record.settings.on_the_nodes:
            await self._threads.run(record.id, partial(self._discard, record.settings.path, made))

    async def open(self, record: StoredDestination, conditional_create: bool) -> Storage:
        """A new storage. Raises `BadSettings`, `Transient`."""
        gate: Gate = Gates(self._limits.of(record.id), self._limits.node)
        open_it = partial(
            open_storage,
            record.settings,
            roots=self._local_roots,
            own_state=self._state,
            conditional_create=conditional_create,
            sides=SIDES,
            gate=gate,
            observer=self._measures.observer(record.settings),
            on_retry=self._measures.retried,
            file_roots=self._file_roots,
            link_local=self._settings.link_local_hosts,
        )
        return await self._threads.run(record.id, open_it)

    async def unlocking(self, record: StoredDestination) -> Unlocking:
        """What opens the keys of an encrypted destination (`agent.repository.keyrings.ReadUnlocking`). A file is read
        anew each time. Raises `BadSettings`, `EncryptionNotPossible`, `Transient`."""
        encryption = encryption_of(record.settings)
        if encryption is None:
            raise BadSettings("no encryption is asked for", setting="encryption")
        return await self._threads.run(record.id, partial(unlocking_of, encryption, self._file_roots))

    def _directory(self, path: str) -> Path:
        return allowed_path(path, self._local_roots, self._state)

    def _discard(self, path: str, made: bool) -> None:
        directory = self._directory(path)
        for place in (directory / RESERVED, *([directory] if made else [])):
            with suppress(OSError):
                place.rmdir()

    def _make_directory(self, path: str) -> bool:
        directory = self._directory(path)
        with translated("mkdir", path, directory):
            there = directory.is_dir()
            make_directory(directory, mode=0o750)
        return not there
