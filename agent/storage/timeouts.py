"""How long a store may be silent. In: nothing. Out: the time-outs that every provider over HTTP keeps."""

import msgspec

from agent.storage.throttle import LEAST_PER_STREAM

MOST_BUFFERED = 4 * 1024 * 1024
"""Bytes that Linux lets a connection buffer (the third number of net.ipv4.tcp_wmem)."""


class Timeouts(msgspec.Struct, frozen=True):
    """When a silent store is given up. Seconds: `connect` for a connection and for 64 KiB to leave, `read` while an
    answer is awaited. The answer to a put gets more time: when the last byte was written, as much as fits in a
    socket's buffer may still be on its way, at `least_rate` bytes per second."""

    connect: float = 5.0
    read: float = 20.0
    least_rate: float = LEAST_PER_STREAM

    def for_answer(self, size: int) -> float:
        """Seconds that the answer to a put of `size` bytes may take."""
        return self.read + min(size, MOST_BUFFERED) / self.least_rate


def asked_wait(header: str | None) -> float | None:
    """Retry-After in seconds; its other form, a date, is not worth the trouble."""
    return float(header) if header is not None and header.isdigit() else None
