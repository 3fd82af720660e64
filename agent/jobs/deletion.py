"""Deletions of a sweep. In: keys. Out: what has gone, and what object lock still holds, which is no failure."""

from collections.abc import Mapping, Sequence

from agent.storage.protocol import ObjectLocked, Storage
from agent.wire.results import FreedPart, FreedResult


class Deletion:
    """Deletes and counts."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._freed = FreedPart(0, 0)
        self._locked = FreedPart(0, 0)
        self._until: float | None = None

    async def delete(self, keys: Sequence[str]) -> frozenset[str]:
        """Remove the keys; those that are under lock. Raises a StorageError."""
        try:
            await self._storage.delete(keys)
        except ObjectLocked as locked:
            until = locked.fields.get("held_until")
            if isinstance(until, float):
                self._until = until if self._until is None else min(self._until, until)
            return locked.keys
        return frozenset()

    async def free(self, sizes: Mapping[str, int]) -> None:
        """Remove data objects, by key with their stored bytes. Raises a StorageError."""
        held = await self.delete(list(sizes))
        size = sum(sizes[key] for key in held)
        self._locked = FreedPart(self._locked.bytes + size, self._locked.objects + len(held))
        gone = sum(sizes.values()) - size
        self._freed = FreedPart(self._freed.bytes + gone, self._freed.objects + len(sizes) - len(held))

    def result(self, tags: list[str]) -> FreedResult:
        """What it came to; `tags`: whose manifest went."""
        return FreedResult(
            self._freed.bytes, self._freed.objects, tags, locked=self._locked, first_unlocked_at=self._until
        )
