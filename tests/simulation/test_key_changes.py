"""Key slots, and a crash at every request of each change of them; two agents that change them at a time."""

import pytest

from agent.repository.key_slots import add_slot, make_first, remove_superseded, rotate
from agent.repository.sole_creation import Create
from agent.storage.protocol import Storage
from tests.simulation.crashes import OneFault
from tests.simulation.key_changes import (
    ADDED,
    CHEAP,
    KEPT,
    KNOWN,
    LEFT_OUT,
    REPOSITORY,
    Change,
    Place,
    at_a_time,
    crash,
)
from tests.simulation.loop import simulate
from tests.simulation.process import Calm

SEEDS = 150


async def first(storage: Storage, create: Create) -> object:
    return await make_first(storage, REPOSITORY, KNOWN, CHEAP, create)


async def three(storage: Storage, create: Create) -> object:
    """Slots for the secret that is known and two others."""
    await first(storage, create)
    await add_slot(storage, REPOSITORY, KNOWN, KEPT, CHEAP, create)
    return await add_slot(storage, REPOSITORY, KNOWN, LEFT_OUT, CHEAP, create)


async def rotated(storage: Storage, create: Create) -> object:
    return await rotate(storage, REPOSITORY, KNOWN, [KEPT], CHEAP, create)


async def superseded(storage: Storage, create: Create) -> object:
    await three(storage, create)
    return await rotated(storage, create)


async def added(storage: Storage, create: Create) -> object:
    return await add_slot(storage, REPOSITORY, KNOWN, ADDED, CHEAP, create)


async def removed(storage: Storage, create: Create) -> object:
    return await remove_superseded(storage, REPOSITORY, KNOWN)


CHANGES = {
    "make the first slot": Change(None, first, [KNOWN]),
    "add a slot": Change(three, added, [KNOWN, KEPT, LEFT_OUT, ADDED]),
    "rotate": Change(three, rotated, [KNOWN, KEPT], shut=[LEFT_OUT]),
    "remove superseded slots": Change(superseded, removed, [KNOWN, KEPT], shut=[LEFT_OUT], removes=True),
}


def prepared(change: Change, *, conditional: bool) -> Place:
    place = Place(conditional)
    if change.before is not None:
        simulate(place.run(change.before, Calm()))
    return place


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_keys_that_crashes_anywhere_shuts_nobody_out(change: str, conditional: bool) -> None:
    """Promise: whichever request a change dies at, or whichever answer is lost, no slot that counts is gone or another,
    the known secret opens all that was sealed before, and the same change comes to its end; where the store can't
    create only if absent it may leave one claim to be removed."""
    before = prepared(CHANGES[change], conditional=conditional)
    whole = OneFault(None)
    crash(CHANGES[change], before, whole)
    assert whole.count >= 5
    left = 0
    for at in range(1, whole.count + 1):
        faults = OneFault(at)
        place = crash(CHANGES[change], before, faults)
        assert faults.told
        left += place.claims
    assert (left > 0) == (not conditional and change != "remove superseded slots")


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("change", ["make the first slot", "rotate"])
def test_two_agents_at_a_time_are_given_keys_that_stand(change: str, conditional: bool) -> None:
    """Promise: however slow either's requests are, every keyring that was given out is one that the slots hold."""
    before = prepared(CHANGES[change], conditional=conditional)
    given = 0
    for seed in range(SEEDS):
        place = before.copy()

        async def both(place: Place = place, seed: int = seed) -> int:
            rings = await at_a_time(place, CHANGES[change].work, seed)
            await place.finish(CHANGES[change].work)
            stands = await place.opened(KNOWN)
            assert stands is not None
            for ring in rings:
                assert (ring.name_key, ring.sealing.items() <= stands.sealing.items()) == (stands.name_key, True)
            return len(rings)

        try:
            given += simulate(both())
        except Exception as error:
            error.add_note("\n".join([f"seed {seed}", *place.trace]))
            raise
    assert given > SEEDS
