"""Small files of a repository (plans, listing records, marks, intents). In: their JSON. Out: what is stored, and back.

In a plain repository the JSON itself is stored. In an encrypted one it is sealed as an object whose id is the digest of
its key, so that no document can stand in another's place, or in another cluster:

    «HLND» · format u8 = 1 · 0 u8 · 0 u16 · key epoch u32 · salt (32) · ciphertext and tag

and a document that isn't sealed is not taken: whoever can write to the store, and has no key, can make none.
"""

import struct

from agent.crypto.digest import digest
from agent.crypto.errors import SealBroken, SealingKeyUnknown
from agent.crypto.keyring import Keyring
from agent.crypto.sealing import SALT_SIZE, TAG_SIZE, seal, unseal
from agent.repository.bounded import read_bounded
from agent.repository.errors import ManifestInvalid, RepositoryFormatNewer
from agent.storage.protocol import Put, Storage

MAGIC = b"HLND"
FORMAT = 1
KIND = 16
"""What a document is to the cipher: data objects and frames have kinds of their own (agent.repository.frame)."""
_HEADER = struct.Struct(f">4sBBHI{SALT_SIZE}s")
OVERHEAD = _HEADER.size + TAG_SIZE
"""Bytes that sealing adds."""


def claims_seal(start: bytes, size: int) -> bool:
    """Whether a stored document of `size` bytes that begins so may be a sealed one; only a key proves that it is."""
    return size >= OVERHEAD and start.startswith(MAGIC)


class Documents:
    """The documents of one cluster in one open store. `keyring` None: the repository is plain."""

    def __init__(self, storage: Storage, cluster_id: str, keyring: Keyring | None) -> None:
        self._storage = storage
        self._associated = cluster_id.encode()
        self._keyring = keyring

    async def put(self, key: str, body: bytes, *, replace: bool = False) -> Put:
        """Store the document. Equal documents are equal bytes. Raises a StorageError."""
        return await self._storage.put(key, [self.stored(key, body)], replace=replace)

    async def read(self, key: str, size: int, most: int) -> bytes:
        """The document of a key whose `size` a listing told. Raises ManifestInvalid (longer than `most`, not sealed, or
        not as it was sealed), SealingKeyUnknown, RepositoryFormatNewer, NotFound, another StorageError."""
        overhead = 0 if self._keyring is None else OVERHEAD
        return self.opened(key, await read_bounded(self._storage, key, size, most + overhead))

    def stored(self, key: str, body: bytes) -> bytes:
        """The bytes to store."""
        if self._keyring is None:
            return body
        salt, ciphertext = seal(self._keyring, digest(key.encode()), KIND, self._associated, body)
        return _HEADER.pack(MAGIC, FORMAT, 0, 0, self._keyring.epoch, salt) + ciphertext

    def opened(self, key: str, stored: bytes) -> bytes:
        """The document in stored bytes. Raises as `read`."""
        if self._keyring is None:
            return stored
        if not claims_seal(stored, len(stored)):
            raise ManifestInvalid(f"a document of an encrypted repository isn't sealed: {key}", key=key)
        _, version, _, _, epoch, salt = _HEADER.unpack_from(stored)
        if version != FORMAT:
            raise RepositoryFormatNewer(f"a document has format {version}: {key}", key=key, format=version)
        ciphertext = memoryview(stored)[_HEADER.size :]
        try:
            return unseal(self._keyring, epoch, digest(key.encode()), KIND, self._associated, salt, ciphertext)
        except SealingKeyUnknown as error:
            raise SealingKeyUnknown(f"{error.message}: {key}", key=key, **error.fields) from error
        except SealBroken as error:
            raise ManifestInvalid(f"{error.message}: {key}", key=key, epoch=epoch) from error
