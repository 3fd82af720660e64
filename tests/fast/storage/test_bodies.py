"""Promise: only what is sent or received passes the gate, once, in small pieces, before it flows; reading a body to
sign it is free."""

import base64
import hashlib
import io
import zlib

import pytest

from agent.storage.bodies import LARGEST_PIECE, PutBody, received
from agent.storage.protocol import OPEN, Buffer, Summed, Truncated
from agent.storage.threads import Stop, Stopped
from agent.storage.throttle import STEP, TokenBucket

PARTS: list[Buffer] = [b"a" * 100_000, bytearray(b"b" * 5), memoryview(b"c" * 70_000), b""]
WHOLE = b"a" * 100_000 + b"b" * 5 + b"c" * 70_000


class Counter:
    def __init__(self) -> None:
        self.passed: list[int] = []

    def pass_bytes(self, count: int) -> None:
        self.passed.append(count)


def test_a_body_reads_as_a_file_of_all_buffers() -> None:
    """Promise: the SDK may read and seek in buffers as in one file."""
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
    """Promise: what is read to be signed is no traffic; what is sent is, in small pieces."""
    gate = Counter()
    body = PutBody(PARTS, gate, Stop())
    body.read()
    assert base64.b64decode(body.crc32()) == zlib.crc32(WHOLE).to_bytes(4, "big")
    assert base64.b64decode(body.sha256()) == hashlib.sha256(WHOLE).digest()
    assert gate.passed == []
    assert b"".join(body.sending()) == WHOLE
    assert sum(gate.passed) == len(WHOLE)
    assert max(gate.passed) <= STEP


def test_pieces_grow_on_a_line_that_takes_them_at_once() -> None:
    """Promise: a quick line isn't kept busy with small pieces; a slow one gets them small, for each has a time-out; a
    limit that comes while bytes flow makes them small at once."""
    bucket, now = TokenBucket(0), 0.0
    whole = bytes(8 * LARGEST_PIECE)
    sending = PutBody([whole], bucket, Stop(), clock=lambda: now).sending()
    quick = [len(next(sending)) for _ in range(6)]
    assert quick == [STEP, 2 * STEP, 4 * STEP, LARGEST_PIECE, LARGEST_PIECE, LARGEST_PIECE]
    slow = []
    for _ in range(5):
        now += 1.0
        slow.append(len(next(sending)))
    assert slow == [LARGEST_PIECE // 2, 2 * STEP, STEP, STEP, STEP]
    quick_again = [len(next(sending)) for _ in range(2)]
    bucket.set_rate(1e9)
    limited = [len(next(sending)) for _ in range(3)]
    assert (quick_again, limited) == ([2 * STEP, 4 * STEP], [STEP, STEP, STEP])
    bucket.set_rate(0)
    assert sum(map(len, sending)) == len(whole) - sum(quick + slow + quick_again + limited)


def test_a_checksum_that_is_known_is_not_made_again() -> None:
    """Promise: half a terabyte is summed once, by whoever reads it."""
    body = PutBody(Summed(PARTS, 0xC0FFEE), Counter(), Stop())
    assert base64.b64decode(body.crc32()) == (0xC0FFEE).to_bytes(4, "big")


def test_sending_stops_when_nobody_waits_any_more() -> None:
    """Promise: a cancelled put stops sending."""
    stop = Stop()
    sending = PutBody(PARTS, Counter(), stop).sending()
    next(sending)
    stop.set()
    with pytest.raises(Stopped):
        next(sending)


class Answer(io.BytesIO):
    """A streaming body that gives at most 50,000 bytes at a time, and notes what the gate had let through by then."""

    def __init__(self, gate: Counter) -> None:
        super().__init__(WHOLE)
        self.allowed: list[int] = []
        self._gate = gate

    def read(self, count: int | None = -1, /) -> bytes:
        self.allowed.append(sum(self._gate.passed) - self.tell())
        return super().read(min(count or 0, 50_000))


def test_nothing_is_taken_from_the_socket_before_the_gate_let_it_through() -> None:
    """Promise: a limit holds back the socket, not the memory."""
    gate = Counter()
    answer = Answer(gate)
    assert received("key", answer, len(WHOLE), gate, Stop()) == WHOLE
    assert all(allowed > 0 for allowed in answer.allowed)
    assert sum(gate.passed) == len(WHOLE)
    assert max(gate.passed) <= STEP


def test_an_answer_without_a_limit_comes_whole() -> None:
    """Promise: a short answer is noticed without a limit too."""
    assert received("key", io.BytesIO(WHOLE), len(WHOLE), OPEN, Stop()) == WHOLE
    with pytest.raises(Truncated):
        received("key", io.BytesIO(WHOLE), len(WHOLE) + 1, OPEN, Stop())
