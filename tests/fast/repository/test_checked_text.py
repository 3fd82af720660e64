"""The check of small JSON files, byte for byte."""

import msgspec
import pytest

from agent.crypto.digest import digest
from agent.repository import checked_text


class Said(msgspec.Struct, frozen=True):
    """A file."""

    word: str


DECODER = msgspec.json.Decoder(Said)


def test_the_check_is_the_last_member() -> None:
    """Promise: BLAKE3 of the same text without it, so that other tools can compare it; without one it was written by
    hand."""
    text = b'{"word":"a"}'
    assert checked_text.encode(Said("a")) == b'{"word":"a","blake3":"' + digest(text).hex().encode() + b'"}'
    assert checked_text.decode(DECODER, checked_text.encode(Said("a"))) == Said("a")
    assert checked_text.decode(DECODER, text) == Said("a")


def test_a_changed_word_is_an_error_that_says_so() -> None:
    """Promise: another meaning is never read out of a file whose check is of other bytes, and a person reads why."""
    for changed in (
        checked_text.encode(Said("a")).replace(b'"a"', b'"b"'),
        checked_text.encode(Said("a")).replace(b'"blake3":"', b'"blake3":"0'),
        b'{"word":"a","blake3":""}',
    ):
        with pytest.raises(msgspec.DecodeError, match="its bytes are not those that its own check was made of"):
            checked_text.decode(DECODER, changed)
