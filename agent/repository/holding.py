"""Object lock for what a backup names. In: a repository's store, the objects that a manifest will name. Out: all that
the backup needs, held for the days that the settings ask for, before the manifest is put.

What this job put is held already. What it reused was held for an earlier backup's sake: each object costs a request, so
that those which the last backup saw to being held long enough are left alone (agent.wire.object_lock says how long that
lasts). The few files that every backup needs are looked at each time. Cut anywhere, an object is held for longer than
it need be, and nothing else.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from agent.plan.holding import Held, Owed
from agent.plan.objects import ObjectIndex
from agent.repository.data_objects import data_objects
from agent.repository.hold_notes import HoldNotes, HoldPlace
from agent.repository.key_slots import read_slots
from agent.repository.keys import NAMES, REPOSITORY, cluster_key, encoded, plan_key, slot_key
from agent.storage.protocol import Storage
from agent.wire.object_lock import ObjectLock

_BATCH = 256
"""Objects that are held side by side, as far as the store has connections."""


@dataclass(frozen=True)
class Lock:
    """Object lock as an opened repository has it. `store`: what identifies the bucket. `clock`: unix seconds."""

    settings: ObjectLock
    notes: HoldNotes
    store: tuple[str, ...]
    clock: Callable[[], float] = time.time


class Holding:
    """One node's objects in one destination under lock."""

    def __init__(self, lock: Lock, storage: Storage, place: HoldPlace, *, encrypted: bool) -> None:
        self._lock = lock
        self._storage = storage
        self._place = place
        self._encrypted = encrypted

    async def hold(self, tag: str, named: ObjectIndex, fresh: Held) -> None:
        """Have everything held that the backup `tag` needs: the objects it names (`fresh` are those that this job put)
        and the repository's own files. Raises NotFound for what is gone, a StorageError."""
        now = self._lock.clock()
        due, until = self._lock.settings.due(now), self._lock.settings.until(now)
        noted = await asyncio.to_thread(self._lock.notes.read, self._place)
        owed = Owed([fresh] if noted is None else [fresh, noted], due)
        async for key in self._roots(tag):
            entry = await self._storage.head(key)
            if entry is not None and (entry.held_until is None or entry.held_until < due):
                await self._storage.hold([key], until)
        if await asyncio.to_thread(owed.any_of, named):
            await self._hold_objects(owed, named, until)
        await asyncio.to_thread(self._lock.notes.write, self._place, named, min(owed.until, until))

    async def _hold_objects(self, owed: Owed, named: ObjectIndex, until: float) -> None:
        batch: list[str] = []
        async for one in data_objects(self._storage, self._place.cluster_id, self._place.host_id):
            if named.get(one.name, one.codec) == one.size and owed.has(one.name, one.codec):
                batch.append(one.key)
            if len(batch) == _BATCH:
                await self._storage.hold(batch, until)
                batch = []
        if batch:
            await self._storage.hold(batch, until)

    async def _roots(self, tag: str) -> AsyncIterator[str]:
        """What every backup needs, and this one's plan."""
        cluster_id = self._place.cluster_id
        for key in (REPOSITORY, cluster_key(cluster_id), plan_key(cluster_id, tag)):
            yield key
        if self._encrypted:
            for slot in (await read_slots(self._storage)).current:  # superseded ones are to go
                yield slot_key(slot.number)
        async for entry in self._storage.list(NAMES):
            if entry.key.endswith(f"/{encoded(cluster_id)}"):
                yield entry.key
