"""Deletion marks before data goes for one: only those that were put with the repository's keys are believed."""

import pytest

from agent.crypto.keyring import Keyring
from agent.repository import marks
from agent.repository.bounded import MOST_INTENT
from agent.repository.documents import OVERHEAD
from agent.repository.errors import ManifestInvalid
from agent.repository.keys import deleted_key
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, Entry
from tests.fast.storage.memory import MemoryStorage

KEY = deleted_key("c1", "t1")
RING = Keyring(bytes(32), {1: bytes(range(32))})


class Reads:
    """A sealed (or plain) repository, and how often a mark was read."""

    def __init__(self, keyring: Keyring | None = RING) -> None:
        self.number = 0
        self.store = MemoryStorage(hook=self._count)
        self.opened = OpenedRepository("d1", self.store, "r1", "c1", OPEN, 4, keyring)

    async def _count(self, verb: str, key: str) -> None:
        self.number += verb == "get"

    async def entry(self) -> Entry:
        found = await self.store.head(KEY)
        assert found is not None
        return found


async def test_a_mark_of_ours_is_read_once() -> None:
    """Promise: as long as it is the same; another one at its place is read anew."""
    here = Reads()
    await here.opened.documents.put(KEY, marks.encoded("t1"))
    known = marks.Marks(here.opened)
    entry = await here.entry()
    await known.refuse_unreadable(entry, "t1")
    await known.refuse_unreadable(entry, "t1")
    assert here.number == 1
    await here.opened.documents.put(KEY, marks.encoded("t2"), replace=True)
    with pytest.raises(ManifestInvalid):
        await known.refuse_unreadable(await here.entry(), "t1")
    assert here.number == 2


async def test_a_mark_of_another_backup_deletes_nothing() -> None:
    """Promise: one that was moved is told with its key and the tag that it was to delete, each time."""
    here = Reads()
    known = marks.Marks(here.opened)
    await here.opened.documents.put(KEY, marks.encoded("t2"))
    for _ in range(2):
        with pytest.raises(ManifestInvalid, match=f"a deletion mark is of another backup: {KEY}") as told:
            await known.refuse_unreadable(await here.entry(), "t1")
        assert told.value.fields == {"key": KEY, "tag": "t1"}


@pytest.mark.parametrize("body", [b"no json", b'{"word":"t1"}', marks.encoded("t1").replace(b"t1", b"t2")])
async def test_a_mark_that_cannot_be_read_deletes_nothing(body: bytes) -> None:
    """Promise: sealed with our keys and yet no mark, or its check is of other bytes: told with its key."""
    here = Reads()
    await here.opened.documents.put(KEY, body)
    with pytest.raises(ManifestInvalid, match=f"a deletion mark can't be read: {KEY}") as told:
        await marks.Marks(here.opened).refuse_unreadable(await here.entry(), "t1")
    assert told.value.fields == {"key": KEY}


async def test_a_mark_without_our_keys_deletes_nothing() -> None:
    """Promise: whoever can only write to the store hides a backup at most; a mark of any size fills no memory."""
    here = Reads()
    await here.store.put(KEY, [marks.encoded("t1")])
    with pytest.raises(ManifestInvalid, match="isn't sealed"):
        await marks.Marks(here.opened).refuse_unreadable(await here.entry(), "t1")
    with pytest.raises(ManifestInvalid, match=f"where at most {MOST_INTENT + OVERHEAD} belong"):
        await marks.Marks(here.opened).refuse_unreadable(Entry(KEY, 1 << 40, 0.0), "t1")


async def test_a_mark_that_went_is_fine() -> None:
    """Promise: another sweep took the last traces meanwhile."""
    await marks.Marks(Reads().opened).refuse_unreadable(Entry(KEY, 99, 0.0), "t1")


@pytest.mark.parametrize("body", [b"anything", b"", marks.encoded("t2"), marks.encoded("t1").replace(b"t1", b"t2")])
async def test_in_a_plain_repository_too_a_mark_is_read(body: bytes) -> None:
    """Promise: one that is damaged, or another backup's, deletes nothing; a right one does."""
    here = Reads(None)
    await here.store.put(KEY, [body])
    with pytest.raises(ManifestInvalid):
        await marks.Marks(here.opened).refuse_unreadable(await here.entry(), "t1")
    await here.store.put(KEY, [marks.encoded("t1")], replace=True)
    await marks.Marks(here.opened).refuse_unreadable(await here.entry(), "t1")
