"""The only place where a request is tried again. In: a store. Out: the same store, which forgives passing faults.

Only `Transient` is tried again, after a random part of a time that doubles («full jitter»), or after what the store
asked for in Retry-After. A cancelled task is never revived: cancellation ends the wait and the loop.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from agent.storage.protocol import OPEN, Buffer, Entry, Gate, Put, Storage, Transient, Truncated

Result = TypeVar("Result")


class Policy(msgspec.Struct, frozen=True):
    """How patient a store's user is. Seconds; `deadline` counts from an operation's first fault, so that a try which
    was slow because of a limit does not use up the patience."""

    attempts: int = 6
    first_wait: float = 0.2
    longest_wait: float = 10.0
    deadline: float = 120.0


def _ignore(verb: str, error: Transient) -> None:
    return None


class Retrying:
    """A store around `inner`. `on_retry` is called with the verb and the fault before each further try."""

    def __init__(
        self,
        inner: Storage,
        policy: Policy | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        part: Callable[[], float] = random.random,
        on_retry: Callable[[str, Transient], None] = _ignore,
    ) -> None:
        self._inner = inner
        self._policy = policy or Policy()
        self._clock = clock
        self._sleep = sleep
        self._part = part
        self._on_retry = on_retry

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        """See `Storage.put`. When an answer was lost, the try after it finds the key: `created` is False then."""
        return await self._again("put", lambda: self._inner.put(key, body, replace=replace, gate=gate))

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        """See `Storage.get`."""
        return await self._again("get", lambda: self._inner.get(key, start, length, gate=gate))

    async def head(self, key: str) -> Entry | None:
        """See `Storage.head`."""
        return await self._again("head", lambda: self._inner.head(key))

    async def list(self, prefix: str) -> AsyncIterator[Entry]:
        """See `Storage.list`. Begun again after a fault, it goes on behind the last key that was given out; each key
        given out is progress and renews the patience."""
        last: str | None = None
        tries = _Tries()
        while True:
            try:
                async for entry in self._inner.list(prefix):
                    if last is None or entry.key > last:
                        last = entry.key
                        tries = _Tries()
                        yield entry
                return
            except Transient as fault:
                await self._pause("list", tries, fault)

    async def delete(self, keys: Sequence[str]) -> None:
        """See `Storage.delete`."""
        await self._again("delete", lambda: self._inner.delete(keys))

    async def hold(self, keys: Sequence[str], until: float) -> None:
        """See `Storage.hold`."""
        await self._again("hold", lambda: self._inner.hold(keys, until))

    async def examine(self) -> None:
        """See `Storage.examine`."""
        await self._again("examine", self._inner.examine)

    async def close(self) -> None:
        """Close the inner store."""
        await self._inner.close()

    async def _again(self, verb: str, call: Callable[[], Awaitable[Result]]) -> Result:
        tries = _Tries()
        while True:
            try:
                return await call()
            except Transient as fault:
                await self._pause(verb, tries, fault)

    async def _pause(self, verb: str, tries: "_Tries", fault: Transient) -> None:
        """Wait before the next try, or raise the fault when there is none."""
        if isinstance(fault, Truncated) and "size" in fault.fields:
            raise fault  # the store told the object's whole size: there is no more to come
        tries.made += 1
        if tries.made == 1:
            tries.since = self._clock()
        policy = self._policy
        asked = fault.fields.get("retry_after")
        wait = self._part() * min(policy.longest_wait, policy.first_wait * 2 ** (tries.made - 1))
        if isinstance(asked, int | float):
            wait = max(wait, float(asked))
        over = tries.since + policy.deadline
        if tries.made >= policy.attempts or self._clock() + wait > over:
            raise fault
        self._on_retry(verb, fault)
        await self._sleep(wait)


class _Tries:
    __slots__ = ("made", "since")

    def __init__(self) -> None:
        self.made = 0
        self.since = 0.0
