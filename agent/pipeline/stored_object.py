"""One object of a manifest, read whole. In: where it is and how the manifest names it. Out: its verified bytes."""

from typing import NamedTuple

from agent.repository.errors import ObjectDamaged
from agent.repository.form import Decoded
from agent.repository.frame import Codec, ObjectType
from agent.repository.keys import data_key
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import Gate, Truncated
from agent.storage.threads import Workers

READ_TRIES = 2
"""Bytes can also be damaged on the way: a second look tells."""


class StoredObject(NamedTuple):
    """An object as a manifest names it: its id, its codec and its stored size in bytes."""

    id: bytes
    codec: Codec
    size: int


def key_of(opened: OpenedRepository, host_id: str, one: StoredObject) -> str:
    """The object's key in a node's prefix."""
    return data_key(opened.cluster_id, host_id, opened.form.name(one.id), one.codec, one.size)


async def read_object(
    opened: OpenedRepository, host_id: str, one: StoredObject, gate: Gate, workers: Workers
) -> Decoded:
    """As many bytes of it as the manifest names, whatever stands there, verified. Raises NotFound, ObjectDamaged,
    RepositoryFormatNewer, SealingKeyUnknown, another StorageError."""
    key = key_of(opened, host_id, one)
    try:
        stored = await opened.storage.get(key, 0, one.size, gate=gate)
    except Truncated as error:
        if "size" not in error.fields:
            raise  # the answer was cut, not the object
        left = error.fields["size"]
        there = "" if left is None else f", {left} bytes are there"
        raise ObjectDamaged(f"an object is cut{there}: {key}", key=key) from error
    return await workers.run(lambda _: opened.form.decode(stored, key, one.id, ObjectType.DATA))
