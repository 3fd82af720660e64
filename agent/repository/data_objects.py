"""The data objects of a node in a destination, by a listing. In: a store and whose prefix. Out: what is there."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from agent.plan.objects import ObjectIndex
from agent.repository.frame import Codec
from agent.repository.keys import data_prefix, parse_data
from agent.storage.protocol import Storage


class DataObject(NamedTuple):
    """An object as it was listed: its name and codec, by which it is known, its key, stored bytes and the store's time
    of it in unix seconds. `promised`: the stored bytes that its key promises, None where it promises none."""

    name: bytes
    codec: Codec
    key: str
    size: int
    modified: float
    promised: int | None


async def data_objects(storage: Storage, cluster_id: str, host_id: str) -> AsyncIterator[DataObject]:
    """The node's objects in the order of their keys, without what is not ours. Raises a StorageError."""
    prefix = data_prefix(cluster_id, host_id)
    async for entry in storage.list(prefix):
        name = parse_data(prefix, entry.key)
        if name is not None:
            yield DataObject(bytes.fromhex(name.name), name.codec, entry.key, entry.size, entry.modified, name.size)


async def data_index(storage: Storage, cluster_id: str, host_id: str) -> ObjectIndex:
    """All of them with their sizes. Raises a StorageError."""
    index = ObjectIndex()
    async for one in data_objects(storage, cluster_id, host_id):
        index.add(one.name, one.size, one.codec)
    return index


async def usable_index(storage: Storage, cluster_id: str, host_id: str) -> ObjectIndex:
    """Those that are as large as their keys promise, with their sizes; whether a raw one is, its user knows. Raises a
    StorageError."""
    index = ObjectIndex()
    async for one in data_objects(storage, cluster_id, host_id):
        if one.promised is None or one.promised == one.size:
            index.add(one.name, one.size, one.codec)
    return index
