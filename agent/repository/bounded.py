"""Reads of what a listing named, in bounded memory. In: a store, a key, the size that the store told. Out: the bytes.

Whoever may write to a destination must not be able to fill the memory of every agent that reads it.
"""

from agent.repository.errors import ManifestInvalid
from agent.storage.protocol import Storage

MOST_RECORD = 32 * 1024 * 1024
"""Bytes of a plan or a record: twice what an agent takes of a coordinator (docs/protocol.md)."""
MOST_INTENT = 64 * 1024
"""Bytes of an intent: a tag and three ids."""
MOST_PIECE = 64 * 1024 * 1024
"""Plain bytes of a piece or a pack at most, eight times what we write: it bounds what a manifest can make us read."""
MOST_FRAME = 256 * 1024 * 1024
"""Bytes of a table's frame, or of a manifest's head: millions of SSTables. It is held in memory."""


async def read_bounded(storage: Storage, key: str, size: int, most: int) -> bytes:
    """The object's `size` bytes. Raises ManifestInvalid, without reading, when that is more than `most`; NotFound,
    Truncated (it is shorter by now), another StorageError."""
    if size > most:
        raise ManifestInvalid(f"{size} bytes stand where at most {most} belong: {key}", key=key, size=size)
    return await storage.get(key, 0, size) if size else b""
