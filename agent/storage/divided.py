"""A store in two places. In: one under object lock and one without, and which keys lie where. Out: one store.

Each side shows only the keys that belong to it: whatever else stands there is not seen.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, NamedTuple, cast

from agent.storage.protocol import OPEN, Buffer, Entry, Gate, Put, Storage


class Sides(NamedTuple):
    """Which side a key lies on. `is_control`: of a key, not under lock. `may_be_control`, `may_be_locked`: of the
    beginning of a key, whether one that begins so can lie there."""

    is_control: Callable[[str], bool]
    may_be_control: Callable[[str], bool]
    may_be_locked: Callable[[str], bool]


ALL_LOCKED = Sides(lambda key: False, lambda prefix: False, lambda prefix: True)
"""Nothing lies in the control location."""


class Divided:
    """`locked` and `control` are closed with it."""

    def __init__(self, locked: Storage, control: Storage, sides: Sides) -> None:
        self._locked = locked
        self._control = control
        self._sides = sides

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        """See `Storage.put`."""
        return await self._side(key).put(key, body, replace=replace, gate=gate)

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        """See `Storage.get`."""
        return await self._side(key).get(key, start, length, gate=gate)

    async def head(self, key: str) -> Entry | None:
        """See `Storage.head`."""
        return await self._side(key).head(key)

    async def list(self, prefix: str) -> AsyncIterator[Entry]:
        """See `Storage.list`. Asks the sides that can have such keys."""
        async with self._listed(prefix, control=True) as control, self._listed(prefix, control=False) as locked:
            first, second = await anext(control, None), await anext(locked, None)
            while first is not None or second is not None:
                if second is None or (first is not None and first.key < second.key):
                    yield cast("Entry", first)
                    first = await anext(control, None)
                else:
                    yield second
                    second = await anext(locked, None)

    async def delete(self, keys: Sequence[str]) -> None:
        """See `Storage.delete`."""
        control = [key for key in keys if self._sides.is_control(key)]
        if control:
            await self._control.delete(control)
        if len(control) < len(keys):
            await self._locked.delete([key for key in keys if not self._sides.is_control(key)])

    async def hold(self, keys: Sequence[str], until: float) -> None:
        """See `Storage.hold`."""
        await self._locked.hold([key for key in keys if not self._sides.is_control(key)], until)

    async def examine(self) -> None:
        """See `Storage.examine`: one must lock, the other must not."""
        await self._locked.examine()
        await self._control.examine()

    async def close(self) -> None:
        """Close both."""
        await self._locked.close()
        await self._control.close()

    def _side(self, key: str) -> Storage:
        return self._control if self._sides.is_control(key) else self._locked

    @asynccontextmanager
    async def _listed(self, prefix: str, *, control: bool) -> AsyncIterator[AsyncIterator[Entry]]:
        can = self._sides.may_be_control if control else self._sides.may_be_locked
        store = self._control if control else self._locked
        # Whoever lists is an async generator in every provider; closing it gives back its connection.
        async with aclosing(cast("Any", store.list(prefix) if can(prefix) else _nothing())) as entries:
            yield _kept(entries, lambda key: self._sides.is_control(key) == control)


async def _kept(entries: AsyncIterator[Entry], belongs: Callable[[str], bool]) -> AsyncIterator[Entry]:
    async for entry in entries:
        if belongs(entry.key):
            yield entry


async def _nothing() -> AsyncIterator[Entry]:
    for entry in list[Entry]():
        yield entry
