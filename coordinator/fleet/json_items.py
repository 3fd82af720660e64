"""A JSON array read while it comes. In: the bytes of an answer, in pieces of any size. Out: the bytes of each item (an
object), one by one, of which no more than one is in memory.

Items are told apart by their brackets and strings alone: whoever takes them decodes each, and sees then whether it is
JSON. Everything that isn't of the array itself is refused here.
"""

import re
from collections.abc import AsyncIterator, Iterator

from coordinator.fleet.bounded import TooLarge
from kit.slices import Slices

PIECE = 64 * 1024
"""Bytes that are looked through without a pause."""
_PLAIN = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
"""What lies before the next bracket, or before a string whose end hasn't come yet."""
_IN_STRING = re.compile(rb"(?:[^\"\\]++|\\.)*+", re.DOTALL)
_SPACE = b" \t\r\n"
_QUOTE, _BACKSLASH, _LIST, _END = b'"\\[]'
_OPENING = frozenset(b"{[")
_OTHERS = "something else than a list of objects"


class NoArray(ValueError):
    """What came is no array of objects, or breaks off."""


class Items:
    """Of one array. `most`: bytes that an item may have."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = bytearray()
        self._at = 0
        """up to where the rest was looked through"""
        self._depth = 0
        self._in_string = False
        self._any = False
        self._ended = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The items that end with this piece. Raises `NoArray`, `TooLarge`."""
        rest = self._rest
        rest += piece
        while (bracket := self._bracket()) is not None:
            if self._depth < 2:
                self._refuse_others(bracket)
            self._at += 1
            self._depth += 1 if bracket in _OPENING else -1
            if self._depth == 1 and bracket not in _OPENING:
                item = bytes(rest[: self._at])
                self._drop()
                self._any = True
                yield item
            elif self._depth < 2:  # a bracket of the array itself
                self._ended = self._depth == 0
                self._drop()
        if self._depth < 2:
            left = bytes(rest.strip(_SPACE))
            if left not in ((b"", b",") if self._depth else (b"",)):
                raise NoArray(_OTHERS)
            rest[:], self._at = left, len(left)
        if len(rest) > self._most:
            raise TooLarge(f"an item of more than {self._most} bytes")

    def end(self) -> None:
        """Nothing more comes. Raises `NoArray`."""
        if not self._ended:
            raise NoArray("the list breaks off")

    def _bracket(self) -> int | None:
        """The next bracket that is in no string, None when it hasn't come yet; `_at` is where it stands."""
        rest = self._rest
        while True:
            pattern = _IN_STRING if self._in_string else _PLAIN
            found = pattern.match(rest, self._at)
            self._at = found.end() if found is not None else self._at
            if self._at == len(rest) or rest[self._at] == _BACKSLASH:
                return None  # a backslash that stands here is the last byte that has come
            if rest[self._at] != _QUOTE:
                return rest[self._at]
            self._in_string = not self._in_string
            self._at += 1

    def _refuse_others(self, bracket: int) -> None:
        """Forget what stands between two items, or around the array. Raises `NoArray` for more than a comma that
        belongs there."""
        before = bytes(self._rest[: self._at]).strip(_SPACE)
        if self._depth == 0:
            fits = bracket == _LIST and not before and not self._ended
        elif bracket in _OPENING:
            fits = bracket != _LIST and before == (b"," if self._any else b"")
        else:
            fits = bracket == _END and not before
        if not fits:
            raise NoArray(_OTHERS)
        self._drop()

    def _drop(self) -> None:
        del self._rest[: self._at]
        self._at = 0


async def json_items(pieces: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    """Each item of the array that these pieces are. Raises `NoArray`, `TooLarge`, and what the pieces raise."""
    items, slices = Items(most), Slices()
    async for piece in pieces:
        for start in range(0, len(piece), PIECE):
            for item in items.feed(piece[start : start + PIECE]):
                yield item
            await slices.pause()
    items.end()
