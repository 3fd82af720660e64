"""A JSON array read while it comes."""

import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.fleet.bounded import TooLarge
from coordinator.fleet.json_items import Items, NoArray, json_items

MOST = 10_000
texts = st.text(st.sampled_from(['"', "\\", "{", "}", "[", "]", ",", "a", "ü", "\n", " "]), max_size=12)
values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=4)


def read(text: bytes, cuts: list[int], most: int = MOST) -> list[bytes]:
    """The items of a text that comes in pieces."""
    items, found = Items(most), list[bytes]()
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    for start, stop in pairwise(places):
        found += items.feed(text[start:stop])
    items.end()
    return found


@given(
    st.lists(objects, max_size=5),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.lists(st.integers(0, 10_000), max_size=30),
)
def test_items_are_those_of_the_array_wherever_it_is_cut(
    told: list[Any], indent: int | None, ascii_only: bool, cuts: list[int]
) -> None:
    """Promise: however the bytes come, in the middle of a string, an escape or a letter, each item is read as it is,
    with blanks and line ends between them or none."""
    text = json.dumps(told, indent=indent, ensure_ascii=ascii_only).encode()
    assert [json.loads(item) for item in read(b" " + text + b"\r\n", cuts)] == told


def test_items_come_as_soon_as_they_end() -> None:
    """Promise: an item is there with its last byte, before the next one has begun; nothing of it is kept then."""
    items = Items(MOST)
    assert [*items.feed(b'[{"a":1')] == []
    assert [*items.feed(b"}")] == [b'{"a":1}']
    assert [*items.feed(b', {"b":[{}]},{')] == [b'{"b":[{}]}']
    assert [*items.feed(b"}")] == [b"{}"]
    assert [*items.feed(b"]")] == []
    items.end()


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"[1]",
        b'["a"]',
        b'["{}"]',
        b"[[{}]]",
        b"[{}{}]",
        b"[{},,{}]",
        b"[,{}]",
        b"[{},]",
        b"[{}] {",
        b"[{}][",
        b"[{}]x",
        b"x[{}]",
        b"null",
        b"]",
        b"[}",
        b"",
        b"[",
        b"[{}",
        b"[{},",
        b'[{"a":"]',
        b'[{"a":"\\',
        b'[{"a":[}',
        b"\xff\xfe[",
    ],
)
@pytest.mark.parametrize("one_by_one", [True, False])
def test_what_is_no_list_of_objects_is_refused(text: bytes, one_by_one: bool) -> None:
    """Promise: garbage before, between and after the items, and a list that breaks off, are told from a listing,
    whatever has been read of it by then."""
    with pytest.raises(NoArray):
        read(text, [*range(len(text))] if one_by_one else [])


@pytest.mark.parametrize("text", [b'[{"a":"' + b"x" * 2 * MOST, b'[{"a":[' + b"{}," * MOST], ids=["text", "list"])
def test_an_item_without_end_is_refused(text: bytes) -> None:
    """Promise: no more than the limit is kept of an item, be it of one text or of many small values."""
    items, fed = Items(MOST), 0

    def feed() -> None:
        nonlocal fed
        for fed in range(0, len(text), 100):
            assert [*items.feed(text[fed : fed + 100])] == []

    with pytest.raises(TooLarge):
        feed()
    assert fed <= MOST


def test_blanks_without_end_are_not_kept() -> None:
    """Promise: what means nothing takes no memory, and the items behind it are read."""
    items = Items(MOST)
    for start in (b"[", b"{}", b","):
        assert [*items.feed(start)] == ([b"{}"] if start == b"{}" else [])
        for _ in range(10):
            assert [*items.feed(b" " * MOST)] == []
            assert len(items._rest) < 2
    assert [*items.feed(b"{}]")] == [b"{}"]
    items.end()


async def test_a_stream_is_read_as_it_comes() -> None:
    """Promise: of a stream the first item is there before the second was sent, and a stream that breaks off is no
    list."""
    sent = 0
    seen: list[tuple[int, int]] = []

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b"["
        for number in range(3):
            sent += 1
            yield (b"," if number else b"") + b'{"n":%d}' % number

    async def take() -> None:
        async for item in json_items(pieces(), MOST):
            note = sent, json.loads(item)["n"]
            seen.append(note)

    with pytest.raises(NoArray):
        await take()
    assert seen == [(1, 0), (2, 1), (3, 2)]
