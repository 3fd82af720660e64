"""The body of an upload, in one request that says what it holds. In: a name and buffers. Out: the same buffers between
a head and a tail, never copied, and their sum.

The SDK's own upload copies the whole object twice, and asks twice for what is larger than 8 MiB.
"""

import base64
import json
import secrets
from collections.abc import Sequence

import google_crc32c

from agent.storage.protocol import Buffer

STEP = 256 * 1024
"""Bytes that are copied at a time to be summed: the library takes nothing that might change."""


class Upload:
    """`parts`: what is sent. `content_type`: of all of it. `size`, `crc32c`: of the object alone, the sum as the store
    writes it (base64 of four bytes, big end first)."""

    def __init__(self, name: str, buffers: Sequence[Buffer]) -> None:
        views = [memoryview(part).cast("B") for part in buffers]
        self.size = sum(len(view) for view in views)
        self.crc32c = crc32c_of(views)
        about = {"name": name, "contentType": "application/octet-stream", "crc32c": self.crc32c}
        boundary = secrets.token_hex(24)  # so long that no object holds it
        self.content_type = f'multipart/related; boundary="{boundary}"'
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(about)}\r\n"
            f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        self.parts: list[Buffer] = [head.encode(), *views, f"\r\n--{boundary}--\r\n".encode()]


def crc32c_of(buffers: Sequence[Buffer]) -> str:
    """The CRC-32C of all buffers together, as the store writes it."""
    crc = 0
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        for at in range(0, len(view), STEP):
            crc = google_crc32c.extend(crc, bytes(view[at : at + STEP]))
    return base64.b64encode(crc.to_bytes(4, "big")).decode("ascii")
