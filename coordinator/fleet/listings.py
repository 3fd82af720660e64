"""A listing of backups, however many there are. In: an agent's answer while it comes. Out: its backups, of which one
at a time is in memory as text."""

import asyncio
from functools import partial

import aiohttp
import msgspec

from agent.wire.backups import BackupView
from coordinator.fleet.bounded import MOST_OF_AN_ANSWER
from coordinator.fleet.bulk import Bulk
from coordinator.fleet.json_items import json_items
from coordinator.fleet.lean_backups import MOST_KEPT, LeanBackups

LONGEST = 5
"""Times the deadline of a call that reading a listing may take: a month of hourly backups of a thousand nodes has a
quarter of a gigabyte."""

_decode = msgspec.json.Decoder(BackupView).decode


async def read_backups(
    url: str, bulk: Bulk, response: aiohttp.ClientResponse, deadline: float, most: int = MOST_KEPT
) -> list[BackupView]:
    """The backups that the agent at `url` lists. Raises `ListingTooLarge` when they take more than `most` bytes,
    `NoArray`, `TooLarge` for one that no agent has, and what reading and decoding raise."""
    lean, views = LeanBackups(url, most), list[BackupView]()
    async with asyncio.timeout(LONGEST * deadline):
        async for text in json_items(response.content.iter_any(), MOST_OF_AN_ANSWER):
            # Packed in the same turn: then it is as if the view had never been large.
            views.append(await bulk.decoded(text, partial(_read, lean)))
    return views


def _read(lean: LeanBackups, text: bytes) -> BackupView:
    return lean.lean(_decode(text), len(text))
