"""Keyrings of destinations: how a first slot is created, by what is known of its store; and what an opening asks it."""

from collections import Counter
from pathlib import Path

import pytest

from agent.repository.keyrings import Keyrings
from agent.repository.keys import KEY_SLOTS, slot_key
from agent.repository.sole_creation import at_once
from agent.storage.protocol import Storage
from agent.wire.destinations import Encryption, LocalSettings, PutDestination, S3Settings, Settings
from tests.fast.repository.test_encrypted import CHEAP, Agent
from tests.fast.storage.memory import MemoryStorage

ONE = Encryption("one")
BUCKET = S3Settings(path="b", encryption=ONE)


@pytest.mark.parametrize(
    ("settings", "seen", "claims"),
    [(BUCKET, False, True), (BUCKET, True, False), (LocalSettings("here", encryption=ONE), False, False)],
)
async def test_a_slot_is_claimed_where_the_store_isnt_known_to_create_only_if_absent(
    tmp_path: Path, settings: Settings, seen: bool, claims: bool
) -> None:
    """Promise: a file system always does, a bucket once it was seen to; in all others a slot needs a claim, the first
    one and those that are added."""
    claimed: list[str] = []

    async def claiming(storage: Storage, key: str, body: bytes) -> None:
        claimed.append(key)
        await at_once(storage, key, body)

    agent = Agent(tmp_path, MemoryStorage())
    agent.keyrings = Keyrings(agent.destinations, agent._read, CHEAP, claiming)
    await agent.destinations.put("store", PutDestination(1, settings))
    await agent.destinations.remember("store", 1, conditional_create=seen)
    assert (await agent.attach()).made
    assert claimed == ([slot_key(0)] if claims else [])
    create = agent.keyrings.create_for(agent.destinations.record("store"))
    assert create is (claiming if claims else at_once)


async def test_an_opening_asks_for_the_listing_of_slots_once(tmp_path: Path) -> None:
    """Promise: one request tells whether the keys that are kept are still those; also where they must be derived, for
    the slots that are read are those that were listed."""
    asked: Counter[str] = Counter()

    async def count(verb: str, key: str) -> None:
        asked[verb] += key.startswith(KEY_SLOTS)

    store = MemoryStorage(hook=count)
    agent = Agent(tmp_path, store)
    await agent.destinations.put("store", PutDestination(1, LocalSettings("here", encryption=ONE)))
    made = await agent.attach()
    other = Agent(tmp_path, store)
    await other.destinations.load()
    record = other.destinations.record("store")
    for reads in (1, 0, 0):
        asked.clear()
        await other.keyrings.opened(record, store, made.repository_id, make=False)
        assert +asked == ({"list": 1, "get": reads} if reads else {"list": 1})
