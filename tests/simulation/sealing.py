"""Keys of a run's encrypted repositories: the same in each, so that a seed names the same objects again. In: an open
store. Out: its first slot, and what opens it."""

import msgspec

from agent.crypto.keyring import Keyring
from agent.crypto.slots import Unlocking, wrapped
from agent.repository.destination_files import StoredDestination
from agent.repository.keys import slot_key
from agent.storage.protocol import Storage
from agent.wire.destinations import Encryption
from tests.oracle.formats import Keys

SECRET = b"a canary of thirty-two bytes: it is the file of a key"
UNLOCKING = Unlocking("key_file", SECRET)
"""A key file: to guess a passphrase is made slow."""
ENCRYPTION = Encryption(key_file="/keys/helenus")
KEYRING = Keyring(b"n" * 32, {1: b"s" * 32})
ORACLE_KEYS = Keys(KEYRING.name_key, KEYRING.sealing)


class FirstSlot:
    """Keeps the protocol of `agent.repository.keyrings.Keys` while a repository is made."""

    async def prove(self) -> None:
        """Nothing has to be read."""

    async def keyring(self, storage: Storage, repository_id: str, *, make: bool) -> Keyring:
        """Those of the run."""
        slot = wrapped(KEYRING, UNLOCKING, repository_id, 0)
        await storage.put(slot_key(0), [msgspec.json.encode(slot)])
        return KEYRING


async def read_key_file(record: StoredDestination) -> Unlocking:
    """As the agent reads it."""
    return UNLOCKING
