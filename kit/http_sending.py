"""Answers that are with the client before an endpoint ends. In: a request and its answer. Out: the answer, sent, or a
connection that is closed: who doesn't read would keep what others wait for, and half an answer must not look whole."""

import asyncio

from aiohttp import web


async def send_within(seconds: float, request: web.Request, response: web.StreamResponse) -> None:
    """Send all of it. A client that takes longer than `seconds` to read it is cut off."""
    try:
        async with asyncio.timeout(seconds):
            await response.prepare(request)
            await response.write_eof()
    except ConnectionError:  # nobody is there any more to be answered
        return
    except TimeoutError:
        cut_off(request)


def cut_off(request: web.Request) -> None:
    """So that nobody takes a part of the answer for the whole."""
    if request.transport is not None:
        request.transport.abort()
