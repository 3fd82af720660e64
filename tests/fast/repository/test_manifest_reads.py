"""What the reading of a manifest asks a store for: which bytes, in how many requests, through which gate."""

from pathlib import Path

import msgspec
import pytest
import zstandard

from agent.crypto.digest import digest
from agent.crypto.keyring import Keyring
from agent.model.manifest import TableReference
from agent.repository.bounded import MOST_FRAME
from agent.repository.errors import ManifestInvalid
from agent.repository.form import PLAIN, form_of
from agent.repository.frame import Codec
from agent.repository.keys import data_key, manifest_key
from agent.repository.manifest import FORMAT, MAGIC, ManifestWriter, Named, read_manifest, read_manifest_file
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, Entry, Gate, NotFound
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
    reference,
    stored,
    table_object,
)
from tests.fast.repository.test_manifest_limits import TRAILER, with_trailer
from tests.fast.storage.memory import MemoryStorage

KEY = manifest_key(CLUSTER, TAG, HOST)
FIRST_READ = 4 * MIB
"""Bytes from the end that are read at once (docs/repository.md)."""
PACKED = frame(part(file()))
ABOUT = reference(PACKED, part(file()))
LARGE = [part(file(f"nb-{number}-big-Data.db", number)) for number in range(1, 2_000)]
LARGE_FRAME = frame(*LARGE, table="u")
LARGE_ID = digest(LARGE_FRAME)
LARGE_KEY = data_key(CLUSTER, HOST, LARGE_ID)
ELSEWHERE = reference(
    LARGE_FRAME, *LARGE, offset=None, object=LARGE_ID.hex(), length=PLAIN.size(len(LARGE_FRAME)), table="u"
)
RING = Keyring(b"n" * 32, {1: b"1" * 32})


class Watched(MemoryStorage):
    """Notes which bytes are read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[str, int, int | None]] = []

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        self.reads.append((key, start, length))
        return await super().get(key, start, length, gate=gate)


class Counting:
    """A gate that counts."""

    def __init__(self) -> None:
        self.passed = 0

    def pass_bytes(self, count: int) -> None:
        self.passed += count


async def watched(content: bytes) -> Watched:
    """A store with that manifest."""
    store = Watched()
    await store.put(KEY, [content])
    return store


def uncompressed(content: bytes, size: int) -> bytes:
    """A zstd frame of just that many bytes, of blocks as they are: content and blanks."""
    most = 128 * 1024
    blocks = -(-(size - 9) // (most + 3))
    content = content.ljust(size - 9 - 3 * blocks)
    cut = [content[start : start + most] for start in range(0, len(content), most)]
    packed = [(len(one) << 3 | (one is cut[-1])).to_bytes(3, "little") + one for one in cut]
    return bytes([0x28, 0xB5, 0x2F, 0xFD, 0xA0]) + len(content).to_bytes(4, "little") + b"".join(packed)


async def test_what_lies_in_the_first_read_is_not_read_again() -> None:
    """Promise: a manifest costs one request, with its inline frames, as long as they lie in its last 4 MiB, from the
    very first byte of these on; what lies before costs one more."""
    filler = bytes(2 * MIB)
    late = msgspec.structs.replace(ABOUT, offset=len(MAGIC) + len(filler))
    packed = zstandard.ZstdCompressor().compress(msgspec.json.encode(head(late)))
    behind = FIRST_READ - len(PACKED) - len(packed) - TRAILER.size
    for more, reads in ((0, 1), (1, 2)):
        content = with_trailer(MAGIC + filler + PACKED + bytes(behind + more), packed)
        store = await watched(content)
        found = await read_manifest(opened(store), TAG, HOST)
        assert [one async for one in found.parts(late)] == [part(file())]
        before = (KEY, len(MAGIC) + len(filler), len(PACKED))
        assert store.reads == [(KEY, len(content) - FIRST_READ, FIRST_READ), before][:reads]


async def test_a_head_that_fills_the_first_read_is_not_read_again() -> None:
    """Promise: just where the first read begins the head may begin; a byte more, and it is read as a whole."""
    for more, reads in ((0, 1), (1, 2)):
        packed = uncompressed(msgspec.json.encode(head(ABOUT)), FIRST_READ - TRAILER.size + more)
        content = with_trailer(MAGIC + PACKED, packed)
        store = await watched(content)
        found = await read_manifest(opened(store), TAG, HOST)
        assert found.head == head(ABOUT)
        tail = (KEY, len(MAGIC) + len(PACKED), len(packed) + TRAILER.size)
        assert store.reads == [(KEY, len(content) - FIRST_READ, FIRST_READ), tail][:reads]
        assert [one async for one in found.parts(ABOUT)] == [part(file())]


async def test_all_that_is_read_passes_the_gate() -> None:
    """Promise: a command's own limit holds for manifests and for frames that are objects as well."""
    content = manifest(PACKED, head(ABOUT, ELSEWHERE))
    store, gate = await watched(content), Counting()
    await store.put(LARGE_KEY, table_object(LARGE_FRAME).buffers)
    found = await read_manifest(opened(store), TAG, HOST, gate=gate)
    assert gate.passed == len(content)
    assert [one async for one in found.parts(ELSEWHERE)] == LARGE
    assert gate.passed == len(content) + ELSEWHERE.length
    assert store.reads == [(KEY, 0, len(content)), (LARGE_KEY, 0, ELSEWHERE.length)]


class Claiming(Watched):
    """A store that says of a manifest that its head has `length` bytes, and has nothing but its end."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.size = len(MAGIC) + length + TRAILER.size
        said = (b"HELENUST", FORMAT, len(MAGIC), length, bytes(32), bytes(32))
        self.end = bytes(FIRST_READ - TRAILER.size) + TRAILER.pack(*said)

    async def head(self, key: str) -> Entry | None:
        return Entry(key, self.size, 0.0)

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        if start == self.size - FIRST_READ:
            return self.end
        return await super().get(key, start, length, gate=gate)


async def test_a_head_that_fits_no_memory_is_not_read() -> None:
    """Promise: the largest head that may be is asked for, of a larger one no byte."""
    store = Claiming(MOST_FRAME)
    with pytest.raises(NotFound):
        await read_manifest(opened(store), TAG, HOST)
    assert store.reads == [(KEY, len(MAGIC), MOST_FRAME + TRAILER.size)]
    store = Claiming(MOST_FRAME + 1)
    with pytest.raises(ManifestInvalid, match="its parts do not fit"):
        await read_manifest(opened(store), TAG, HOST)
    assert store.reads == []


async def test_a_frame_that_fits_no_memory_is_not_read() -> None:
    """Promise: as for a head; whichever table it is, and where the manifest lies, is told."""
    for length, says, reads in ((MOST_FRAME, "its frame is not there", 1), (MOST_FRAME + 1, "impossibly large", 0)):
        about = msgspec.structs.replace(ELSEWHERE, length=length)
        store = await watched(manifest(b"", head(about)))
        found = await read_manifest(opened(store), TAG, HOST)
        store.reads.clear()
        with pytest.raises(ManifestInvalid, match=says) as told:
            [one async for one in found.parts(about)]
        assert "ks.u" in told.value.message
        assert {"tag": TAG, "host_id": HOST, "key": KEY}.items() <= told.value.fields.items()
        assert store.reads == [(LARGE_KEY, 0, length)] * reads


async def test_a_frame_that_is_missing_or_cut_is_told_with_its_object() -> None:
    """Promise: which object of which table isn't there, or is shorter than the manifest says."""
    store = await watched(manifest(b"", head(ELSEWHERE)))
    whole = b"".join(table_object(LARGE_FRAME).buffers)
    found = await read_manifest(opened(store), TAG, HOST)
    for content, says in ((None, "is not there"), (whole[:-1], "is cut")):
        if content is not None:
            await store.put(LARGE_KEY, [content])
        with pytest.raises(ManifestInvalid) as told:
            [one async for one in found.parts(ELSEWHERE)]
        assert told.value.message.startswith(f"ks.u: its frame {says}: {LARGE_KEY} (")
        assert told.value.fields == {
            "tag": TAG,
            "host_id": HOST,
            "key": KEY,
            "object": LARGE_ID.hex(),
            "keyspace": "ks",
            "table": "u",
        }


@pytest.mark.parametrize("how", ["inline", "object"])
async def test_a_frame_that_could_not_be_read_is_tried_again(how: str) -> None:
    """Promise: it counts as seen only where its objects were told: the next manifest that names it meets the error as
    well, and not an empty table that nothing needs to be kept for."""
    bad = zstandard.ZstdCompressor().compress(b"{}\n")
    about = reference(bad, files=1, bytes=5) if how == "inline" else ELSEWHERE
    found = await stored(manifest(bad, head(about)))
    seen: set[bytes] = set()
    for _ in range(2):
        with pytest.raises(ManifestInvalid):
            [one async for one in found.objects(about, seen)]
        assert seen == set()


async def test_the_objects_of_a_table_are_told_once_with_their_codecs() -> None:
    """Promise: of two backups with the same table the second tells nothing anew, be its frame inline or an object."""
    name = file().pieces[0].object
    coded = msgspec.structs.replace(part(file(), objects={name: 60}), codecs={name: 1})
    for packed, one, expected in (
        (frame(part(file())), part(file()), Named(bytes.fromhex(name), Codec.RAW, PLAIN.size(5))),
        (frame(coded), coded, Named(bytes.fromhex(name), Codec.ZSTD, 60)),
    ):
        about = reference(packed, one)
        found = await stored(manifest(packed, head(about)))
        seen: set[bytes] = set()
        assert [named async for named in found.objects(about, seen)] == [expected]
        assert seen == {digest(packed)}
        assert [named async for named in found.objects(about, seen)] == []


def sealed(store: MemoryStorage) -> OpenedRepository:
    """The store as an encrypted repository."""
    return OpenedRepository("d1", store, "r1", CLUSTER, OPEN, 4, RING)


def sealed_manifest(key: str, table: str, **changed: object) -> tuple[bytes, TableReference]:
    """A manifest that was sealed under a key, with the frame of one table; and the table's reference."""
    writer = ManifestWriter(form_of(RING, CLUSTER), key)
    offset, length = writer.inline(PACKED, "ks", table)
    about = msgspec.structs.replace(ABOUT, offset=offset, length=length)
    return b"".join(writer.close(head(about))), about


async def test_what_was_sealed_for_another_place_is_told_with_the_table() -> None:
    """Promise: whoever moves a sealed frame or head to another table's or manifest's place, digests made anew, is
    told of by what was moved; in its own place it is read."""
    content, about = sealed_manifest(KEY, "t")
    found = await read_manifest(sealed(await watched(content)), TAG, HOST)
    assert [one async for one in found.parts(about)] == [part(file())]
    content, about = sealed_manifest(KEY, "u")
    found = await read_manifest(sealed(await watched(content)), TAG, HOST)
    with pytest.raises(ManifestInvalid) as told:
        [one async for one in found.parts(about)]
    assert told.value.message.startswith("ks.t: an object is not what its name promises")
    assert told.value.fields == {"tag": TAG, "host_id": HOST, "key": KEY, "keyspace": "ks", "table": "t"}
    content, about = sealed_manifest(manifest_key(CLUSTER, "t2", HOST), "t")
    with pytest.raises(ManifestInvalid) as told:
        await read_manifest(sealed(await watched(content)), TAG, HOST)
    assert told.value.message.startswith("the head of the manifest can't be trusted: an object is not what its name")
    assert told.value.fields == {"tag": TAG, "host_id": HOST, "key": KEY}


async def test_a_head_is_stored_with_zstds_own_check(tmp_path: Path) -> None:
    """Promise: who unpacks a head with other tools is told of damage too; a manifest of no table is one."""
    content = manifest(b"", head())
    *_, offset, length, _, _ = TRAILER.unpack(content[-TRAILER.size :])
    packed = content[offset : offset + length]
    assert zstandard.get_frame_parameters(packed).has_checksum
    assert msgspec.json.decode(zstandard.ZstdDecompressor().decompress(packed))["tag"] == TAG
    path = tmp_path / "m"
    path.write_bytes(content)
    assert (await read_manifest_file(path, TAG, HOST)).head == (await stored(content)).head == head()
