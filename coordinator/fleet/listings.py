"""A listing of backups, however many there are. In: an agent's answer while it comes. Out: its backups; of a large
one, one at a time is in memory as text."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import aiohttp
import msgspec

from agent.wire.backups import BackupView
from coordinator.fleet.bounded import MOST_OF_AN_ANSWER
from coordinator.fleet.bulk import Bulk
from coordinator.fleet.json_items import json_items
from coordinator.fleet.lean_backups import MOST_KEPT, LeanBackups
from kit.slices import Slices

LONGEST = 5
"""Times the deadline of a call that reading a listing of more than `SMALL` bytes may take: a month of hourly backups of
a thousand nodes has a quarter of a gigabyte."""

SMALL = 8 * 1024 * 1024
"""Bytes up to which a listing is taken as it is: to look for the items' ends and to keep them lean costs more than all
else there is to do with them."""

_decode = msgspec.json.Decoder(BackupView).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


async def read_backups(
    url: str, bulk: Bulk, response: aiohttp.ClientResponse, deadline: float, most: int = MOST_KEPT
) -> list[BackupView]:
    """The backups that the agent at `url` lists, within the deadline; of a large listing within several. Raises
    `ListingTooLarge` when they take more than `most` bytes, `NoArray`, `TooLarge` for one that no agent has, and what
    reading and decoding raise."""
    views, begun = list[BackupView](), list[bytes]()
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout_at(began + deadline) as limit:
        pieces = response.content.iter_any()
        size = 0
        async for piece in pieces:
            begun.append(piece)
            size += len(piece)
            if size > SMALL:
                break
        else:
            slices = Slices()
            for each in await bulk.decoded(b"".join(begun), _decode_list):
                views.append(bulk.known.view(bytes(each)))
                await slices.pause()
            return views
        limit.reschedule(began + LONGEST * deadline)
        lean = LeanBackups(url, most)
        async for text in json_items(_again(begun, pieces), MOST_OF_AN_ANSWER):
            # Packed in the same turn: then it is as if the view had never been large.
            views.append(await bulk.decoded(text, partial(_read, lean)))
    return views


async def _again(begun: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """All pieces, those first that were read already."""
    begun.reverse()
    while begun:
        yield begun.pop()
    async for piece in rest:
        yield piece


def _read(lean: LeanBackups, text: bytes) -> BackupView:
    return lean.lean(_decode(text), len(text))
