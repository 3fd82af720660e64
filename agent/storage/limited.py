"""A store whose bytes pass a gate. In: a store and a gate, such as the node's and the destination's buckets. Out: the
same store, whose puts and gets wait at that gate and at the caller's own."""

from collections.abc import AsyncIterator, Sequence

from agent.storage.protocol import OPEN, Buffer, Entry, Gate, Put, Storage
from agent.storage.throttle import Gates


class Limited:
    """A store around `inner`. The caller's gate comes first: bytes that wait there take nothing from the others."""

    def __init__(self, inner: Storage, gate: Gate) -> None:
        self._inner = inner
        self._gate = gate

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        """See `Storage.put`."""
        return await self._inner.put(key, body, replace=replace, gate=self._both(gate))

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        """See `Storage.get`."""
        return await self._inner.get(key, start, length, gate=self._both(gate))

    async def head(self, key: str) -> Entry | None:
        """See `Storage.head`."""
        return await self._inner.head(key)

    def list(self, prefix: str) -> AsyncIterator[Entry]:
        """See `Storage.list`."""
        return self._inner.list(prefix)

    async def delete(self, keys: Sequence[str]) -> None:
        """See `Storage.delete`."""
        await self._inner.delete(keys)

    async def close(self) -> None:
        """Close the inner store."""
        await self._inner.close()

    def _both(self, gate: Gate) -> Gate:
        return self._gate if gate is OPEN else Gates(gate, self._gate)
