"""The data objects of a node in a destination, by a listing. In: a store and whose prefix. Out: what is there."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from agent.plan.objects import ObjectIndex
from agent.repository.frame import Codec
from agent.repository.keys import data_prefix, parse_data
from agent.storage.protocol import Storage


class DataObject(NamedTuple):
    """An object as it was listed: its id and codec, by which it is known, its key, stored bytes and the store's time of
    it in unix seconds."""

    id: bytes
    codec: Codec
    key: str
    size: int
    modified: float


async def data_objects(storage: Storage, cluster_id: str, host_id: str) -> AsyncIterator[DataObject]:
    """The node's objects in the order of their keys, without what is not ours. Raises a StorageError."""
    prefix = data_prefix(cluster_id, host_id)
    async for entry in storage.list(prefix):
        name = parse_data(prefix, entry.key)
        if name is not None:
            yield DataObject(bytes.fromhex(name.digest), name.codec, entry.key, entry.size, entry.modified)


async def data_index(storage: Storage, cluster_id: str, host_id: str) -> ObjectIndex:
    """All of them with their sizes. Raises a StorageError."""
    index = ObjectIndex()
    async for one in data_objects(storage, cluster_id, host_id):
        index.add(one.id, one.size, one.codec)
    return index
