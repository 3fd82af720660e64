"""Whether a stored manifest is as it was put, without the key. In: an open store and a listed manifest. Out: yes or no.

Its last 32 bytes digest all before them, sealed or not. That it is the right one, and who made it, only a key tells.
"""

from agent.crypto.digest import DIGEST_SIZE, RunningDigest
from agent.repository.manifest import MAGIC
from agent.storage.protocol import Entry, NotFound, Storage, Truncated

_CHUNK = 8 * 1024 * 1024
_MOST = 1 << 40
"""Bytes of a manifest that are read at most."""


async def is_whole(storage: Storage, entry: Entry) -> bool:
    """Whether the manifest's own digest is right. Raises a StorageError."""
    end = entry.size - DIGEST_SIZE
    if not len(MAGIC) <= end <= _MOST:
        return False
    running = RunningDigest()
    try:
        for start in range(0, end, _CHUNK):
            data = await storage.get(entry.key, start, min(_CHUNK, end - start))
            if start == 0 and not data.startswith(MAGIC):
                return False
            running.update(data)
        return await storage.get(entry.key, end, DIGEST_SIZE) == running.digest()
    except (NotFound, Truncated):
        return False
