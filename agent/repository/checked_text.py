"""The small JSON files of a repository with a check of their bytes. In: a typed value; out, what is stored, and back.

    {…,"blake3":"<hex>"}        the BLAKE3 of the same text without this last member

A manifest and a data object have digests in their form; plans, records, marks, intents, repository.json and
cluster.json have this one, so that a flipped byte is an error and never another meaning. Whoever reads plain JSON
passes over the member.
"""

import re
from typing import TypeVar

import msgspec

from agent.crypto.digest import digest

T = TypeVar("T")
_CHECK = re.compile(rb',"blake3":"([^"]*)"\}\Z')


def encode(value: msgspec.Struct) -> bytes:
    """The file of `value`, which has one field at least."""
    text = msgspec.json.encode(value)
    return b'%b,"blake3":"%b"}' % (text[:-1], digest(text).hex().encode())


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The value of a file. One without the check was written by hand, and is read as it is. Raises
    msgspec.DecodeError, also when the check is another text's."""
    check = _CHECK.search(body)
    if check is not None and check[1] != digest(body[: check.start()] + b"}").hex().encode():
        raise msgspec.DecodeError("its bytes are not those that its own check was made of")
    return decoder.decode(body)
