"""A store in memory. In and out: keys and bytes. It keeps the whole protocol (test_conformance proves it).

`hook` is called before each operation with its verb and key, and may raise (a fault), wait, or count.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from agent.storage.keys import check_key, check_prefix
from agent.storage.protocol import OPEN, Buffer, Entry, Gate, NotFound, Put, Truncated, Unlocked

Hook = Callable[[str, str], Awaitable[None]]

PAGE = 1000


async def _nothing(verb: str, key: str) -> None:
    return None


class MemoryStorage(Unlocked):
    """Objects in a dictionary. `clock` gives `modified` in unix seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.time, hook: Hook = _nothing) -> None:
        self._clock = clock
        self._hook = hook
        self._objects: dict[str, tuple[bytes, float]] = {}

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        """Store the buffers; see `Storage.put`."""
        check_key(key)
        await self._hook("put", key)
        content = b"".join(body)
        await _pass(gate, len(content))
        # Nothing is awaited between the look and the store: that is what makes the create conditional.
        there = self._objects.get(key)
        if there is not None and not replace:
            return Put(created=False, size=len(there[0]))
        self._objects[key] = (content, self._clock())
        return Put(created=True, size=len(content))

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        """Bytes of an object; see `Storage.get`."""
        check_key(key)
        await self._hook("get", key)
        there = self._objects.get(key)
        if there is None:
            raise NotFound(f"there is no object {key}", key=key)
        content = there[0]
        end = len(content) if length is None else start + length
        if end > len(content) or start > len(content):
            raise Truncated(f"the object {key} is shorter than asked for", key=key, size=len(content))
        await _pass(gate, end - start)
        return content[start:end]

    async def head(self, key: str) -> Entry | None:
        """Size and time; see `Storage.head`."""
        check_key(key)
        await self._hook("head", key)
        there = self._objects.get(key)
        return None if there is None else Entry(key, len(there[0]), there[1])

    async def list(self, prefix: str) -> AsyncIterator[Entry]:
        """Every key of the prefix in lexical order; those deleted meanwhile are left out."""
        check_prefix(prefix)
        await self._hook("list", prefix)
        for number, key in enumerate(sorted(name for name in self._objects if name.startswith(prefix))):
            if number and number % PAGE == 0:
                await self._hook("list", prefix)
            there = self._objects.get(key)
            if there is not None:
                yield Entry(key, len(there[0]), there[1])

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove the keys; see `Storage.delete`."""
        for key in keys:
            check_key(key)
        for key in keys:
            await self._hook("delete", key)
            self._objects.pop(key, None)

    async def close(self) -> None:
        """Nothing to give back; the objects stay readable for whoever holds this store."""


async def _pass(gate: Gate, count: int) -> None:
    if gate is not OPEN and count:
        await asyncio.to_thread(gate.pass_bytes, count)
