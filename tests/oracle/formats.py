"""The repository's formats as docs/repository.md describes them, read a second time: no code of the agent's is used."""

import json
import struct
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import zstandard
from blake3 import blake3

HEADER = struct.Struct(">4sBBBBIQ")
TRAILER = struct.Struct(">8sIQQ32s32s")


class Broken(Exception):
    """Bytes that are not what the format says."""


def b3(data: bytes | memoryview) -> bytes:
    return bytes(blake3(data).digest())


def plain_of(stored: bytes) -> bytes:
    """The plain bytes of a data object."""
    if len(stored) < HEADER.size + 32:
        raise Broken("the object is cut")
    magic, version, codec, _, zero, epoch, length = HEADER.unpack(stored[: HEADER.size])
    if (magic, version, codec, zero, epoch) != (b"HLNS", 1, 0, 0, 0):
        raise Broken("the object's header is not one that is known")
    plain = stored[HEADER.size : -32]
    if b3(stored[: HEADER.size] + b3(plain)) != stored[-32:]:
        raise Broken("the object's footer does not match its bytes")
    if len(plain) != length:
        raise Broken("the object's header has another length")
    return plain


def head_of(manifest: bytes) -> dict[str, Any]:
    """The head of a manifest."""
    if len(manifest) < TRAILER.size + 8 or manifest[:8] != b"HELENUSM":
        raise Broken("the manifest is cut or none")
    magic, version, offset, length, tail_digest, whole = TRAILER.unpack(manifest[-TRAILER.size :])
    if (magic, version) != (b"HELENUST", 1):
        raise Broken("the manifest's trailer is not one that is known")
    if b3(manifest[:-32]) != whole:
        raise Broken("the manifest's digest does not match its bytes")
    tail = manifest[offset : offset + length]
    if offset + length + TRAILER.size != len(manifest) or b3(tail) != tail_digest:
        raise Broken("the manifest's tail does not match its trailer")
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
