"""What a manifest's own form may say: its trailer, its head and its frames, and the words for each that is wrong."""

import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from agent.crypto.digest import digest
from agent.model.manifest import TablePart, TableReference
from agent.repository.bounded import MOST_FRAME
from agent.repository.errors import BackupNotFound, ManifestInvalid, RepositoryFormatNewer
from agent.repository.form import PLAIN
from agent.repository.frame import Codec
from agent.repository.keys import manifest_key
from agent.repository.manifest import FORMAT, MAGIC, ManifestWriter, Named, read_manifest, read_manifest_file
from agent.repository.manifest_frame import INLINE_LIMIT, FrameHeader, FrameWriter, read_parts
from kit.errors import HelenusError
from tests.fast.repository.manifests import (
    CLUSTER,
    HOST,
    MIB,
    TABLE_ID,
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
)
from tests.fast.storage.memory import MemoryStorage

TRAILER = struct.Struct(">8sIQQ32s32s")
PACKED = frame(part(file()))
ABOUT = reference(PACKED, part(file()))
WHOLE = manifest(PACKED, head(ABOUT))


def with_trailer(before: bytes, tail: bytes, **changed: Any) -> bytes:
    """A manifest of frames and a tail whose trailer says something else; its digests are right."""
    said = {"magic": b"HELENUST", "format": FORMAT, "offset": len(before), "length": len(tail), "digest": digest(tail)}
    content = before + tail + TRAILER.pack(*(said | changed).values(), b"")[:-32]
    return content + digest(content)


def with_head(packed: bytes) -> bytes:
    """A manifest whose tail is these bytes."""
    return with_trailer(MAGIC + PACKED, packed)


TAIL = zstandard.ZstdCompressor().compress(msgspec.json.encode(head(ABOUT)))


async def error_of(content: bytes) -> HelenusError:
    """What a reader says."""
    with pytest.raises((ManifestInvalid, RepositoryFormatNewer)) as told:
        await read_whole(content)
    return told.value


async def test_the_manifests_of_these_tests_are_read() -> None:
    """Promise: it is what they change that is refused."""
    assert await read_whole(with_head(TAIL)) == [part(file())]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (WHOLE[: len(MAGIC) + TRAILER.size - 1], "the manifest is cut, 99 bytes are there"),
        (WHOLE[: len(MAGIC) + TRAILER.size], "the manifest does not end as one of ours"),
        (with_trailer(MAGIC + PACKED, TAIL, magic=b"HELENUSX"), "the manifest does not end as one of ours"),
        (with_trailer(MAGIC + PACKED, TAIL, format=FORMAT + 1), "the manifest has format 3, up to 2 is known"),
        (with_trailer(MAGIC + PACKED, TAIL, offset=7), "the manifest is cut or damaged: its parts do not fit"),
        (with_trailer(MAGIC + PACKED, TAIL, length=len(TAIL) + 1), "the manifest is cut or damaged: its parts do not"),
        (with_trailer(MAGIC + PACKED, TAIL, length=len(TAIL) - 1), "the manifest is cut or damaged: its parts do not"),
        (with_trailer(MAGIC[1:], TAIL, offset=7), "the manifest is cut or damaged: its parts do not fit"),
        (with_trailer(b"HELENUSX" + PACKED, TAIL), "the manifest is damaged"),
        (WHOLE[:-1] + bytes([WHOLE[-1] ^ 1]), "the manifest is damaged"),
        (with_trailer(MAGIC + PACKED, TAIL, digest=digest(b"")), "the head of the manifest is damaged"),
        (with_head(b"no zstd"), "the head of the manifest "),
        (with_head(TAIL + b"more"), "the head of the manifest can't be read: "),
        (with_head(zstandard.ZstdCompressor().compress(b"no json")), "the head of the manifest can't be read: "),
        (with_head(zstandard.ZstdCompressor().compress(b"")), "the head of the manifest can't be read: "),
        (
            with_head(zstandard.ZstdCompressor(write_content_size=False).compress(msgspec.json.encode(head(ABOUT)))),
            "the head of the manifest has an impossible size",
        ),
    ],
)
async def test_each_damage_of_a_manifest_has_its_words(content: bytes, says: str) -> None:
    """Promise: a reader knows what is wrong with it, whose it is and where it lies."""
    told = await error_of(content)
    assert told.message.startswith(says)
    assert told.fields == {"tag": TAG, "host_id": HOST, "key": manifest_key(CLUSTER, TAG, HOST)}


async def test_a_head_that_fits_no_memory_is_refused_before_it_is_unpacked() -> None:
    """Promise: a frame that says it holds more than any head does is not believed, just so much is read."""
    for size, says in ((MOST_FRAME, "the head of the manifest can't be read"), (MOST_FRAME + 1, "an impossible size")):
        packed = bytes([0x28, 0xB5, 0x2F, 0xFD, 0xA0]) + size.to_bytes(4, "little") + TAIL[-9:]
        assert says in (await error_of(with_head(packed))).message


async def test_no_backup_is_told_with_its_names(tmp_path: Path) -> None:
    """Promise: which backup of which node is not there, in a destination and on the server."""
    with pytest.raises(BackupNotFound, match=f"the backup {TAG} has no manifest of the node {HOST}") as told:
        await read_manifest(opened(MemoryStorage()), TAG, HOST)
    assert told.value.fields == {"tag": TAG, "host_id": HOST}
    with pytest.raises(BackupNotFound, match=f"there is no on-server backup {TAG}") as told:
        await read_manifest_file(tmp_path / "none", TAG, HOST)
    assert told.value.fields == {"tag": TAG, "host_id": HOST}


async def test_an_on_server_manifest_is_told_with_its_path(tmp_path: Path) -> None:
    """Promise: a person knows which file is damaged; a frame in an object of its own has no place there."""
    path = tmp_path / "m"
    path.write_bytes(WHOLE)
    found = await read_manifest_file(path, TAG, HOST)
    assert [one async for one in found.parts(found.head.tables[0])] == [part(file())]
    path.write_bytes(WHOLE[:-1])
    with pytest.raises(ManifestInvalid) as told:
        await read_manifest_file(path, TAG, HOST)
    assert told.value.fields == {"tag": TAG, "host_id": HOST, "key": str(path)}
    elsewhere = reference(PACKED, part(file()), offset=None, object="0" * 64, length=99)
    path.write_bytes(manifest(b"", head(elsewhere)))
    found = await read_manifest_file(path, TAG, HOST)
    with pytest.raises(ManifestInvalid, match="an on-server manifest has no objects") as told:
        [one async for one in found.parts(elsewhere)]
    assert told.value.fields["object"] == "0" * 64


async def test_files_that_stay_on_the_server_need_no_digest(tmp_path: Path) -> None:
    """Promise: their bytes are in the snapshot; in a destination such a file is refused."""
    bare = part(file(digest="", pieces=(), piece_size=0))
    packed = frame(bare)
    content = manifest(packed, head(reference(packed, bare)))
    path = tmp_path / "m"
    path.write_bytes(content)
    found = await read_manifest_file(path, TAG, HOST)
    assert [one async for one in found.parts(found.head.tables[0])] == [bare]
    with pytest.raises(ManifestInvalid, match="digest or piece size"):
        await read_whole(content)


async def test_a_manifest_larger_than_one_read_is_read_in_parts() -> None:
    """Promise: wherever its head begins, before or in what is read first, all tables come back."""
    noise = b"".join(digest(number.to_bytes(4, "big")) for number in range(5 * MIB // 32))
    for filler in (noise[: 4 * MIB - 3_000], noise):
        about = [ABOUT, msgspec.structs.replace(ABOUT, table="u", offset=len(MAGIC) + len(PACKED) + len(filler))]
        other = frame(part(file()), table="u")
        about[1] = msgspec.structs.replace(about[1], length=len(other))
        packed = zstandard.ZstdCompressor().compress(msgspec.json.encode(head(*about)))
        content = with_trailer(MAGIC + PACKED + filler + other, packed)
        assert await read_whole(content) == [part(file()), part(file())]
        long = zstandard.ZstdCompressor().compress(msgspec.json.encode(head(*about, command=noise.hex())))
        assert len(long) > 4 * MIB
        assert await read_whole(with_trailer(MAGIC + PACKED + filler + other, long)) == [part(file()), part(file())]


async def test_the_objects_of_a_head_are_told_with_their_codecs() -> None:
    """Promise: own files' objects and large frames, by the names and sizes that they are stored with."""
    own, elsewhere = digest(b"own").hex(), digest(b"frame").hex()
    about = reference(b"", offset=None, object=elsewhere, length=99, files=0, bytes=0)
    found = await stored(manifest(b"", head(about, own_objects={own: 60, "0" * 64: 61}, own_codecs={own: 1})))
    assert list(found.head_objects()) == [
        Named(bytes.fromhex(own), Codec.ZSTD, 60),
        Named(bytes(32), Codec.RAW, 61),
        Named(bytes.fromhex(elsewhere), Codec.RAW, 99),
    ]


def test_a_frame_is_inline_below_its_limit() -> None:
    """Promise: 64 KiB are an object of their own, a byte less stands in the manifest."""
    assert ManifestWriter.is_inline(bytes(INLINE_LIMIT - 1))
    assert not ManifestWriter.is_inline(bytes(INLINE_LIMIT))
    writer = ManifestWriter(PLAIN)
    assert writer.inline(b"one", "ks", "t") == (8, 3)
    assert writer.inline(b"other", "ks", "u") == (11, 5)


def lines_of(*lines: bytes) -> bytes:
    """A frame of these lines."""
    return zstandard.ZstdCompressor().compress(b"".join(lines))


HEADER = b'{"keyspace":"ks","table":"t","table_id":"' + TABLE_ID.encode() + b'"}\n'
LINE = msgspec.json.encode(part(file()))


def read(packed: bytes, about: TableReference = ABOUT) -> int:
    """How many parts a frame has."""
    return len(list(read_parts(packed, about, 1)))


@pytest.mark.parametrize(
    ("packed", "says"),
    [
        (lines_of(HEADER, LINE), "it is cut"),
        (lines_of(HEADER.replace(b'"t"', b'"u"'), LINE, b"\n"), "it is another table's"),
        (lines_of(HEADER.replace(b'"ks"', b'"kt"'), LINE, b"\n"), "it is another table's"),
        (lines_of(HEADER.replace(b"00", b"01", 1), LINE, b"\n"), "it is another table's"),
        (lines_of(b"{}\n"), "a line of it can't be read ("),
        (lines_of(HEADER, b"{}\n"), "a line of it can't be read ("),
        (lines_of(), "a line of it can't be read ("),
        (lines_of(HEADER), "it has other files than the head says"),
        (b"no zstd", "it can't be unpacked ("),
        (lines_of(HEADER, LINE, b"\n")[:-3], ""),
    ],
)
def test_each_damage_of_a_frame_has_its_words(packed: bytes, says: str) -> None:
    """Promise: whose frame it is and what is wrong with it, as words and as fields."""
    assert read(lines_of(HEADER, LINE, b"\n")) == 1
    with pytest.raises(ManifestInvalid) as told:
        read(packed)
    assert told.value.message.startswith(f"the frame of ks.t is invalid: {says}")
    assert told.value.fields == {"keyspace": "ks", "table": "t"}


@pytest.mark.parametrize(
    ("files", "size", "most"), [(1, 5, 64 * 1024 + 2048 + 128), (1, 3 * MIB, 64 * 1024 + 2048 + 4 * 128)]
)
def test_a_frame_unpacks_to_what_its_files_may_need(files: int, size: int, most: int) -> None:
    """Promise: just so many bytes are read, with one more it is a bomb."""
    line = msgspec.json.encode(part(file(size=size)))
    about = reference(PACKED, part(file(size=size)), files=files)
    padding = b" " * (most - len(HEADER) - len(line) - 1)
    assert read(lines_of(HEADER, line, padding, b"\n"), about) == 1
    with pytest.raises(ManifestInvalid, match="it unpacks to far more than its files need"):
        read(lines_of(HEADER, line, padding, b" \n"), about)


def test_a_table_without_files_unpacks_to_little() -> None:
    """Promise: as one with files, of which it has none."""
    about = reference(b"", files=0, bytes=0)
    padding = b" " * (64 * 1024 + 128 - len(HEADER))
    assert read(lines_of(HEADER[:-1], padding, b"\n"), about) == 0
    with pytest.raises(ManifestInvalid, match="it unpacks to far more than its files need"):
        read(lines_of(HEADER[:-1], padding, b" \n"), about)


def test_a_bomb_is_counted_over_all_that_it_unpacks_to() -> None:
    """Promise: a reference that may need more than is unpacked at a time doesn't open the way to any amount."""
    about = msgspec.structs.replace(ABOUT, files=500)
    with pytest.raises(ManifestInvalid, match="it unpacks to far more than its files need"):
        read(lines_of(HEADER, LINE, b" " * (4 * MIB), b"\n"), about)


def test_what_stands_behind_a_frame_is_judged_too() -> None:
    """Promise: it can't add files to the table; and a file without a digest is none of a destination."""
    for more in (lines_of(LINE, b"\n"), lines_of(LINE.replace(b"nb-1", b"nb-2"), b"\n")):
        with pytest.raises(ManifestInvalid):
            read(PACKED + more)
    bare = part(file(digest=""))
    with pytest.raises(ManifestInvalid, match="digest or piece size"):
        read(frame(bare))


@pytest.mark.parametrize(("size", "streamed"), [(256 * 1024 - 1, False), (256 * 1024, True)])
def test_a_frame_is_compressed_at_once_below_a_quarter_mebibyte(size: int, streamed: bool) -> None:
    """Promise: how is decided by the length alone, so that equal tables stay equal objects; zstd's own check is in."""
    spare = part(file(""))
    room = size - len(HEADER) - len(msgspec.json.encode(spare)) - 1
    one = TablePart((msgspec.structs.replace(spare.files[0], name="x" * room),), spare.objects)
    packed = frame(one)
    assert (zstandard.frame_content_size(packed) == -1) == streamed
    assert zstandard.get_frame_parameters(packed).has_checksum


@pytest.mark.parametrize("changed", [{"files": 2}, {"bytes": 6}, {"own": (file("schema.cql", 0),)}])
def test_a_frame_and_its_reference_agree(changed: dict[str, Any]) -> None:
    """Promise: the head's counts are those of the frame and of the own files together, each of them."""
    with pytest.raises(ManifestInvalid, match="it has other files than the head says"):
        read(PACKED, msgspec.structs.replace(ABOUT, **changed))
    own = msgspec.structs.replace(ABOUT, own=(file("schema.cql", 7),), files=2, bytes=12)
    assert read(PACKED, own) == 1
    with pytest.raises(ManifestInvalid, match="can't be, or twice"):
        read(PACKED, msgspec.structs.replace(ABOUT, own=(file(),), files=2, bytes=10))


@pytest.mark.parametrize("parts", [0, 1, 900, 2_500])
def test_a_frame_of_any_length_is_compressed_as_it_comes(parts: int) -> None:
    """Promise: whether it waited to be compressed at once or went bit by bit, the lines are those that came."""
    writer = FrameWriter(FrameHeader("ks", "t", TABLE_ID))
    lines = [part(file(f"nb-{number}-big-Data.db")) for number in range(parts)]
    for one in lines:
        writer.add(one)
    with zstandard.ZstdDecompressor().stream_reader(writer.close()) as reader:
        content = reader.read()
    assert content == HEADER + b"".join(msgspec.json.encode(one) + b"\n" for one in lines)
