"""The state as the leader uses it. In: a store and a term. Out: the same store, that begins no write once the term is
over; each attempt of one that was begun before is the store's own matter (`Store.during`).

Reads go on: they harm nobody, and what follows from them is a write or a call of an agent, which waits.
"""

from typing import Any, cast

from coordinator.store.protocol import PARTS, Hold, Store

LOOKS = frozenset(
    {
        "get", "find", "ended_since", "parts", "kept_parts", "step", "events", "events_of", "of", "cancels_owed", "all",
        "first", "waiting", "any",
    }
)  # fmt: skip
"""The calls of every part that change nothing."""


class _Led:
    def __init__(self, part: Any, hold: Hold) -> None:
        self._part = part
        self._hold = hold

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._part, name)
        if name in LOOKS:
            return call

        async def once_held(*arguments: Any, **named: Any) -> Any:
            await self._hold()
            return await call(*arguments, **named)

        return once_held


class _LedStore(_Led):
    """Its parts are led, and so is `prune`; `kept_on` is asked as ever; `close` stays with whoever opened the store."""

    def __init__(self, store: Store, hold: Hold) -> None:
        super().__init__(store, hold)
        self.kept_on = store.kept_on
        for part in PARTS:
            setattr(self, part, _Led(getattr(store, part), hold))


def led(store: Store, hold: Hold) -> Store:
    """The store, each of whose writes first awaits `hold`."""
    return cast(Store, _LedStore(store, hold))
