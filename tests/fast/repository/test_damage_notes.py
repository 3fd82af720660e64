"""Notes of damaged objects: put once, told, forgotten, and what is noted counts as missing."""

import msgspec

from agent.plan.objects import ObjectIndex
from agent.repository.damage_notes import DamagedObject, DamageNotes, without_damaged
from agent.repository.data_objects import DataObject, data_index, data_objects, usable_index
from agent.repository.frame import Codec
from agent.repository.keys import data_key, node_prefix
from tests.fast.repository.manifests import CLUSTER, HOST, opened
from tests.fast.storage.memory import MemoryStorage

A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
PREFIX = f"{node_prefix(CLUSTER, HOST)}damaged/"


def damaged(name: bytes, codec: Codec = Codec.RAW, size: int = 0) -> DamagedObject:
    """An object as a scrub knows it."""
    return DamagedObject(name, codec, data_key(CLUSTER, HOST, name, codec, size), size or None)


async def test_a_note_is_what_the_object_s_key_says() -> None:
    """Promise: beside the objects, under the object's own name, with its key and a few words; told as it was put; what
    isn't ours is passed over; forgotten once it is healed, and not noted at all is fine."""
    store = MemoryStorage()
    notes = DamageNotes(opened(store), HOST)
    raw, coded = damaged(A), damaged(B, Codec.ZSTD, 77)
    await notes.put(raw, "its footer")
    await notes.put(coded, "missing")
    assert sorted(store._objects) == [f"{PREFIX}61/{A.hex()}.raw", f"{PREFIX}62/{B.hex()}.zstd-77"]
    assert msgspec.json.decode(store._objects[f"{PREFIX}61/{A.hex()}.raw"][0]) == {
        "object": raw.key,
        "reason": "its footer",
    }
    await store.put(f"{PREFIX}odd", [b""])
    assert await notes.standing() == [raw, coded]
    assert notes.object_of(coded.key) == coded
    assert notes.object_of(f"{PREFIX}61/{A.hex()}.raw") is None
    await notes.clear([])
    await notes.clear([raw, damaged(C)])
    assert await notes.standing() == [coded]


async def test_what_is_noted_counts_as_missing() -> None:
    """Promise: a raw object by its name, a coded one only with the size that the note has: another size is another
    object."""
    store = MemoryStorage()
    notes = DamageNotes(opened(store), HOST)
    index = ObjectIndex()
    for name, size, codec in ((A, 5, 0), (A, 6, 1), (B, 77, 1), (C, 88, 1)):
        index.add(name, size, codec)
    standing = [damaged(A), damaged(B, Codec.ZSTD, 77), damaged(C, Codec.ZSTD, 89)]
    for one in standing:
        await notes.put(one, "damaged")
    assert await without_damaged(index, notes) == standing
    left = [(codec, size) for _, codec, size in index.missing_from(ObjectIndex())]
    assert left == [(1, 6), (1, 88)]


async def test_a_listing_tells_each_object() -> None:
    """Promise: name, codec, key, size, time and what the key promises, without what isn't ours; usable are those that
    are as large as they promise."""
    store = MemoryStorage(clock=lambda: 7.0)
    raw, whole, cut = damaged(A).key, damaged(B, Codec.ZSTD, 3).key, damaged(C, Codec.ZSTD, 9).key
    for key in (raw, whole, cut, f"{raw}.bak"):
        await store.put(key, [b"abc"])
    assert [one async for one in data_objects(store, CLUSTER, HOST)] == [
        DataObject(A, Codec.RAW, raw, 3, 7.0, None),
        DataObject(B, Codec.ZSTD, whole, 3, 7.0, 3),
        DataObject(C, Codec.ZSTD, cut, 3, 7.0, 9),
    ]
    everything = await data_index(store, CLUSTER, HOST)
    assert list(everything.missing_from(ObjectIndex())) == [(A[:16], 0, 3), (B[:16], 1, 3), (C[:16], 1, 3)]
    usable = await usable_index(store, CLUSTER, HOST)
    assert list(usable.missing_from(ObjectIndex())) == [(A[:16], 0, 3), (B[:16], 1, 3)]
