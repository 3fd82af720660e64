"""Whether a manifest is as it was put, without the key."""

import pytest

from agent.crypto.digest import digest
from agent.repository.manifest import MAGIC
from agent.repository.stored_manifest import is_whole
from agent.storage.protocol import Entry
from tests.fast.repository.manifests import file, frame, head, manifest, part, reference
from tests.fast.storage.memory import MemoryStorage

PACKED = frame(part(file()))
WRITTEN = manifest(PACKED, head(reference(PACKED, part(file()))))
MIB = 1024 * 1024


async def whole(content: bytes, size: int | None = None) -> bool:
    """What is said of a manifest that a listing showed with that size."""
    store = MemoryStorage()
    await store.put("m", [content])
    return await is_whole(store, Entry("m", len(content) if size is None else size, 0.0))


def digested(before: bytes) -> bytes:
    """The bytes and their digest."""
    return before + digest(before)


@pytest.mark.parametrize("length", [0, 1, 8 * MIB - len(MAGIC) - 1, 8 * MIB - len(MAGIC), 8 * MIB, 17 * MIB])
async def test_a_manifest_of_any_length_is_verified(length: int) -> None:
    """Promise: the digest at its end is that of all before it, however many reads these take; a flip of any shows."""
    right = digested(MAGIC + bytes(length))
    assert await whole(right)
    for place in {0, len(MAGIC) + length // 2, len(right) - 33, len(right) - 32, len(right) - 1}:
        assert not await whole(right[:place] + bytes([right[place] ^ 1]) + right[place + 1 :])


async def test_what_an_agent_wrote_is_whole() -> None:
    """Promise: it is the manifest's own form that is verified."""
    assert await whole(WRITTEN)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        WRITTEN[:31],
        WRITTEN[:-1],
        WRITTEN + b"x",
        digested(b""),
        digested(MAGIC[:-1]),
        digested(b"HELENUSX" + WRITTEN),
    ],
)
async def test_what_is_cut_or_no_manifest_is_not_whole(content: bytes) -> None:
    """Promise: a right digest over something else is no manifest, and no length passes but the right one."""
    assert not await whole(content)


@pytest.mark.parametrize("size", [len(WRITTEN) + 1, 2 << 40])
async def test_one_that_became_shorter_or_is_impossibly_large_is_not_whole(size: int) -> None:
    """Promise: what is no longer as it was listed is not whole, and nobody reads terabytes to say so."""
    assert not await whole(WRITTEN, size)


async def test_one_that_went_is_not_whole() -> None:
    """Promise: a manifest that was deleted since the listing is no error of the store."""
    assert not await is_whole(MemoryStorage(), Entry("m", len(WRITTEN), 0.0))
