"""Manifests: what was written is read back; what is damaged or hostile is refused before it does anything."""

import asyncio
import threading
from typing import Any

import msgspec
import pytest
import zstandard

from agent.crypto.digest import digest
from agent.model.manifest import FileEntry, Piece, TablePart, TableReference
from agent.repository.errors import BackupNotFound, ManifestInvalid, ObjectDamaged, RepositoryFormatNewer
from agent.repository.form import PLAIN, Decoded, Form
from agent.repository.keys import data_key, manifest_key
from agent.repository.manifest import read_manifest
from agent.repository.manifest_frame import INLINE_LIMIT
from tests.fast.repository.manifests import (
    CLUSTER,
    HOST,
    MIB,
    TAG,
    file,
    frame,
    head,
    manifest,
    opened,
    part,
    read_whole,
    reference,
    stored,
    table_object,
)
from tests.fast.storage.memory import MemoryStorage


async def test_a_manifest_comes_back() -> None:
    """Promise: every table, SSTable by SSTable, and the snapshot's own files beside them."""
    parts = [part(file(), file("nb-1-big-TOC.txt")), part(file("nb-2-big-Data.db", 0))]
    own = file("schema.cql")
    packed = frame(*parts)
    about = reference(packed, *parts, own=(own,), files=4, bytes=15)
    objects = {piece.object: PLAIN.size(piece.length) for piece in own.pieces}
    content = manifest(packed, head(about, own_objects=objects))
    assert await read_whole(content) == parts
    found = await stored(content)
    assert [one for entry in found.head.tables for one in entry.own] == [own]
    assert found.head.own_objects == objects
    assert found.head.tables == (about,)


async def test_a_large_frame_is_an_object_of_its_own() -> None:
    """Promise: an unchanged table costs a reference; its frame is verified by its name."""
    parts = [part(file(f"nb-{number}-big-Data.db", number)) for number in range(1, 2_000)]
    packed = frame(*parts)
    assert len(packed) > INLINE_LIMIT
    name = digest(packed).hex()
    about = reference(packed, *parts, offset=None, object=name, length=PLAIN.size(len(packed)))
    store = MemoryStorage()
    await store.put(data_key(CLUSTER, HOST, bytes.fromhex(name)), table_object(packed).buffers)
    await store.put(manifest_key(CLUSTER, TAG, HOST), [manifest(b"", head(about))])
    found = await read_manifest(opened(store), TAG, HOST)
    assert [one async for one in found.parts(about)] == parts
    seen: set[bytes] = set()
    assert len([one async for one in found.objects(about, seen)]) == 1_999
    assert [one async for one in found.objects(about, seen)] == []
    seen.clear()
    beside = found.objects(about, seen)
    first = await anext(beside)
    assert [one async for one in found.objects(about, seen)] == [], "another reader is on it"
    assert len([first] + [one async for one in beside]) == 1_999


@pytest.mark.parametrize("how", ["parts", "objects"])
async def test_a_large_table_leaves_others_their_turn(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: an agent that reads a table of many SSTables answers meanwhile; what takes long is done in a thread."""
    parts = [part(file(f"nb-{number}-big-Data.db", number)) for number in range(1, 2_000)]
    packed = frame(*parts)
    name = digest(packed).hex()
    about = reference(packed, *parts, offset=None, object=name, length=PLAIN.size(len(packed)))
    store = MemoryStorage()
    await store.put(data_key(CLUSTER, HOST, bytes.fromhex(name)), table_object(packed).buffers)
    await store.put(manifest_key(CLUSTER, TAG, HOST), [manifest(b"", head(about))])
    threads = []

    decode = Form.decode

    def decoded(*arguments: Any) -> Decoded:
        threads.append(threading.get_ident())
        return decode(*arguments)

    monkeypatch.setattr(Form, "decode", decoded)
    found = await read_manifest(opened(store), TAG, HOST)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    together: dict[int, int] = {}
    async for _ in found.parts(about) if how == "parts" else found.objects(about, set()):
        together[turns] = together.get(turns, 0) + 1
    beside.cancel()
    assert list(together.values()) == [32] * 62 + [15], "a turn costs, too"
    assert threads
    assert threading.get_ident() not in threads


async def test_a_damaged_frame_is_named_by_its_table() -> None:
    """Promise: a person reads which table, what is wrong, and last the object's whole key, which can be removed."""
    parts = [part(file(f"nb-{number}-big-Data.db", number)) for number in range(1, 2_000)]
    packed = frame(*parts)
    name = digest(packed).hex()
    key = data_key(CLUSTER, HOST, bytes.fromhex(name))
    about = reference(packed, *parts, offset=None, object=name, length=PLAIN.size(len(packed)))
    store = MemoryStorage()
    whole = b"".join(table_object(packed).buffers)
    await store.put(key, [whole[:-1] + bytes([whole[-1] ^ 1])])
    await store.put(manifest_key(CLUSTER, TAG, HOST), [manifest(b"", head(about))])
    found = await read_manifest(opened(store), TAG, HOST)
    with pytest.raises(ObjectDamaged) as damaged:
        [one async for one in found.parts(about)]
    where = f"{about.keyspace}.{about.table}"
    assert damaged.value.message == f"{where}: an object is damaged, its footer does not match its bytes: {key}"
    await store.delete([key])
    with pytest.raises(ManifestInvalid) as missing:
        [one async for one in found.parts(about)]
    assert missing.value.message.startswith(f"{where}: its frame")


async def test_no_manifest_is_no_backup() -> None:
    """Promise: a missing backup has its own error."""
    with pytest.raises(BackupNotFound):
        await read_manifest(opened(MemoryStorage()), TAG, HOST)


async def test_any_flipped_or_missing_byte_is_found() -> None:
    """Promise: a damaged manifest is refused, wherever the damage is; what is wrong stands before the backup, the node
    and the long key."""
    key = manifest_key(CLUSTER, TAG, HOST)
    packed = frame(part(file()))
    content = manifest(packed, head(reference(packed, part(file()))))
    for place in range(0, len(content), 3):
        changed = bytearray(content)
        changed[place] ^= 0x10
        with pytest.raises((ManifestInvalid, RepositoryFormatNewer)) as caught:
            await read_whole(bytes(changed))
        assert caught.value.message.endswith(f" (backup {TAG}, node {HOST}): {key}")
        assert {"key": key, "tag": TAG, "host_id": HOST}.items() <= caught.value.fields.items()
        with pytest.raises(ManifestInvalid):
            await read_whole(content[:place])


async def test_a_manifest_of_other_names_is_refused() -> None:
    """Promise: a manifest that was moved to another tag, cluster or node is not believed."""
    packed = frame(part(file()))
    about = head(reference(packed, part(file())))
    node = msgspec.structs.replace(about.node, host_id="9" * 8 + HOST[8:])
    for changed in ({"tag": "t2"}, {"cluster_id": "c2"}, {"node": node}):
        with pytest.raises(ManifestInvalid):
            await read_whole(manifest(packed, msgspec.structs.replace(about, **changed)))


HOSTILE: list[dict[str, Any]] = [
    {"name": "../../etc/cron.d/x"},
    {"name": "/etc/passwd"},
    {"name": ".hidden"},
    {"name": "a/b"},
    {"name": ".idx/../nb-1-big-Data.db"},
    {"name": "nb-1-big-Data.db\0"},
    {"name": "x" * 256},
    {"name": ""},
    {"size": -1},
    {"size": 1 << 60},
    {"size": 6},
    {"volume": 1},
    {"volume": -1},
    {"digest": "x"},
    {"piece_size": 1},
    {"pieces": ()},
    {"pieces": (Piece("0" * 64, 0, 5),)},
    {"pieces": (Piece(digest(b"nb-1-big-Data.db").hex(), -1, 5),)},
    {"pieces": (Piece(digest(b"nb-1-big-Data.db").hex(), 1, 5),)},
    {"pieces": (Piece(digest(b"nb-1-big-Data.db").hex(), 0, 3), Piece(digest(b"nb-1-big-Data.db").hex(), 0, 2))},
]


@pytest.mark.parametrize("changed", HOSTILE)
async def test_hostile_files_are_refused(changed: dict[str, Any]) -> None:
    """Promise: no name, size or offset of a manifest is used before it was judged."""
    honest = part(file())
    bad = TablePart((msgspec.structs.replace(honest.files[0], **changed),), honest.objects)
    packed = frame(bad)
    with pytest.raises(ManifestInvalid):
        await read_whole(manifest(packed, head(reference(packed, bad))))


@pytest.mark.parametrize(
    "changed",
    [
        {"keyspace": "../x"},
        {"table": ""},
        {"table": "other"},
        {"table_id": "x"},
        {"files": 2},
        {"files": -1},
        {"bytes": 6},
        {"offset": 1 << 40},
        {"offset": -1},
        {"offset": None},
        {"length": 1 << 40},
        {"object": "x"},
        {"offset": None, "object": "0" * 64},
    ],
)
async def test_hostile_references_are_refused(changed: dict[str, Any]) -> None:
    """Promise: a frame lies inside its manifest, is the named table's, and holds what the head says."""
    packed = frame(part(file()))
    with pytest.raises(ManifestInvalid):
        await read_whole(manifest(packed, head(reference(packed, part(file()), **changed))))


@pytest.mark.parametrize("size", [65 * MIB, 1 << 40])
async def test_an_object_larger_than_any_of_ours_is_refused(size: int) -> None:
    """Promise: no manifest makes an agent read an object into its memory that no agent wrote."""
    one = file(size=size, piece_size=size)
    packed = frame(part(one))
    with pytest.raises(ManifestInvalid, match="larger than any"):
        await read_whole(manifest(packed, head(reference(packed, part(one)))))


async def test_a_tables_frame_that_fits_no_memory_is_refused_before_it_is_read() -> None:
    """Promise: as for objects."""
    packed = frame(part(file()))
    large = reference(packed, part(file()), offset=None, object="0" * 64, length=1 << 30)
    with pytest.raises(ManifestInvalid, match="impossibly large"):
        await read_whole(manifest(packed, head(large)))


async def test_files_and_tables_named_twice_are_refused() -> None:
    """Promise: no file of a manifest can hide another one."""
    twice = part(file(), file())
    packed = frame(twice)
    with pytest.raises(ManifestInvalid, match="twice"):
        await read_whole(manifest(packed, head(reference(packed, twice))))
    packed = frame(part(file()))
    about = reference(packed, part(file()))
    with pytest.raises(ManifestInvalid, match="twice"):
        await read_whole(manifest(packed, head(about, about)))


async def test_a_bomb_is_not_unpacked() -> None:
    """Promise: a small frame can't fill the memory: unpacking stops at what its files could need."""
    bomb = zstandard.ZstdCompressor(level=3).compress(bytes(500 * MIB))
    with pytest.raises(ManifestInvalid, match="far more"):
        await read_whole(manifest(bomb, head(reference(bomb, part(file())))))


def test_equal_tables_give_equal_frames() -> None:
    """Promise: an unchanged table's frame is the same object again."""
    parts: list[TablePart] = [part(file(f"nb-{number}-big-Data.db")) for number in range(50)]
    assert frame(*parts) == frame(*parts)
    assert isinstance(reference(b"", *parts), TableReference)
    assert isinstance(file(), FileEntry)
