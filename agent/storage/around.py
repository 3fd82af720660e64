"""A store around another one. In: a store. Out: the same, for whoever does a few of its verbs in another way."""

from collections.abc import AsyncIterator, Sequence

from agent.storage.protocol import OPEN, Buffer, Entry, Gate, Put, Storage


class Around:
    """Each verb is `inner`'s."""

    def __init__(self, inner: Storage) -> None:
        self._inner = inner

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        """See `Storage.put`."""
        return await self._inner.put(key, body, replace=replace, gate=gate)

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        """See `Storage.get`."""
        return await self._inner.get(key, start, length, gate=gate)

    async def head(self, key: str) -> Entry | None:
        """See `Storage.head`."""
        return await self._inner.head(key)

    def list(self, prefix: str) -> AsyncIterator[Entry]:
        """See `Storage.list`."""
        return self._inner.list(prefix)

    async def delete(self, keys: Sequence[str]) -> None:
        """See `Storage.delete`."""
        await self._inner.delete(keys)

    async def hold(self, keys: Sequence[str], until: float) -> None:
        """See `Storage.hold`."""
        await self._inner.hold(keys, until)

    async def examine(self) -> None:
        """See `Storage.examine`."""
        await self._inner.examine()

    async def close(self) -> None:
        """Close the inner store."""
        await self._inner.close()
