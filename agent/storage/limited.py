"""A store whose bytes pass a gate. In: a store and a gate, such as the node's and the destination's buckets. Out: the
same store, whose puts and gets wait at that gate and at the caller's own; a `Stream` also for its turn, at each try
anew: one that a store gave up because a limit fell goes on when the limit has room for it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from agent.storage.around import Around
from agent.storage.protocol import OPEN, Buffer, Gate, Put, Storage
from agent.storage.throttle import Gates, Stream
from agent.storage.turns import in_turn


class Limited(Around):
    """A store around `inner`. The caller's gate comes first: bytes that wait there take nothing from the others."""

    def __init__(self, inner: Storage, gate: Gate) -> None:
        super().__init__(inner)
        self._gate = gate

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        """See `Storage.put`."""
        async with self._in_turn(gate) as limit:
            return await self._inner.put(key, body, replace=replace, gate=limit)

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        """See `Storage.get`."""
        async with self._in_turn(gate) as limit:
            return await self._inner.get(key, start, length, gate=limit)

    @asynccontextmanager
    async def _in_turn(self, gate: Gate) -> AsyncIterator[Gate]:
        if gate is OPEN:
            yield self._gate
            return
        both = Gates(gate, self._gate)
        async with in_turn(both.turns() if isinstance(gate, Stream) else ()):
            yield both
