"""A destination as a running command sees it. In: the verbs of `Storage`. Out: their results, with the newest settings.

Keys that are wrong, or were changed in the middle of a command, make it wait instead of fail: each verb is tried again
with newer settings, or with the same ones now and then (files of credentials are read anew), for a bounded time. So
does a store that answered this command and then no longer does, when single requests were tried again in vain; not one
that answers others but never a certain request, nor one that didn't answer in the first place. The time is one for all
verbs: once it has ended, each fails at its first try, until the store takes one again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar, cast

import msgspec

from agent.repository.destinations import Destinations
from agent.repository.opened import Waiting, silent
from agent.storage.protocol import OPEN, Buffer, Denied, Entry, Gate, Put, Storage, StorageError, Transient, Truncated

Result = TypeVar("Result")


class Patience(msgspec.Struct, frozen=True):
    """With a destination. Seconds: how long a command waits for it to take its keys, or to answer again, from the first
    refusal or silence until the next request that is answered, whatever the number of requests; and how often to try
    the same settings again."""

    seconds: float = 600.0
    poll_seconds: float = 15.0


class WaitingForCredentials(StorageError):
    """Shown on a command while the destination refuses its keys; never raised."""

    code = "waiting_for_credentials"
    retry = "later"
    status = 403
    todo = "Put the destination again with keys that work; the command goes on by itself."


class WaitingForDestination(StorageError):
    """Shown on a command while the destination, which answered before, doesn't; never raised."""

    code = "waiting_for_destination"
    retry = "later"
    todo = "Look at the store and the network to it; the command goes on by itself when the store answers again."


_ALONE = 3
"""Tries in a row during which others were answered, after which a call is alone with its trouble."""


class _Trouble:
    """One call's trouble with a store that doesn't answer it."""

    __slots__ = ("alone", "refused_until", "until")

    def __init__(self) -> None:
        self.until: float | None = None
        """The loop's time at which patience with this call ends, whatever others are answered."""
        self.refused_until: float | None = None
        """The same while it is refused."""
        self.alone = 0
        """Tries in a row during which others were answered."""


class LiveStorage:
    """`verify` is run once for each opening before its first use: the same repository must still be there. `verified`:
    the opening for which that was done already."""

    def __init__(
        self,
        destinations: Destinations,
        destination_id: str,
        verify: Callable[[Storage], Awaitable[None]],
        *,
        waiting: Waiting = silent,
        patience: Patience | None = None,
        verified: int = 0,
    ) -> None:
        self._destinations = destinations
        self._id = destination_id
        self._verify = verify
        self._waiting = waiting
        self._patience = patience or Patience()
        self.verified = verified
        self._verifying = asyncio.Lock()
        self._refused_until: float | None = None
        """While keys are refused: the loop's time at which patience ends, or ended."""
        self._away_until: float | None = None
        """While nothing is answered: the loop's time at which patience ends, or ended."""
        self._answers = 0
        self._shown = False

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        """See `Storage.put`."""
        return await self._patiently(lambda storage: storage.put(key, body, replace=replace, gate=gate))

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        """See `Storage.get`."""
        return await self._patiently(lambda storage: storage.get(key, start, length, gate=gate))

    async def head(self, key: str) -> Entry | None:
        """See `Storage.head`."""
        return await self._patiently(lambda storage: storage.head(key))

    async def list(self, prefix: str) -> AsyncIterator[Entry]:
        """See `Storage.list`; after a refusal it goes on behind the last key that was given."""
        last = ""
        trouble = _Trouble()
        while True:
            generation, revision = 0, self._destinations.record(self._id).revision
            answers = self._answers
            try:
                async with self._destinations.borrowed(self._id) as borrowed:
                    generation = borrowed.generation
                    await self._verify_once(generation, borrowed.storage)
                    # Whoever lists is an async generator in every provider; closing it gives back its connection.
                    listing = cast("Any", borrowed.storage.list(prefix))
                    async with aclosing(listing) as entries:
                        async for entry in entries:
                            self._accepted()
                            if entry.key > last:
                                last, trouble = entry.key, _Trouble()
                                yield entry
                self._accepted()
                return
            except Denied as error:
                await self._refused(trouble, generation, revision, error)
            except Transient as error:
                await self._silent(trouble, answers, error)

    async def delete(self, keys: Sequence[str]) -> None:
        """See `Storage.delete`."""
        await self._patiently(lambda storage: storage.delete(keys))

    async def hold(self, keys: Sequence[str], until: float) -> None:
        """See `Storage.hold`."""
        await self._patiently(lambda storage: storage.hold(keys, until))

    async def examine(self) -> None:
        """See `Storage.examine`."""
        await self._patiently(lambda storage: storage.examine())

    async def close(self) -> None:
        """Nothing: the storage belongs to the registry."""

    async def ready(self) -> None:
        """Open and verify now. Raises what the verification raises."""
        await self._patiently(_nothing)

    async def _patiently(self, call: Callable[[Storage], Awaitable[Result]]) -> Result:
        trouble = _Trouble()
        while True:
            generation, revision = 0, self._destinations.record(self._id).revision
            answers = self._answers
            try:
                async with self._destinations.borrowed(self._id) as borrowed:
                    generation = borrowed.generation
                    await self._verify_once(generation, borrowed.storage)
                    result = await call(borrowed.storage)
                self._accepted()
                return result
            except Denied as error:
                await self._refused(trouble, generation, revision, error)
            except Transient as error:
                await self._silent(trouble, answers, error)

    async def _verify_once(self, generation: int, storage: Storage) -> None:
        if self.verified >= generation:
            return
        async with self._verifying:
            if self.verified < generation:
                await self._verify(storage)
                self.verified = generation

    def _accepted(self) -> None:
        self._answers += 1
        self._refused_until = None
        self._away_until = None
        self._hide()

    def _show(self, error: StorageError) -> None:
        self._shown = True
        self._waiting(error.as_dict())

    def _hide(self) -> None:
        if self._shown:
            self._shown = False
            self._waiting(None)

    async def _silent(self, trouble: _Trouble, answers: int, error: Transient) -> None:
        """Return when a new try makes sense; raises the error when none does, or patience has ended. `answers`: of the
        store, when the failed try began."""
        now = asyncio.get_running_loop().time()
        if trouble.until is None:
            trouble.until = now + self._patience.seconds
        if self._away_until is None:
            self._away_until = now + self._patience.seconds
        # Others that were answered between two tries show a store that comes and goes, not one that lacks this object.
        trouble.alone = trouble.alone + 1 if self._answers > answers else 0
        if not self._answers or trouble.alone >= _ALONE or (isinstance(error, Truncated) and "size" in error.fields):
            raise error
        left = min(trouble.until, self._away_until) - now
        if left <= 0:
            self._hide()
            raise error
        if not self._shown:
            fields = {**error.fields, "destination": self._id}
            self._show(WaitingForDestination(f"{self._id} does not answer: {error.message}", **fields))
        await self._destinations.changed(self._id, min(left, self._patience.poll_seconds))

    async def _refused(self, trouble: _Trouble, generation: int, revision: int, error: Denied) -> None:
        """Return when a new try makes sense; raises the error when patience has ended."""
        current = self._destinations.generation(self._id)
        renewed = current is not None and current > generation
        if renewed or self._destinations.record(self._id).revision > revision:
            return  # newer settings came while that call was under way
        now = asyncio.get_running_loop().time()
        if self._refused_until is None:
            self._refused_until = now + self._patience.seconds
            fields = {**error.fields, "destination": self._id}
            self._show(WaitingForCredentials(f"{self._id} refuses the keys this agent has: {error.message}", **fields))
        if trouble.refused_until is None:
            trouble.refused_until = now + self._patience.seconds
        left = min(self._refused_until, trouble.refused_until) - now
        if left <= 0:
            self._hide()
            raise error
        if not await self._destinations.changed(self._id, min(left, self._patience.poll_seconds)):
            await self._destinations.renew(self._id, generation)


async def _nothing(storage: Storage) -> None:
    return None
