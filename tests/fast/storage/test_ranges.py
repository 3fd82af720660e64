"""Ranges of objects over HTTP: which are asked first, and what the answers are taken for."""

import pytest

from agent.storage.protocol import Entry, NotFound, StorageError, Truncated
from agent.storage.ranges import bytes_from, checked_range, is_asked_first

THERE = Entry("a", 10, 1.0)


@pytest.mark.parametrize(
    ("start", "length", "first"),
    [(0, 0, True), (4, 0, True), (4, None, True), (0, None, False), (0, 4, False), (4, 4, False)],
)
def test_a_range_that_may_be_empty_is_asked_first(start: int, length: int | None, first: bool) -> None:
    """Promise: no bytes, and the rest from a place on, which may be none; no request more for any other read."""
    assert is_asked_first(start, length) is first


@pytest.mark.parametrize(
    ("start", "length", "comes"), [(0, None, 10), (4, None, 6), (10, None, 0), (4, 0, 0), (10, 0, 0)]
)
def test_the_rest_of_an_object_may_be_nothing(start: int, length: int | None, comes: int) -> None:
    """Promise: at an object's very end nothing is to come, and that is no error."""
    assert bytes_from("a", THERE, start, length) == comes


def test_what_is_not_there_is_no_empty_range() -> None:
    """Promise: past the end an object is cut, with its size told, and one that isn't there is missing."""
    with pytest.raises(Truncated) as cut:
        bytes_from("a", THERE, 11, None)
    assert cut.value.fields["size"] == 10
    with pytest.raises(NotFound):
        bytes_from("a", None, 0, 0)


def test_an_answer_is_what_was_asked_for_or_an_error() -> None:
    """Promise: a short answer is a cut object, with its size; one without length or range is an error too."""
    assert checked_range("a", 4, 6, came=6, told="bytes 4-9/10") == 6
    assert checked_range("a", 0, None, came=10, told=None) == 10
    for came, range_, size in ((3, "bytes 4-6/7", 7), (3, "bytes 4-6/*", None), (-1, "bytes 4-9/10", None)):
        with pytest.raises(Truncated) as cut:
            checked_range("a", 4, 6, came=came, told=range_)
        assert cut.value.fields.get("size") == size
    for start, came, told in ((4, 6, None), (0, 10, None)):
        with pytest.raises(StorageError) as ignored:
            checked_range("a", start, 6, came=came, told=told)
        assert not isinstance(ignored.value, Truncated)
