"""Which objects of a node are known to be damaged or missing: in, what a scrub found; out, what a backup puts anew.

    …/nodes/<host id>/damaged/<aa>/<name>.<suffix>     JSON: object, reason; put by the scrub, removed once healed

They stand in the destination, beside the objects, so that they outlive the agent's state. Only this node's agent puts
and removes them, and a note too many does no harm: the object is put once more with the bytes that its name is the
digest of. So one is removed only after the object was put anew or read and found right, or when nobody needs it and it
is gone.
"""

from collections.abc import Iterable

import msgspec

from agent.plan.objects import ObjectIndex
from agent.repository.frame import Codec
from agent.repository.keys import data_prefix, node_prefix, parse_data
from agent.repository.opened import OpenedRepository


class DamagedObject(msgspec.Struct, frozen=True):
    """An object by its key, and what that says: its name (32 bytes), its codec, and the stored bytes of a coded one."""

    name: bytes
    codec: Codec
    key: str
    promised: int | None = None


class DamageNotes:
    """The notes of one node in one destination."""

    def __init__(self, opened: OpenedRepository, host_id: str) -> None:
        self._storage = opened.storage
        self._objects = data_prefix(opened.cluster_id, host_id)
        self._prefix = f"{node_prefix(opened.cluster_id, host_id)}damaged/"

    async def standing(self) -> list[DamagedObject]:
        """What is noted. Raises a StorageError."""
        found = []
        async for entry in self._storage.list(self._prefix):
            one = self.object_of(self._objects + entry.key.removeprefix(self._prefix))
            if one is not None:
                found.append(one)
        return found

    async def put(self, damaged: DamagedObject, reason: str) -> None:
        """Note an object, once; durable when it returns. `reason`: a few words for who looks. Raises a StorageError."""
        body = msgspec.json.encode({"object": damaged.key, "reason": reason})
        await self._storage.put(self._key(damaged), [body])

    async def clear(self, healed: Iterable[DamagedObject]) -> None:
        """Forget objects; those that aren't noted are fine. Raises a StorageError."""
        keys = [self._key(one) for one in healed]
        if keys:
            await self._storage.delete(keys)

    def object_of(self, key: str) -> DamagedObject | None:
        """The object of that key; None for what is not ours."""
        name = parse_data(self._objects, key)
        return None if name is None else DamagedObject(bytes.fromhex(name.name), name.codec, key, name.size)

    def _key(self, damaged: DamagedObject) -> str:
        return self._prefix + damaged.key.removeprefix(self._objects)


async def without_damaged(index: ObjectIndex, notes: DamageNotes) -> list[DamagedObject]:
    """Take what is noted out of a listing's index, so that it counts as missing; what was noted. Content that is there
    coded with another size too stays: that is another object."""
    standing = await notes.standing()
    for one in standing:
        if one.promised in (None, index.get(one.name, one.codec)):
            index.discard(one.name, one.codec)
    return standing
