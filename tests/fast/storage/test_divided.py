"""Promise: a store in two places is one store, whose keys never get to the wrong side."""

import random

import pytest

from agent.repository import keys
from agent.repository.control_keys import SIDES
from agent.storage.conformance import conform
from agent.storage.divided import Divided
from agent.storage.protocol import BucketNotLocked
from tests.fast.storage.memory import MemoryStorage

HOST = "11111111-2222-3333-4444-555555555555"
DATA = [keys.data_key("c1", HOST, bytes([number]) * 32) for number in range(3)]
CONTROL = [keys.intent_key("c1", HOST, "t1"), keys.adopted_key("c1", HOST), keys.deleted_key("c1", "t1")]
OTHERS = [keys.record_key("c1", "t1", 1), keys.manifest_key("c1", "t1", HOST), keys.plan_key("c1", "t1")]


class Calls:
    """What a side was asked."""

    def __init__(self) -> None:
        self.verbs: list[tuple[str, str]] = []

    async def __call__(self, verb: str, key: str) -> None:
        self.verbs.append((verb, key))


@pytest.fixture
def sides() -> tuple[MemoryStorage, MemoryStorage, Calls, Calls]:
    locked, control = Calls(), Calls()
    return MemoryStorage(hook=locked), MemoryStorage(hook=control), locked, control


Sides = tuple[MemoryStorage, MemoryStorage, Calls, Calls]


async def filled(sides: Sides) -> Divided:
    store = Divided(sides[0], sides[1], SIDES)
    everything = [*DATA, *CONTROL, *OTHERS]
    random.Random(3).shuffle(everything)
    for key in everything:
        await store.put(key, [key.encode()])
    return store


async def test_it_keeps_the_protocol() -> None:
    """Promise: the whole conformance suite passes, on each side's keys."""
    store = Divided(MemoryStorage(), MemoryStorage(), SIDES)
    for prefix in (keys.CHECKS + "x/", "elsewhere/", keys.CLUSTERS + "c1/"):
        results = await conform(store, prefix, big=False)
        assert [(one.name, one.detail) for one in results if one.outcome == "failed"] == []


async def test_each_key_lies_on_its_side_and_is_found_there(sides: Sides) -> None:
    """Promise: what is read back, listed in order and deleted is what was put, from whichever side."""
    store = await filled(sides)
    assert set(sides[0]._objects) == {*DATA, *OTHERS}
    assert set(sides[1]._objects) == set(CONTROL)
    assert [entry.key async for entry in store.list("")] == sorted([*DATA, *CONTROL, *OTHERS])
    for key in [*DATA, *CONTROL, *OTHERS]:
        assert await store.get(key) == key.encode()
        assert await store.head(key) is not None
    await store.delete([DATA[0], CONTROL[0], OTHERS[1]])
    assert [entry.key async for entry in store.list("")] == sorted([*DATA[1:], *CONTROL[1:], OTHERS[0], OTHERS[2]])


async def test_a_listing_of_one_sides_keys_asks_that_side_alone(sides: Sides) -> None:
    """Promise: the long listings cost no more than those of one store."""
    store = await filled(sides)
    for calls in sides[2:]:
        calls.verbs.clear()
    assert [entry.key async for entry in store.list(keys.data_prefix("c1", HOST))] == DATA
    assert [entry.key async for entry in store.list(keys.intents_prefix("c1", HOST))] == sorted(CONTROL[:2])
    assert sides[2].verbs == [("list", keys.data_prefix("c1", HOST))]
    assert sides[3].verbs == [("list", keys.intents_prefix("c1", HOST))]


async def test_what_lies_on_the_wrong_side_is_not_seen(sides: Sides) -> None:
    """Promise: a manifest that somebody puts into the unlocked place, or a mark into the locked one, is nothing."""
    store = await filled(sides)
    planted = keys.manifest_key("c1", "t2", HOST)
    await sides[1].put(planted, [b"forged"])
    await sides[0].put(keys.deleted_key("c1", "t9"), [b"forged"])
    assert await store.head(planted) is None
    assert [entry.key async for entry in store.list("")] == sorted([*DATA, *CONTROL, *OTHERS])


async def test_a_listing_can_be_given_up(sides: Sides) -> None:
    """Promise: whoever needs one entry leaves no listing open on either side."""
    store = await filled(sides)
    async for entry in store.list(""):
        assert entry.key == min(*DATA, *CONTROL, *OTHERS)
        break
    assert len([one async for one in store.list("")]) == 9


async def test_only_the_locked_side_is_held() -> None:
    """Promise: a store without lock says so instead of doing nothing."""
    store = Divided(MemoryStorage(), MemoryStorage(), SIDES)
    with pytest.raises(BucketNotLocked):
        await store.hold([DATA[0]], 1.0)
