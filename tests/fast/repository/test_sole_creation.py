"""Key slots in a store that can't create only if absent: two agents at a time, interleaved at every operation."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from agent.crypto.errors import EncryptionKeyWrong
from agent.crypto.keyring import Keyring
from agent.crypto.slots import Cost, Unlocking
from agent.repository import checked_text
from agent.repository.attach import RepositoryFile, attach
from agent.repository.errors import KeySlotClaimed, RepositoryMismatch
from agent.repository.key_slots import add_slot, make_first, read_slots, rotate, unlock
from agent.repository.keys import CLAIMS, KEY_SLOTS, REPOSITORY, claims_prefix, slot_key
from agent.repository.sole_creation import SETTLE_SECONDS, Claiming
from agent.storage.protocol import OPEN, Buffer, Entry, Gate, Put, Storage
from tests.fast.storage.memory import MemoryStorage

CHEAP = Cost(8, 1, 1)
ONE, TWO = (Unlocking("passphrase", name) for name in (b"one", b"two"))
SETTLED = 0.05
"""Seconds that stand for those that a claim has to settle."""


class LooksThenPuts(MemoryStorage):
    """A store without «create only if absent», as an agent uses it."""

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        there = None if replace else await self.head(key)
        if there is not None:
            return Put(created=False, size=there.size)
        return await super().put(key, body, replace=True, gate=gate)


class Held:
    """Holds one operation back, for longer than a claim has to settle, while everything else goes on."""

    def __init__(self, at: int) -> None:
        self._at = at
        self.count = 0

    async def __call__(self, verb: str, key: str) -> None:
        self.count += 1
        await asyncio.sleep(2 * SETTLED if self.count == self._at else 0)


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds / SETTLE_SECONDS * SETTLED)


claiming = Claiming(_sleep)


async def _nothing() -> None:
    return None


def _noting(waited: list[float], then: Callable[[], Awaitable[None]] = _nothing) -> Callable[[float], Awaitable[None]]:
    """Takes no time; `then` is what happens meanwhile."""

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await then()

    return sleep


def _claims(store: MemoryStorage) -> list[str]:
    return [key for key in store._objects if key.startswith(CLAIMS)]


async def test_two_agents_that_make_the_first_slot_seal_with_one_key_set() -> None:
    """Promise: whichever operation of either is held back, both have the keys that the slot holds, and no claim is
    left."""
    held = Held(0)
    at = 0
    while at <= held.count:
        at += 1
        held = Held(at)
        store = LooksThenPuts(hook=held)
        first, second = await asyncio.gather(*(make_first(store, "r1", ONE, CHEAP, claiming) for _ in range(2)))
        stands = await unlock(await read_slots(store), "r1", ONE)
        assert first.name_key == second.name_key == stands.name_key, at
        assert _claims(store) == []
    assert at > 15


async def test_an_agent_with_another_passphrase_is_refused_there_too() -> None:
    """Promise: of two secrets one makes the repository, and the other's agent seals nothing."""
    for at in range(16):
        store = LooksThenPuts(hook=Held(at))
        outcomes = await asyncio.gather(
            *(make_first(store, "r1", one, CHEAP, claiming) for one in (ONE, TWO)), return_exceptions=True
        )
        assert [type(one) for one in outcomes if not isinstance(one, Keyring)] == [EncryptionKeyWrong]


async def test_two_rotations_seal_with_keys_that_stand() -> None:
    """Promise: of two rotations at a time no keyring is given out whose slot the other one replaced."""
    store = LooksThenPuts()
    await make_first(store, "r1", ONE, CHEAP, claiming)
    held: list[str] = []

    async def hook(verb: str, key: str) -> None:
        await asyncio.sleep(0)
        if (verb, key) == ("put", slot_key(1)) and not held:
            held.append(key)
            await asyncio.sleep(0.3)  # long enough for the other one to have sealed

    store._hook = hook
    first, second = await asyncio.gather(*(rotate(store, "r1", ONE, (), CHEAP, claiming) for _ in range(2)))
    newest = await unlock(await read_slots(store), "r1", ONE)
    for ring in (first, second):
        assert ring.sealing.items() <= newest.sealing.items()
    assert _claims(store) == []


async def test_two_slots_that_are_added_at_a_time_both_stand() -> None:
    """Promise: each added secret has a slot of its own."""
    store = LooksThenPuts()
    await make_first(store, "r1", ONE, CHEAP, claiming)
    key_file = Unlocking("key_file", bytes(40))
    numbers = await asyncio.gather(*(add_slot(store, "r1", ONE, one, CHEAP, claiming) for one in (TWO, key_file)))
    assert sorted(numbers) == [1, 2]
    for one in (ONE, TWO, key_file):
        await unlock(await read_slots(store), "r1", one)


async def test_a_claim_of_an_agent_that_was_killed_is_named() -> None:
    """Promise: what a kill left stops the next one, which says what to remove; without it the slot is made."""
    store = LooksThenPuts()
    left = f"{claims_prefix(slot_key(0))}0"
    await store.put(left, [b"claim"])
    waited: list[float] = []
    with pytest.raises(KeySlotClaimed) as caught:
        await make_first(store, "r1", ONE, CHEAP, Claiming(_noting(waited)))
    assert caught.value.fields == {"key": left}
    assert waited == [SETTLE_SECONDS] * 12
    assert list(store._objects) == [left]
    await store.delete([left])
    assert (await make_first(store, "r1", ONE, CHEAP, claiming)).epoch == 1


async def test_what_comes_at_the_last_look_is_taken() -> None:
    """Promise: an agent that needs as long as the other waits is waited for."""
    store = LooksThenPuts()
    left = f"{claims_prefix(slot_key(0))}0"
    await store.put(left, [b"claim"])
    waited: list[float] = []

    async def come() -> None:
        if len(waited) == 12:
            await store.delete([left])
            await make_first(store, "r1", ONE, CHEAP)

    ring = await make_first(store, "r1", ONE, CHEAP, Claiming(_noting(waited, come)))
    assert ring.name_key == (await unlock(await read_slots(store), "r1", ONE)).name_key


async def test_who_waits_for_one_that_gives_up_makes_the_slot() -> None:
    """Promise: an agent that was stopped before it put its slot leaves the repository to the next one, which doesn't
    take it for one whose slots are gone."""
    store = LooksThenPuts()
    begun = asyncio.Event()

    async def for_ever(seconds: float) -> None:
        begun.set()
        await asyncio.Event().wait()

    first = asyncio.create_task(make_first(store, "r1", ONE, CHEAP, Claiming(for_ever)))
    await asyncio.wait_for(begun.wait(), 10)
    waited: list[float] = []

    async def give_up() -> None:
        if len(waited) == 3:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

    ring = await make_first(store, "r1", TWO, CHEAP, Claiming(_noting(waited, give_up)))
    assert (await unlock(await read_slots(store), "r1", TWO)).name_key == ring.name_key
    assert (len(waited), _claims(store)) == (4, [])


async def test_a_store_that_never_shows_a_claim_is_given_up() -> None:
    """Promise: where nobody can see who was first nothing is made, no claim is left, and the error says where to look
    for them."""

    class Blind(LooksThenPuts):
        async def list(self, prefix: str) -> AsyncIterator[Entry]:
            async for entry in super().list(prefix):
                if not entry.key.startswith(CLAIMS):
                    yield entry

    store = Blind()
    with pytest.raises(KeySlotClaimed) as caught:
        await make_first(store, "r1", ONE, CHEAP, Claiming(_noting([])))
    assert caught.value.fields == {"key": claims_prefix(slot_key(0))}
    assert store._objects == {}


async def test_the_claim_that_came_first_counts_whatever_its_name() -> None:
    """Promise: by the store's own times: one that comes while another settles keeps it from nothing, also with the
    lower name; of two of one time the lower name's goes on, so that one does."""
    for then, goes_on in ((2.0, True), (1.0, False)):
        store = LooksThenPuts(clock=lambda: 1.0)
        waited: list[float] = []

        async def come(store: MemoryStorage = store, then: float = then, waited: list[float] = waited) -> None:
            if len(waited) == 1:
                store._objects[f"{claims_prefix(slot_key(0))}a"] = b"claim", then

        mine = Claiming(_noting(waited, come), new_name=lambda: "m")
        if goes_on:
            await make_first(store, "r1", ONE, CHEAP, mine)
            assert len(waited) == 1
        else:
            with pytest.raises(KeySlotClaimed) as caught:
                await make_first(store, "r1", ONE, CHEAP, mine)
            assert caught.value.fields == {"key": f"{claims_prefix(slot_key(0))}a"}
            assert slot_key(0) not in store._objects


async def test_a_claim_goes_with_what_keeps_its_slot_from_being_put() -> None:
    """Promise: cancelled before the slot is put, nothing is left; while it is being put, the claim stays, for the slot
    may still come."""
    for verb, left in (("list", 0), ("put", 1)):
        store = LooksThenPuts()
        stuck = asyncio.Event()

        async def hook(
            asked: str, key: str, verb: str = verb, stuck: asyncio.Event = stuck, store: MemoryStorage = store
        ) -> None:
            settling = (asked, key) == ("list", claims_prefix(slot_key(0))) and _claims(store)
            if asked == verb and (settling or (asked, key) == ("put", slot_key(0))):
                stuck.set()
                await asyncio.Event().wait()

        store._hook = hook
        making = asyncio.create_task(make_first(store, "r1", ONE, CHEAP, claiming))
        await asyncio.wait_for(stuck.wait(), 10)
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)
        assert len(_claims(store)) == left
        assert slot_key(0) not in store._objects


async def test_whose_repository_was_replaced_meanwhile_seals_nothing() -> None:
    """Promise: where another agent's repository.json came in the place of ours while the keys were made, that is told
    before anything is sealed."""
    store, made = LooksThenPuts(), list[str]()

    class Keys:
        async def prove(self) -> None:
            """Nothing has to be read."""

        async def keyring(self, storage: Storage, repository_id: str, *, make: bool) -> Keyring:
            made.append(repository_id)
            keyring = await make_first(storage, repository_id, ONE, CHEAP, claiming)
            other = checked_text.encode(RepositoryFile("other", 2, True))
            await store.put(REPOSITORY, [other], replace=True)
            return keyring

    with pytest.raises(RepositoryMismatch, match="meanwhile") as replaced:
        await attach(store, keys=Keys(), initialise=True, repository_id=None, cluster_id=None, cluster_name="test")
    assert {key for key in store._objects if not key.startswith(KEY_SLOTS)} == {REPOSITORY}
    assert replaced.value.fields == {"found": "other", "wanted": made[0]}
