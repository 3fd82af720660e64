"""Promise: only what is sent passes the gate, once, in small pieces; reading it to sign it is free."""

import base64
import hashlib
import zlib

import pytest

from agent.storage.protocol import Buffer
from agent.storage.s3_body import PutBody
from agent.storage.threads import Stop, Stopped
from agent.storage.throttle import STEP

PARTS: list[Buffer] = [b"a" * 100_000, bytearray(b"b" * 5), memoryview(b"c" * 70_000), b""]
WHOLE = b"a" * 100_000 + b"b" * 5 + b"c" * 70_000


class Counter:
    def __init__(self) -> None:
        self.passed: list[int] = []

    def pass_bytes(self, count: int) -> None:
        self.passed.append(count)


def test_a_body_reads_as_a_file_of_all_buffers() -> None:
    body = PutBody(PARTS, Counter(), Stop())
    assert len(body) == len(WHOLE)
    assert b"".join(iter(lambda: bytes(body.read(30_000)), b"")) == WHOLE
    assert body.tell() == len(WHOLE)
    assert body.seek(99_999) == 99_999
    assert bytes(body.read(10)) == b"a"
    assert bytes(body.read()) == b"b" * 5
    assert body.seek(-3, 2) == len(WHOLE) - 3
    assert bytes(body.read()) == b"ccc"


def test_only_what_is_sent_passes_the_gate() -> None:
    gate = Counter()
    body = PutBody(PARTS, gate, Stop())
    body.read()
    assert base64.b64decode(body.crc32()) == zlib.crc32(WHOLE).to_bytes(4, "big")
    assert base64.b64decode(body.sha256()) == hashlib.sha256(WHOLE).digest()
    assert gate.passed == []
    assert b"".join(body.sending()) == WHOLE
    assert sum(gate.passed) == len(WHOLE)
    assert max(gate.passed) <= STEP


def test_sending_stops_when_nobody_waits_any_more() -> None:
    stop = Stop()
    sending = PutBody(PARTS, Counter(), stop).sending()
    next(sending)
    stop.set()
    with pytest.raises(Stopped):
        next(sending)
