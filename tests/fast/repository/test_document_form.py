"""How a document is sealed, byte for byte, where its limits are, and what is told of one that can't be read."""

import pytest

from agent.crypto.errors import SealingKeyUnknown
from agent.crypto.keyring import Keyring
from agent.repository.documents import OVERHEAD, Documents, claims_seal
from agent.repository.errors import ManifestInvalid, RepositoryFormatNewer
from agent.storage.protocol import Put
from kit.errors import HelenusError
from tests.fast.storage.memory import MemoryStorage

KEY = "helenus/v1/the/key"
OLD = Keyring(b"n" * 32, {1: b"1" * 32})
RING = Keyring(b"n" * 32, {1: b"1" * 32, 0x01020304: b"2" * 32})


def documents(keyring: Keyring | None, store: MemoryStorage | None = None) -> Documents:
    """The documents of a cluster."""
    return Documents(store or MemoryStorage(), "c1", keyring)


def test_a_sealed_document_is_laid_out_as_documented() -> None:
    """Promise: magic, format, three bytes of 0, the epoch, big-endian: other tools find them there. An empty document
    is one too."""
    for body in (b"words", b""):
        stored = documents(RING).stored(KEY, body)
        assert stored[:12] == b"HLND" + bytes([1, 0, 0, 0, 1, 2, 3, 4])
        assert len(stored) == len(body) + OVERHEAD == len(body) + 12 + 32 + 16
        assert documents(RING).opened(KEY, stored) == body
        assert documents(None).stored(KEY, body) == documents(None).opened(KEY, body) == body


def test_what_may_be_sealed_is_told_by_its_beginning_and_its_size() -> None:
    """Promise: what is shorter than any seal, or begins otherwise, is plain without a key being asked."""
    assert claims_seal(b"HLND", OVERHEAD)
    assert not claims_seal(b"HLND", OVERHEAD - 1)
    assert not claims_seal(b'{"ta', OVERHEAD)


@pytest.mark.parametrize(("keyring", "more"), [(None, 0), (RING, OVERHEAD)], ids=["plain", "encrypted"])
async def test_a_document_may_have_so_many_bytes_of_its_own(keyring: Keyring | None, more: int) -> None:
    """Promise: what sealing adds doesn't count; what is longer is refused."""
    store = MemoryStorage()
    here = documents(keyring, store)
    await here.put(KEY, b"12345")
    size = 5 + more
    assert await here.read(KEY, size, 5) == b"12345"
    with pytest.raises(ManifestInvalid, match=f"{size} bytes stand where at most {size - 1} belong") as told:
        await here.read(KEY, size, 4)
    assert told.value.fields == {"key": KEY, "size": size}


async def test_a_document_stays_unless_it_is_to_be_replaced() -> None:
    """Promise: a plan or a mark that is there is never overwritten by the way."""
    store = MemoryStorage()
    here = documents(RING, store)
    size = OVERHEAD + 3
    assert await here.put(KEY, b"one") == Put(created=True, size=size)
    assert await here.put(KEY, b"two") == Put(created=False, size=size)
    assert await here.read(KEY, size, 3) == b"one"
    await here.put(KEY, b"two", replace=True)
    assert await here.read(KEY, size, 3) == b"two"


SEALED = documents(RING).stored(KEY, b"words")


@pytest.mark.parametrize(
    ("keyring", "key", "stored", "kind", "fields"),
    [
        (RING, KEY, b'{"tag":"t1"}', ManifestInvalid, {}),
        (RING, KEY, SEALED[: OVERHEAD - 1], ManifestInvalid, {}),
        (RING, KEY, SEALED[:4] + b"\2" + SEALED[5:], RepositoryFormatNewer, {"format": 2}),
        (RING, KEY, SEALED[:-1], ManifestInvalid, {"epoch": 0x01020304}),
        (RING, KEY + "s", SEALED, ManifestInvalid, {"epoch": 0x01020304}),
        (OLD, KEY, SEALED, SealingKeyUnknown, {"epoch": 0x01020304, "newest": 1}),
    ],
    ids=["plain", "cut short", "newer", "cut", "another place", "newer keys"],
)
def test_what_cannot_be_opened_is_told_by_its_key(
    keyring: Keyring, key: str, stored: bytes, kind: type[HelenusError], fields: dict[str, object]
) -> None:
    """Promise: a person knows which object it is, and which keys it would need; also in words."""
    with pytest.raises(kind) as told:
        documents(keyring).opened(key, stored)
    assert told.value.fields == {"key": key, **fields}
    assert told.value.message.endswith(f": {key}")
    assert not told.value.message.startswith("None")
