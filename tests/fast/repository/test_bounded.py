"""Small files of a destination are read in bounded memory, and just as far as a listing said."""

import pytest

from agent.repository.bounded import read_bounded
from agent.repository.errors import ManifestInvalid
from agent.storage.protocol import NotFound, Truncated
from tests.fast.storage.memory import MemoryStorage

KEY = "helenus/v1/the/key"


class Asked(MemoryStorage):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(hook=self._ask)
        self.asked = 0

    async def _ask(self, verb: str, key: str) -> None:
        self.asked += verb == "get"


async def test_what_is_larger_than_it_may_be_is_not_read() -> None:
    """Promise: as many bytes as may be are read, of one more none is; its key and its size are told."""
    store = Asked()
    await store.put(KEY, [b"12345"])
    assert await read_bounded(store, KEY, 5, 5) == b"12345"
    with pytest.raises(ManifestInvalid, match=f"5 bytes stand where at most 4 belong: {KEY}") as told:
        await read_bounded(store, KEY, 5, 4)
    assert told.value.fields == {"key": KEY, "size": 5}
    assert store.asked == 1


async def test_what_changed_since_it_was_listed_is_read_as_it_was_listed() -> None:
    """Promise: what has grown by now fills no more memory; what is shorter, or gone, is told as that."""
    store = Asked()
    await store.put(KEY, [b"123456789"])
    assert await read_bounded(store, KEY, 5, 5) == b"12345"
    with pytest.raises(Truncated):
        await read_bounded(store, KEY, 10, 10)
    await store.delete([KEY])
    with pytest.raises(NotFound):
        await read_bounded(store, KEY, 5, 5)


async def test_an_empty_object_costs_no_request() -> None:
    """Promise: no store is asked for a range of no bytes, which most refuse."""
    store = Asked()
    assert await read_bounded(store, KEY, 0, 5) == b""
    assert store.asked == 0
