"""A bucket under object lock in memory, and beside it a control location. In and out: keys and bytes, and until when
what is held. It keeps the protocol as the real servers do (tests/real/storage/test_object_lock.py).
"""

from collections.abc import Callable, Iterator, Sequence

from agent.repository.control_keys import SIDES
from agent.storage.divided import Divided
from agent.storage.protocol import OPEN, Buffer, Entry, Gate, NotFound, ObjectLocked, Put
from agent.wire.object_lock import ObjectLock
from tests.fast.storage.memory import Hook, MemoryStorage


class LockedMemory(MemoryStorage):
    """`now`: unix seconds, by which locks are made and end."""

    def __init__(self, lock: ObjectLock, now: Callable[[], float], *, clock: Callable[[], float], hook: Hook) -> None:
        super().__init__(clock=clock, hook=hook)
        self._lock = lock
        self._now = now
        self.held: dict[str, float] = {}

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        put = await super().put(key, body, replace=replace, gate=gate)
        if not put.created:
            return put
        self.held[key] = max(self._lock.until(self._now()), self.held.get(key, 0.0))
        return Put(True, put.size, self.held[key])

    async def head(self, key: str) -> Entry | None:
        found = await super().head(key)
        return None if found is None else Entry(key, found.size, found.modified, self.held[key])

    async def hold(self, keys: Sequence[str], until: float) -> None:
        for key in keys:
            await self._hook("hold", key)
            if key not in self._objects:
                raise NotFound(f"there is no object {key}", key=key)
            self.held[key] = max(until, self.held[key])

    async def delete(self, keys: Sequence[str]) -> None:
        locked = {key: self.held[key] for key in keys if self.held.get(key, 0.0) > self._now()}
        for key in keys:
            if key not in locked:
                await super().delete([key])
                self.held.pop(key, None)
        if locked:
            raise ObjectLocked("they are locked", keys=locked, held_until=min(locked.values()))


class LockedPlace(Divided):
    """Both, as one store, and as the oracle reads them."""

    def __init__(self, lock: ObjectLock, now: Callable[[], float], *, clock: Callable[[], float], hook: Hook) -> None:
        self.locked = LockedMemory(lock, now, clock=clock, hook=hook)
        self.control = MemoryStorage(clock=clock, hook=hook)
        super().__init__(self.locked, self.control, SIDES)

    @property
    def objects(self) -> dict[str, bytes]:
        """Everything that is there."""
        both = {**self.locked._objects, **self.control._objects}
        return {key: body for key, (body, _) in both.items()}


class LockedReader:
    """What the oracle reads of it."""

    def __init__(self, place: LockedPlace) -> None:
        self._place = place

    def list(self) -> Iterator[tuple[str, int]]:
        """Every key with its size, in order."""
        return iter([(key, len(body)) for key, body in sorted(self._place.objects.items())])

    def get(self, key: str) -> bytes:
        """An object."""
        return self._place.objects[key]
