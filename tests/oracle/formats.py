"""The repository's formats as docs/repository.md describes them, read a second time: no code of the agent's is used."""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HEADER = struct.Struct(">4sBBBBIQ")
DOCUMENT = struct.Struct(">4sBBHI32s")
TRAILER = struct.Struct(">8sIQQ32s32s")


DATA, TABLE, INLINE, HEAD = range(4)
RAW, ZSTD = range(2)


class Broken(Exception):
    """Bytes that are not what the format says."""


def b3(data: bytes | memoryview) -> bytes:
    return bytes(blake3(data).digest())


@dataclass(frozen=True)
class Keys:
    """What an encrypted repository is read with: the name key, and epoch → sealing key."""

    name: bytes
    sealing: Mapping[int, bytes]


def name_of(object_id: str, keys: Keys | None) -> str:
    """The name under which an object is stored, in hex."""
    return blake3(bytes.fromhex(object_id), key=keys.name).hexdigest() if keys else object_id


def plain_of(stored: bytes, kind: int | None, object_id: bytes | None, cluster: str, keys: Keys | None) -> bytes:
    """The plain bytes of an object of that type (None: any). A sealed one needs its id: without, they stay sealed."""
    if len(stored) < HEADER.size + 32:
        raise Broken("the object is cut")
    header = stored[: HEADER.size]
    magic, version, codec, found, zero, epoch, length = HEADER.unpack(header)
    if (magic, version, zero) != (b"HLNS", 1, 0) or codec not in (RAW, ZSTD) or kind not in (found, None):
        raise Broken("the object's header is not one that is known, or of another type")
    payload = stored[HEADER.size : -32]
    if b3(header + b3(payload)) != stored[-32:]:
        raise Broken("the object's footer does not match its bytes")
    if (epoch > 0) != (keys is not None):
        raise Broken("the object is sealed in a plain repository, or not in an encrypted one")
    if keys is not None:
        if object_id is None:
            return payload
        payload = _opened(payload, keys.sealing[epoch], found, epoch, object_id, header + cluster.encode())
    plain = unpacked(payload) if codec == ZSTD else payload
    if len(plain) != length:
        raise Broken("the object's header has another length")
    return plain


def _opened(payload: bytes, key: bytes, kind: int, epoch: int, object_id: bytes, associated: bytes) -> bytes:
    what = struct.pack(">BIBH", kind, epoch, len(object_id), len(associated)) + object_id + associated
    derived = HKDF(SHA256(), 44, payload[:32], b"helenus object 1").derive(key)
    try:
        plain = AESGCM(derived[:32]).decrypt(derived[32:], payload[32:], what)
    except InvalidTag:
        raise Broken("the object's seal is broken") from None
    if blake3(what + plain, key=key).digest() != payload[:32]:
        raise Broken("the object's salt is not that of its content")
    return plain


def document_of(stored: bytes, key: str, cluster: str, keys: Keys | None) -> bytes:
    """The text of a plan, record, mark or intent."""
    if keys is None:
        return stored
    magic, version, _, _, epoch, salt = DOCUMENT.unpack(stored[: DOCUMENT.size])
    if (magic, version) != (b"HLND", 1):
        raise Broken("the document is not sealed")
    return _opened(salt + stored[DOCUMENT.size :], keys.sealing[epoch], 16, epoch, b3(key.encode()), cluster.encode())


def place_of(key: str, keyspace: str = "", table: str = "") -> bytes:
    """The id of a part of a sealed manifest."""
    return b3(f"{key}\0{keyspace}\0{table}".encode())


def head_of(manifest: bytes, key: str, cluster: str, keys: Keys | None) -> dict[str, Any]:
    """The head of the manifest under `key`."""
    if len(manifest) < TRAILER.size + 8 or manifest[:8] != b"HELENUSM":
        raise Broken("the manifest is cut or none")
    magic, version, offset, length, tail_digest, whole = TRAILER.unpack(manifest[-TRAILER.size :])
    if (magic, version) != (b"HELENUST", 2):
        raise Broken("the manifest's trailer is not one that is known")
    if b3(manifest[:-32]) != whole:
        raise Broken("the manifest's digest does not match its bytes")
    tail = manifest[offset : offset + length]
    if offset + length + TRAILER.size != len(manifest) or b3(tail) != tail_digest:
        raise Broken("the manifest's tail does not match its trailer")
    if keys is not None:
        tail = plain_of(tail, HEAD, place_of(key), cluster, keys)
    head: dict[str, Any] = json.loads(unpacked(tail))
    return head


def parts_of(frame: bytes) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """The first line and the parts of a table's frame."""
    lines = unpacked(frame).split(b"\n")
    if lines.pop() != b"":
        raise Broken("the frame is cut")
    return json.loads(lines[0]), (json.loads(line) for line in lines[1:])


def unpacked(packed: bytes) -> bytes:
    try:
        return zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    except zstandard.ZstdError as error:
        raise Broken(f"it can't be unpacked: {error}") from error


def segments(key: str) -> list[str]:
    return [unquote(part) for part in key.split("/")]
