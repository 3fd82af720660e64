"""What an agent sends, up to a limit: an agent that was taken over must not fill the coordinator's memory.

In: an answer's stream. Out: the whole body, or the lines of events; `TooLarge` for more than the protocol has.
"""

from collections.abc import AsyncIterator

import aiohttp

MOST_OF_AN_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer about one command, destination, job, backup or node; a node's report in a cluster of a thousand
with 256 tokens each has 6 MB."""
MOST_OF_AN_EVENT = 64 * 1024 * 1024
"""Bytes of one event: of a command over many thousand tables."""
EVENT_OF_A_COMMAND = b"command"


class TooLarge(Exception):
    """More bytes than any agent sends. The connection is of no use any more."""


async def whole_body(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The answer's body. Raises `TooLarge`, at once where its length is told, and what the connection raises."""
    if (response.content_length or 0) > most:
        raise TooLarge(f"an answer of more than {most} bytes")
    parts: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > most:
            raise TooLarge(f"an answer of more than {most} bytes")
        parts.append(chunk)
    return b"".join(parts)


async def event_data(stream: aiohttp.StreamReader, most: int = MOST_OF_AN_EVENT) -> AsyncIterator[bytes]:
    """The data of each event of a stream (SSE) that is of a command; b"" for each line that is no data. Events of other
    types are those of a later release. Raises `TooLarge`, also for an event of many short lines that never ends."""
    data: list[bytes] = []
    size = 0
    of_command = True
    async for line in _lines(stream, most):
        if line.startswith(b"data:"):
            data.append(line[5:].lstrip(b" "))
            size += len(line) + 1
            if size > most:
                raise TooLarge(f"an event of more than {most} bytes")
            del line  # whoever waits for the next one keeps nothing of this one
        elif line == b"" and data:
            event = b"\n".join(data) if of_command else b""
            data, size, of_command = [], 0, True
            yield event
            del event
        else:
            if line == b"":
                of_command = True
            elif line.startswith(b"event:"):
                of_command = line[6:].strip() == EVENT_OF_A_COMMAND
            yield b""


async def _lines(stream: aiohttp.StreamReader, most: int) -> AsyncIterator[bytes]:
    """Lines without their ends; not `readline`, which refuses lines longer than the stream's buffer."""
    rest = bytearray()
    async for chunk in stream.iter_any():
        rest += chunk
        if b"\n" in chunk:  # only then: to look through a long line at each chunk takes the square of its length
            *whole, rest = rest.split(b"\n")
            del chunk  # whoever waits for the next line keeps nothing of this one
            whole.reverse()
            while whole:
                yield bytes(whole.pop().removesuffix(b"\r"))
        if len(rest) > most:
            raise TooLarge(f"an event of more than {most} bytes")
