"""What a check keeps of a listing."""

import tracemalloc

from agent.cli.listed_objects import ListedObjects
from agent.crypto.digest import digest
from agent.repository.data_objects import DataObject
from agent.repository.frame import Codec
from agent.repository.keys import data_key
from agent.repository.manifest import Named

NAME = digest(b"one")


def listed(*objects: tuple[Codec, int, int]) -> ListedObjects:
    """Of one content: codec, the size in its key, the size that is there."""
    found = ListedObjects()
    for codec, promised, size in objects:
        key = data_key("c", "h", NAME, codec, promised)
        found.add(DataObject(NAME, codec, key, size, 0.0, None if codec is Codec.RAW else promised))
    return found


def size(found: ListedObjects, codec: Codec, wanted: int) -> int | None:
    """What stands where a manifest has that object."""
    return found.size(data_key("c", "h", NAME, codec, wanted), Named(NAME, codec, wanted))


def test_each_of_several_forms_of_one_content_is_known() -> None:
    """Promise: a content that is there raw and at two levels of compression is three objects, and a fourth is missing,
    whatever of them is cut."""
    found = listed((Codec.RAW, 0, 500), (Codec.ZSTD, 300, 300), (Codec.ZSTD, 310, 310), (Codec.ZSTD, 320, 7))
    assert [size(found, Codec.ZSTD, one) for one in (300, 310, 320, 330)] == [300, 310, 7, None]
    assert size(found, Codec.RAW, 500) == 500
    assert size(found, Codec.RAW, 501) == 500
    assert len(found) == 4


def test_the_cut_one_may_come_first() -> None:
    """Promise: the order of the listing is no matter."""
    found = listed((Codec.ZSTD, 320, 7), (Codec.ZSTD, 300, 300))
    assert [size(found, Codec.ZSTD, one) for one in (300, 320, 310)] == [300, 7, None]
    assert size(found, Codec.RAW, 300) is None


def test_a_million_objects_fit() -> None:
    """Promise: an object costs 24 bytes and what lists grow ahead: a million stay below 40 MiB."""
    count = 50_000
    tracemalloc.start()
    try:
        found = ListedObjects()
        for number in range(count):
            name = digest(number.to_bytes(4, "big"))
            found.add(DataObject(name, Codec.RAW, data_key("c", "h", name), number, 0.0, None))
        current, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert current / count < 40
