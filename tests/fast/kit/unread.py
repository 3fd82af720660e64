"""Requests that no HTTP parser takes, sent as bytes. In: a service's port. Out: status and body of each answer."""

import asyncio
import json
from typing import Any

UNREAD: list[tuple[str, bytes, int, str]] = [
    ("a path of 70,000 characters", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
    (
        "a query of 70,000 characters",
        b"GET /health?x=" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        414,
        "uri_too_long",
    ),
    (
        "a header of 70,000 characters",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 70_000 + b"\r\n\r\n",
        431,
        "headers_too_large",
    ),
    ("no request line", b"rubbish\r\n\r\n", 400, "bad_request"),
    ("another version", b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n", 400, "bad_request"),
    ("another method", b"BREW /health HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
    ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad_request"),
    ("no host", b"GET /health HTTP/1.1\r\n\r\n", 400, "bad_request"),
    ("half an address", b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
    ("bytes in the path", b"GET /\xff\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
    ("a wish nobody knows", b"GET /health HTTP/1.1\r\nHost: x\r\nExpect: canary\r\n\r\n", 417, "expectation_failed"),
    ("a wish at no path", b"GET /canary HTTP/1.1\r\nHost: x\r\nExpect: canary\r\n\r\n", 417, "expectation_failed"),
    ("no length", b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: canary\r\n\r\n", 400, "bad_request"),
]


async def send(host: str, port: int, request: bytes) -> tuple[int, str, Any]:
    """Status, content type and JSON of the answer to these bytes; the service closes the connection after it."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        writer.close()
    return int(head.split(" ", 2)[1]), headers["content-type"].split(";")[0], json.loads(body)
