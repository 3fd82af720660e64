"""POST /v1/destinations/{id}/keys, and `helenus-repository keys`: in, a change of an encrypted repository's key slots;
out, the slots after it.

What opens them is the destination's own passphrase or key file, so that nobody changes keys that they can't read. See
`agent.repository.key_slots` for what each change makes safe.
"""

from collections.abc import Callable, Sequence

import msgspec

from agent.crypto.slots import DEFAULT, Cost, Unlocking, refuse_weak
from agent.repository.attach import attach
from agent.repository.destination_files import StoredDestination
from agent.repository.destinations import Destinations
from agent.repository.errors import KeySlotsGone, RepositoryNotEncrypted
from agent.repository.key_slots import add_slot, read_slots, remove_superseded, rotate
from agent.repository.keyrings import Keyrings, ReadUnlocking
from agent.repository.keys import KEY_SLOTS
from agent.repository.sole_creation import Create, at_once
from agent.storage.protocol import Storage
from agent.wire.destinations import ChangeKeys, Encryption, KeySlots, KeySlotView, encryption_of, object_lock_of
from kit.errors import InvalidInput

MOST_SECRETS = 16


class KeyChanges:
    """`read` gives a secret's bytes; `register_secret` is told each passphrase, so that logs leave it out. `cost`: of
    new slots."""

    def __init__(
        self,
        destinations: Destinations,
        keyrings: Keyrings,
        read: ReadUnlocking,
        *,
        register_secret: Callable[[str], None],
        cost: Cost = DEFAULT,
    ) -> None:
        self._destinations = destinations
        self._keyrings = keyrings
        self._read = read
        self._register_secret = register_secret
        self._cost = cost

    async def change(self, destination_id: str, request: ChangeKeys) -> KeySlots:
        """Add a slot for each secret; or rotate, keeping this destination's secret and those; or remove superseded
        slots. Raises `UnknownDestination`, `InvalidInput`, `RepositoryNotEncrypted`, what opening and the change
        raise."""
        check_change(request)
        for secret in request.secrets:
            if secret.passphrase:
                self._register_secret(secret.passphrase)
        record = self._destinations.record(destination_id)
        if encryption_of(record.settings) is None:
            raise RepositoryNotEncrypted(f"{destination_id} isn't encrypted: it has no keys", setting="encryption")
        with self._destinations.used(destination_id):
            known = await self._read(record)
            secrets = [await self._read(_with(record, secret)) for secret in request.secrets]
            async with self._destinations.borrowed(destination_id) as borrowed:
                storage = borrowed.storage
                attached = await attach(
                    storage,
                    keys=self._keyrings.of(record),
                    initialise=False,
                    repository_id=record.repository_id,
                    cluster_id=None,
                    cluster_name=None,
                    locked=object_lock_of(record.settings) is not None,
                )
                repository_id = attached.repository_id
                return await change_slots(
                    storage, repository_id, request, known, secrets, self._cost, self._keyrings.create_for(record)
                )


def check_change(request: ChangeKeys) -> None:
    """Raise InvalidInput for one that makes no sense: nothing to add, secrets for a removal, or too many of them."""
    if len(request.secrets) > MOST_SECRETS:
        raise InvalidInput(f"at most {MOST_SECRETS} secrets go into one request", field="secrets")
    if (request.change == "add") != bool(request.secrets) and request.change != "rotate":
        raise InvalidInput("secrets are given to add, or to be kept by a rotation", field="secrets")


async def change_slots(
    storage: Storage,
    repository_id: str,
    request: ChangeKeys,
    known: Unlocking,
    secrets: Sequence[Unlocking],
    cost: Cost = DEFAULT,
    create: Create = at_once,
) -> KeySlots:
    """Carry out a change that `check_change` let pass; `known` opens the slots, `secrets` are what the request names.
    The slots after it. Raises EncryptionNotPossible for a weak passphrase, what agent.repository.key_slots does."""
    for secret in secrets:
        refuse_weak(secret)
    if request.change == "rotate":
        await rotate(storage, repository_id, known, secrets, cost, create)
    elif request.change == "remove_superseded":
        await remove_superseded(storage, repository_id, known)
    else:
        for added in secrets:
            await add_slot(storage, repository_id, known, added, cost, create)
    return await slots_in(storage)


async def slots_in(storage: Storage) -> KeySlots:
    """The key slots of an encrypted repository, which no key is needed for. Raises KeySlotsGone, KeySlotInvalid, a
    StorageError."""
    slots = await read_slots(storage)
    if not slots.current:
        raise KeySlotsGone("the repository is encrypted, and no key slot is there", key=KEY_SLOTS)
    view = [KeySlotView(slot.number, slot.epoch, slot.kind, True) for slot in slots.current]
    view += [KeySlotView(slot.number, slot.epoch, slot.kind, False) for slot in slots.older]
    return KeySlots(slots.current[0].epoch, sorted(view, key=lambda slot: slot.number))


def _with(record: StoredDestination, secret: Encryption) -> StoredDestination:
    return msgspec.structs.replace(record, settings=msgspec.structs.replace(record.settings, encryption=secret))
