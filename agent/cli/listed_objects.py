"""What a listing found, kept small. In: listed objects. Out: whether an object of a manifest is there, and its size.

An index of 24 bytes an object holds all but those whose key it can't tell: cut ones, and further ones of one content
and codec (another level of zstd gives another size, and so another key). Those are kept by their keys.
"""

from agent.plan.objects import ObjectIndex
from agent.repository.data_objects import DataObject
from agent.repository.frame import Codec
from agent.repository.manifest import Named


class ListedObjects:
    """The data objects of one node."""

    def __init__(self) -> None:
        self._index = ObjectIndex()
        self._others: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._index) + len(self._others)

    def add(self, one: DataObject) -> None:
        """An object, once each."""
        if one.promised not in (None, one.size) or self._index.get(one.name, one.codec) is not None:
            self._others[one.key] = one.size
        else:
            self._index.add(one.name, one.size, one.codec)

    def size(self, key: str, wanted: Named) -> int | None:
        """The stored bytes at `key`, where a manifest has the object `wanted`; None: nothing is there."""
        other = self._others.get(key)
        if other is not None:
            return other
        size = self._index.get(wanted.name, wanted.codec)
        return size if wanted.codec is Codec.RAW or size == wanted.size else None
