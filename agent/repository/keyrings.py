"""Keyrings of encrypted destinations. In: a destination's record and its open store. Out: the keyring, derived once.

Argon2id takes a tenth of a second and 64 MiB: so a keyring is kept in memory for as long as settings and key slots are
the same, whose listing is one request, and one is derived at a time (two where a repository is made).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from agent.crypto.keyring import Keyring
from agent.crypto.slots import DEFAULT, Cost, Unlocking, refuse_weak
from agent.repository.destination_files import StoredDestination
from agent.repository.destinations import Destinations
from agent.repository.errors import KeysRolledBack, RepositoryUnfinished
from agent.repository.key_slots import holds_data, listed, make_first, read_slots, unlock
from agent.repository.sole_creation import Claiming, Create, at_once
from agent.storage.protocol import Entry, Storage
from agent.wire.destinations import encryption_of

ReadUnlocking = Callable[[StoredDestination], Awaitable[Unlocking]]
"""What opens the keys, by the record's `encryption`. Raises `BadSettings`, `EncryptionNotPossible`, `Transient`."""


class Keys(Protocol):
    """The way to the keys of the repository that is asked for (agent.repository.attach)."""

    async def prove(self) -> None:
        """Raise what keeps this agent from making keys: what opens them can't be read, or is a weak passphrase. Nothing
        of the destination is looked at."""

    async def keyring(self, storage: Storage, repository_id: str, *, make: bool) -> Keyring:
        """The keyring; with `make` a repository without slots and data gets its first slot."""


@dataclass(frozen=True)
class _Kept:
    revision: int
    repository_id: str
    entries: list[Entry]
    keyring: Keyring = field(repr=False)


class Keyrings:
    """For the life of the agent. `cost`: of a first slot. `claiming`: makes it where a store can't create only if
    absent."""

    def __init__(
        self,
        destinations: Destinations,
        read: ReadUnlocking,
        cost: Cost = DEFAULT,
        claiming: Create | None = None,
    ) -> None:
        self._destinations = destinations
        self.read = read
        self._cost = cost
        self._claiming = claiming or Claiming()
        self._kept: dict[str, _Kept] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        """One for each destination: one that hangs holds up no other."""
        self._deriving = asyncio.Lock()

    def of(self, record: StoredDestination) -> Keys | None:
        """The way to the keys of a destination; None: its settings ask for no encryption."""
        return None if encryption_of(record.settings) is None else _OfRecord(self, record)

    def create_for(self, record: StoredDestination) -> Create:
        """How a key slot is created in that destination."""
        return at_once if creates_if_absent(record) else self._claiming

    async def opened(self, record: StoredDestination, storage: Storage, repository_id: str, *, make: bool) -> Keyring:
        """See `Keys.keyring`. Raises what `agent.repository.key_slots.make_first` and the reading of the secret do,
        KeysRolledBack, and RepositoryUnfinished when it isn't to be made, and nothing else was."""
        entries = await listed(storage)
        kept = self._same(record, repository_id, entries)
        if kept is not None:
            return kept
        async with self._opening.setdefault(record.id, asyncio.Lock()):
            kept = self._same(record, repository_id, entries)
            if kept is not None:
                return kept
            unlocking = await self.read(record)
            if make and not entries:
                refuse_weak(unlocking)  # whoever proved theirs may have died before this
                keyring = await make_first(storage, repository_id, unlocking, self._cost, self.create_for(record))
                entries = await listed(storage)
            elif not entries and not await holds_data(storage):
                raise RepositoryUnfinished(
                    "the repository is encrypted, and whoever began to make it did not come to make its keys",
                    repository_id=repository_id,
                )
            else:
                slots = await read_slots(storage, entries)
                async with self._deriving:
                    keyring = await unlock(slots, repository_id, unlocking)
            refuse_rolled_back(keyring, record)
            self._kept[record.id] = _Kept(record.revision, repository_id, entries, keyring)
        await self._destinations.remember(record.id, record.revision, key_epoch=keyring.epoch)
        return keyring

    def _same(self, record: StoredDestination, repository_id: str, entries: list[Entry]) -> Keyring | None:
        kept = self._kept.get(record.id)
        if kept is None or (kept.revision, kept.repository_id) != (record.revision, repository_id):
            return None
        return kept.keyring if kept.entries == entries else None


@dataclass(frozen=True)
class _OfRecord:
    keyrings: Keyrings
    record: StoredDestination

    async def prove(self) -> None:
        """See `Keys.prove`."""
        refuse_weak(await self.keyrings.read(self.record))

    async def keyring(self, storage: Storage, repository_id: str, *, make: bool) -> Keyring:
        """See `Keys.keyring`."""
        return await self.keyrings.opened(self.record, storage, repository_id, make=make)


def creates_if_absent(record: StoredDestination) -> bool:
    """Whether the destination's store was seen to create only if absent; a file system always does."""
    return record.conditional_create or record.settings.on_the_nodes


def refuse_rolled_back(keyring: Keyring, record: StoredDestination) -> None:
    """Raise KeysRolledBack when the keys are older than those that were seen in this destination."""
    if keyring.epoch < record.key_epoch:
        raise KeysRolledBack(
            f"the newest key slot is of epoch {keyring.epoch}, this agent has seen epoch {record.key_epoch}",
            epoch=keyring.epoch,
            seen=record.key_epoch,
        )
