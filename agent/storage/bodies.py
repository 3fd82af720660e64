"""Bodies between pipeline and socket. In: buffers or an answer, a gate, a stop flag. Out: bytes, when they may flow.

An SDK may read the body to sign it, and the transport reads it to send it. Only the second is traffic: so the SDK gets
`PutBody`, which knows no gate, and the transport gets `PutBody.sending()`, put in its place after signing.
"""

import base64
import contextlib
import functools
import hashlib
import io
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from zlib_ng import zlib_ng

from agent.storage.protocol import Buffer, Gate, Summed, Truncated
from agent.storage.threads import Stop
from agent.storage.throttle import STEP, is_free, pass_checked, rate_of

_WINDOW_SECONDS = 0.1
"""What a store may send ahead under a limit, as a part of a second's worth: enough for that time of a round trip."""
LARGEST_PIECE = 512 * 1024
"""Bytes that go to the socket in one piece when there is no limit."""
_AT_ONCE_SECONDS = 0.02
"""A line that takes 64 KiB in this time would need a hundredth of its speed to let 512 KiB time out."""
_WIDE = 2**30 - 1
"""Bytes of a receive window that is no limit."""


class PutBody:
    """A file-like view on buffers, never copied as a whole. `clock` gives seconds that never go back."""

    def __init__(
        self, buffers: Sequence[Buffer], gate: Gate, stop: Stop, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._parts = [memoryview(part).cast("B") for part in buffers]
        self._size = sum(len(part) for part in self._parts)
        self._crc32 = buffers.crc32 if isinstance(buffers, Summed) else None
        self._gate = gate
        self._stop = stop
        self._clock = clock
        self._at = 0

    def __len__(self) -> int:
        return self._size

    def tell(self) -> int:
        """Where the next `read` begins."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, as files do."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, count: int = -1) -> memoryview:
        """The next bytes, at most `count` and of one buffer at most; empty at the end."""
        at = self._at
        for part in self._parts:
            if at < len(part):
                found = part[at:] if count < 0 else part[at : at + count]
                self._at += len(found)
                return found
            at -= len(part)
        return memoryview(b"")

    def sending(self) -> Iterator[memoryview]:
        """All bytes in order, each piece when the gate has let it through. Raises `Stopped` when nobody waits.

        A piece is 64 KiB under a limit, and on a slow line, for the socket's time-out counts for each. On a line that
        takes them at once they grow: each is a moment in which threads wait for one another.
        """
        size = STEP
        for part in self._parts:
            at = 0
            while at < len(part):
                self._stop.check()
                piece = part[at : at + (size if is_free(self._gate) else STEP)]
                pass_checked(self._gate, len(piece), self._stop.check)
                began = self._clock()
                yield piece
                quick = self._clock() - began < _AT_ONCE_SECONDS
                size = min(2 * size, LARGEST_PIECE) if quick else max(size // 2, STEP)
                at += len(piece)

    def crc32(self) -> str:
        """The checksum as stores write it: base64 of four bytes, big end first."""
        crc = self._crc32
        if crc is None:
            crc = functools.reduce(lambda so_far, part: zlib_ng.crc32(part, so_far), self._parts, 0)
        return base64.b64encode(crc.to_bytes(4, "big")).decode("ascii")

    def md5(self) -> bytes:
        """The digest that Azure verifies."""
        digest = hashlib.md5(usedforsecurity=False)
        for part in self._parts:
            digest.update(part)
        return digest.digest()

    def sha256(self) -> str:
        """The checksum as stores write it: base64."""
        digest = hashlib.sha256()
        for part in self._parts:
            digest.update(part)
        return base64.b64encode(digest.digest()).decode("ascii")


def received(name: str, body: Any, size: int, gate: Gate, stop: Stop) -> bytes:
    """The `size` bytes of `body`, the answer with the object `name`: urllib3's, or the SDK's around it.

    Under a limit the gate is passed before bytes are taken from the socket, and the window is kept narrow: what the
    kernel lets the store send ahead is traffic as well. Raises `Stopped`, `Truncated`.
    """
    free = is_free(gate)
    _set_window(body, _WIDE if free else max(STEP, int(rate_of(gate) * _WINDOW_SECONDS)))
    # Without a limit one read fills one buffer; otherwise the pieces grow into one, never twice the size.
    step = size if free else STEP
    whole = io.BytesIO()
    left = size
    allowed = 0
    while left:
        stop.check()
        wanted = min(step, left)
        pass_checked(gate, wanted - allowed, stop.check)
        part = body.read(wanted)
        allowed = wanted - len(part)
        if not part:
            raise Truncated(f"the answer with {name!r} ended {left} bytes early", key=name)
        left -= len(part)
        if len(part) == size:
            return bytes(part)
        whole.write(part)
    return whole.getvalue()


def _set_window(body: Any, size: int) -> None:
    """Tell the kernel how far the store may send ahead on this answer's connection, where it can be told (Linux). A
    connection is kept for later answers, so each one sets it."""
    clamp = getattr(socket, "TCP_WINDOW_CLAMP", None)
    connection = getattr(getattr(body, "_raw_stream", body), "_connection", None)
    sock = getattr(connection, "sock", None)
    if clamp is not None and isinstance(sock, socket.socket):
        with contextlib.suppress(OSError):  # it only makes a limit smoother
            sock.setsockopt(socket.IPPROTO_TCP, clamp, min(size, _WIDE))
