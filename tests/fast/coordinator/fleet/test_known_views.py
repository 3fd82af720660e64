"""Entries of listings that are decoded once."""

import msgspec
import pytest

from coordinator.fleet.known_views import KnownViews
from tests.fast.coordinator.fleet.test_large_listings import backup


def text_of(number: int, time: float = 0.0) -> bytes:
    """A large entry as an agent sends it; `time` leaves its beginning and its length as they are."""
    view = backup(number)
    assert view.record is not None
    return msgspec.json.encode(msgspec.structs.replace(view, record=msgspec.structs.replace(view.record, time=time)))


def test_the_same_text_says_the_same_and_another_text_what_it_says() -> None:
    """Promise: what was listed before is not decoded again as long as not a byte of it differs, and from then on says
    what it says now."""
    known = KnownViews()
    first = known.view(text_of(1))
    assert known.view(text_of(1)) is first == msgspec.json.decode(text_of(1), type=type(first))
    changed = known.view(text_of(1, time=7.0))
    assert changed.record is not None
    assert (changed.tag, changed.record.time) == (first.tag, 7.0)
    assert len(text_of(1)) == len(text_of(1, time=7.0))
    assert known.view(text_of(1)) == first


def test_what_cannot_be_read_is_not_kept_in_the_place_of_what_could() -> None:
    """Promise: an entry that is no backup is refused each time, and spoils none that was read before."""
    known = KnownViews()
    good = text_of(1)
    first = known.view(good)
    spoilt = good[:-2] + b",}"
    for _ in range(2):
        with pytest.raises(msgspec.DecodeError):
            known.view(spoilt)
    assert known.view(good) is first


def test_only_those_that_were_looked_at_last_are_kept() -> None:
    """Promise: they stay below a limit together; small ones, which cost nothing to decode, take no place."""
    texts = [text_of(number) for number in range(4)]
    known = KnownViews(most=3 * max(map(len, texts)))
    views = [known.view(text) for text in texts]
    assert known.view(b'{"tag":"small","deleted":false,"record":null}').tag == "small"
    assert [known.view(text) is view for text, view in zip(texts[:0:-1], views[:0:-1], strict=True)] == [True] * 3
    assert known.view(texts[0]) is not views[0]
