"""The cache of records: what it keeps, to the byte."""

from agent.repository.catalogue import RecordCache

BODY = bytes(range(256)) * 4
ROOM = len(RecordCache().put("r1", "any", BODY))
"""What one such body takes."""


def _filled(most_bytes: int, *keys: str) -> RecordCache:
    cache = RecordCache(most_bytes)
    for key in keys:
        cache.put("r1", key, BODY)
    return cache


def _kept(cache: RecordCache) -> list[str]:
    return [key for key in "abcdef" if cache.get("r1", key) is not None]


def test_its_room_is_used_to_the_last_byte() -> None:
    """Promise: as many bodies stay as there is room for, however many came, and none beyond."""
    assert _kept(_filled(ROOM, "a")) == ["a"]
    assert _kept(_filled(ROOM - 1, "a")) == []
    assert _kept(_filled(2 * ROOM, *"abcdef")) == ["e", "f"]
    assert _kept(_filled(3 * ROOM - 1, *"abcdef")) == ["e", "f"]


def test_a_body_that_is_put_again_takes_no_more_room() -> None:
    """Promise: two listings that read one record at a time cost the others of it nothing."""
    assert _kept(_filled(2 * ROOM, *"abbbb")) == ["a", "b"]
    assert _kept(_filled(2 * ROOM, *"abbbbcd")) == ["c", "d"]


def test_what_it_has_no_room_for_is_given_back_all_the_same() -> None:
    """Promise: whoever put a body that is larger than all of the cache can go on with it."""
    assert RecordCache(0).put("r1", "a", BODY) == RecordCache().put("r1", "a", BODY)
