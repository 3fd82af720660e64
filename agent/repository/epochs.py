"""Whether an epoch that something claims to be sealed in was ever made. In: an open repository. Out: yes or no, by the
key slots as they are now.

A command keeps the keys that it began with, so what was sealed after a rotation since is not its to judge. Above the
newest slot, or below its own newest key and not among its keys, nobody can have sealed anything: every rotation's slot
is there before its key is used, and wraps all keys before it.
"""

import msgspec

from agent.crypto.errors import SealingKeyUnknown
from agent.repository.key_slots import read_slots
from agent.repository.opened import OpenedRepository


class Epochs:
    """The epochs of one repository, as one command knows them."""

    def __init__(self, opened: OpenedRepository) -> None:
        self._storage = opened.storage
        self._own = self._newest = 0 if opened.keyring is None else opened.keyring.epoch

    async def came_since(self, error: SealingKeyUnknown) -> bool:
        """Whether the epoch of that error is one of after the command began; the slots are read again for one above
        the newest known. Raises KeySlotInvalid, a StorageError."""
        epoch = msgspec.convert(error.fields["epoch"], int)
        if epoch > self._newest:
            slots = await read_slots(self._storage)
            self._newest = max([self._newest, *(slot.epoch for slot in slots.current)])
        return self._own < epoch <= self._newest
