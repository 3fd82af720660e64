"""A request's body between pipeline and socket. In: buffers, a gate, a stop flag. Out: bytes, when they may flow.

The SDK reads the body to sign it and the transport reads it to send it. Only the second is traffic: so the SDK gets
`PutBody`, which knows no gate, and the transport gets `PutBody.sending()`, put in its place after signing.
"""

import base64
import hashlib
import zlib
from collections.abc import Iterator, Sequence

from agent.storage.protocol import Buffer, Gate
from agent.storage.threads import Stop
from agent.storage.throttle import STEP, pass_checked


class PutBody:
    """A file-like view on buffers, never copied as a whole."""

    def __init__(self, buffers: Sequence[Buffer], gate: Gate, stop: Stop) -> None:
        self._parts = [memoryview(part).cast("B") for part in buffers]
        self._size = sum(len(part) for part in self._parts)
        self._gate = gate
        self._stop = stop
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

        A piece is 64 KiB also without a limit: the socket's time-out counts for each, so larger ones would forbid slow
        lines (8 MiB in pieces of 64 or 256 KiB cost the same 4 ms of processor time).
        """
        for part in self._parts:
            for at in range(0, len(part), STEP):
                self._stop.check()
                piece = part[at : at + STEP]
                pass_checked(self._gate, len(piece), self._stop.check)
                yield piece

    def crc32(self) -> str:
        """The checksum as S3's header has it: base64 of four bytes, big end first."""
        crc = 0
        for part in self._parts:
            crc = zlib.crc32(part, crc)
        return base64.b64encode(crc.to_bytes(4, "big")).decode("ascii")

    def sha256(self) -> str:
        """The checksum as S3's header has it: base64."""
        digest = hashlib.sha256()
        for part in self._parts:
            digest.update(part)
        return base64.b64encode(digest.digest()).decode("ascii")
