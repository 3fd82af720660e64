"""Creates an object that nobody may replace. In: an open store, a key and a body. Out: the object stands, this call's
or another's; whose it is tells who reads it back.

`at_once` is for stores that create only if absent. The others look and then put: of two that look at the same moment
the second one replaces what the first one already relies on. `Claiming` has each that sees no claim put one of its own
first, wait, and look at all claims: only whose claim the store put first goes on, by the store's own times. A claim
that comes later is a later one, so one that had to wait long before it came takes nothing from anybody; and it is
removed only when the object stands or was never going to be put. That holds while the store shows what was put to
everybody, and the clocks of its parts differ by less than `SETTLE_SECONDS`.

Whoever is killed in between leaves a claim, and nobody can tell it from one whose put is under way: a person removes
it.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

from agent.repository.errors import KeySlotClaimed
from agent.repository.keys import claims_prefix
from agent.storage.protocol import Entry, Storage, StorageError

Create = Callable[[Storage, str, bytes], Awaitable[None]]
"""Have the object of that key stand. Raises a StorageError, KeySlotClaimed."""

SETTLE_SECONDS = 5.0
_MOST_LOOKS = 12


async def at_once(storage: Storage, key: str, body: bytes) -> None:
    """See `Create`; for stores that create only if absent."""
    await storage.put(key, [body])


class Claiming:
    """See `Create`; for the other stores. `sleep`: takes seconds."""

    def __init__(
        self,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        new_name: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._sleep = sleep
        self._new_name = new_name

    async def __call__(self, storage: Storage, key: str, body: bytes) -> None:
        """Put it if this call's claim is the first. While another's stands wait for the object, and go on when that one
        gave up. Raises KeySlotClaimed, a StorageError."""
        claim = claims_prefix(key)
        for _ in range(_MOST_LOOKS):
            if await storage.head(key) is not None:
                return
            first = await _first(storage, key)
            if first is None:
                await self._put_if_first(storage, key, body)
            else:
                claim = first.key
                await self._sleep(SETTLE_SECONDS)
        if await storage.head(key) is None:
            raise KeySlotClaimed(f"somebody has begun to make {key} and doesn't end: {claim}", key=claim)

    async def _put_if_first(self, storage: Storage, key: str, body: bytes) -> None:
        mine = f"{claims_prefix(key)}{self._new_name()}"
        await storage.put(mine, [b"claim"])
        try:
            await self._sleep(SETTLE_SECONDS)
            first = await _first(storage, key)
        except BaseException:
            with suppress(StorageError):
                await storage.delete([mine])
            raise
        if first is not None and first.key == mine:
            await storage.put(key, [body])  # failed, it may still come: the claim stands
        await storage.delete([mine])


async def _first(storage: Storage, key: str) -> Entry | None:
    claims = [entry async for entry in storage.list(claims_prefix(key))]
    return min(claims, key=lambda one: (one.modified, one.key), default=None)
