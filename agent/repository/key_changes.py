"""POST /v1/destinations/{id}/keys: in, a change of an encrypted repository's key slots; out, the slots after it.

What opens them is the destination's own passphrase or key file, so that nobody changes keys that they can't read. See
`agent.repository.key_slots` for what each change makes safe.
"""

from collections.abc import Callable

import msgspec

from agent.crypto.slots import DEFAULT, Cost
from agent.repository.attach import attach
from agent.repository.destination_files import StoredDestination
from agent.repository.destinations import Destinations
from agent.repository.errors import RepositoryNotEncrypted
from agent.repository.key_slots import add_slot, read_slots, remove_superseded, rotate
from agent.repository.keyrings import Keyrings, ReadUnlocking
from agent.wire.destinations import ChangeKeys, Encryption, KeySlots, KeySlotView, encryption_of
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
        if len(request.secrets) > MOST_SECRETS:
            raise InvalidInput(f"at most {MOST_SECRETS} secrets go into one request", field="secrets")
        if (request.change == "add") != bool(request.secrets) and request.change != "rotate":
            raise InvalidInput("secrets are given to add, or to be kept by a rotation", field="secrets")
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
                )
                repository_id = attached.repository_id
                if request.change == "rotate":
                    await rotate(storage, repository_id, known, secrets, self._cost)
                elif request.change == "remove_superseded":
                    await remove_superseded(storage, repository_id, known)
                else:
                    for added in secrets:
                        await add_slot(storage, repository_id, known, added, self._cost)
                slots = await read_slots(storage)
        view = [KeySlotView(slot.number, slot.epoch, slot.kind, True) for slot in slots.current]
        view += [KeySlotView(slot.number, slot.epoch, slot.kind, False) for slot in slots.older]
        return KeySlots(slots.current[0].epoch, sorted(view, key=lambda slot: slot.number))


def _with(record: StoredDestination, secret: Encryption) -> StoredDestination:
    return msgspec.structs.replace(record, settings=msgspec.structs.replace(record.settings, encryption=secret))
