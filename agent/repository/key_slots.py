"""The key slots in a destination. In: an open store and a passphrase or key file. Out: the keyring, and new slots.

A slot is created only if absent and never replaced. What counts are the slots of the newest epoch; of two key sets of
one epoch (two rotations at a time) the one of the lowest slot. So whoever loses a race finds the winner's slot, and
nothing is ever sealed with keys that no slot that counts holds: a keyring is given out only after its slot was read
back. Where the store can't create only if absent, `create` sees to it (agent.repository.sole_creation).

Nothing here removes a slot that counts. `rotate` leaves out the secrets it isn't given; `remove_superseded` removes
slots of older epochs, and only after a newer slot was opened in the same call: the newer one wraps all their keys.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from typing import Any, NamedTuple, cast

import msgspec

from agent.crypto.errors import EncryptionKeyWrong, EncryptionNotPossible, KeySlotInvalid
from agent.crypto.keyring import Keyring
from agent.crypto.slots import DEFAULT, Cost, Slot, Unlocking, check_bounds, new_keyring, rotated, unwrapped, wrapped
from agent.repository.bounded import read_bounded
from agent.repository.errors import EncryptionKeySuperseded, KeySlotsGone, ManifestInvalid
from agent.repository.keys import CLUSTERS, KEY_SLOTS, parse_slot, slot_key
from agent.repository.sole_creation import Create, at_once
from agent.storage.protocol import Entry, NotFound, Storage

MOST_SLOTS = 256
"""Slots that are read. More were not made by agents, or by a rotation a day."""
_MOST_BYTES = 512 * 1024
"""More than twice a slot of as many epochs as there may be."""
_MOST_TRIES = 32
"""Slots whose passphrase is tried: each costs a tenth of a second, and whoever can write may add some."""
_slot = msgspec.json.Decoder(Slot)


class Slots(NamedTuple):
    """What stands below keys/. `current`: the slots that count, by number; `older`: of epochs before, newest first;
    `next`: the first free number."""

    current: list[Slot]
    older: list[Slot]
    next: int


async def listed(storage: Storage) -> list[Entry]:
    """The key slots' entries in the order of their numbers. Raises a StorageError."""
    numbered: dict[int, Entry] = {}
    # Every provider's listing is an async generator; closing it gives back its connection.
    async with aclosing(cast("Any", storage.list(KEY_SLOTS))) as entries:
        async for entry in cast("AsyncIterator[Entry]", entries):
            number = parse_slot(entry.key)
            if number is not None:
                numbered[number] = entry
            if len(numbered) > MOST_SLOTS:
                raise KeySlotInvalid(f"there are more than {MOST_SLOTS} key slots", most=MOST_SLOTS)
    return [numbered[number] for number in sorted(numbered)]


async def read_slots(storage: Storage, entries: Sequence[Entry] | None = None) -> Slots:
    """The slots, those of `entries` if given. One that can't be read is left out while another counts. Raises
    KeySlotInvalid, a StorageError."""
    if entries is None:
        entries = await listed(storage)
    slots, invalid = [], None
    for entry in entries:
        try:
            slots.append(await _read(storage, entry))
        except KeySlotInvalid as error:
            invalid = error
    if not slots and invalid is not None:
        raise invalid
    newest = max((slot.epoch for slot in slots), default=0)
    newest_slots = [slot for slot in slots if slot.epoch == newest]
    current = [slot for slot in newest_slots if slot.key_set == newest_slots[0].key_set]
    older = sorted((slot for slot in slots if slot.epoch < newest), key=lambda slot: -slot.epoch)
    return Slots(current, older, max((parse_slot(entry.key) or 0 for entry in entries), default=-1) + 1)


async def unlock(slots: Slots, repository_id: str, unlocking: Unlocking) -> Keyring:
    """The keyring of the slots that count. It takes a tenth of a second for each that has to be tried. Raises
    EncryptionKeyWrong, EncryptionKeySuperseded, KeySlotsGone, KeySlotInvalid, EncryptionNotPossible."""
    if not slots.current:
        raise KeySlotsGone("the repository is encrypted, and no key slot is there", key=KEY_SLOTS)
    keyring = await _opened(slots.current, unlocking, repository_id)
    if keyring is not None:
        return keyring
    if await _opened(slots.older, unlocking, repository_id) is not None:
        epoch, keys = slots.current[0].epoch, [slot_key(slot.number) for slot in slots.current]
        raise EncryptionKeySuperseded(
            f"the {unlocking.kind} opens only key slots of before epoch {epoch}: {', '.join(keys)}",
            epoch=epoch,
            keys=keys,
            setting="encryption",
        )
    raise EncryptionKeyWrong(
        f"the {unlocking.kind} opens none of the repository's {len(slots.current)} key slots", setting="encryption"
    )


async def make_first(
    storage: Storage, repository_id: str, unlocking: Unlocking, cost: Cost = DEFAULT, create: Create = at_once
) -> Keyring:
    """The keyring of a new repository: of its first slot, whoever made that. Nothing is made where data is there
    already: another agent may have made it all since this one looked. Raises as `unlock`, KeySlotClaimed, and a
    StorageError."""
    if not await holds_data(storage):
        await _add(storage, repository_id, new_keyring(), unlocking, 0, cost, create)
    return await unlock(await read_slots(storage), repository_id, unlocking)


async def add_slot(
    storage: Storage,
    repository_id: str,
    known: Unlocking,
    added: Unlocking,
    cost: Cost = DEFAULT,
    create: Create = at_once,
) -> int:
    """A slot for one more secret, which from then on opens all that `known` does; its number. Raises as `make_first`,
    and EncryptionNotPossible when there is no room."""
    while True:
        slots = await read_slots(storage)
        keyring = await unlock(slots, repository_id, known)
        if not await _add(storage, repository_id, keyring, added, slots.next, cost, create):
            continue  # another slot came in between
        with suppress(EncryptionKeySuperseded):  # a rotation came in between, and doesn't know of this one
            await unlock(await read_slots(storage), repository_id, added)
            return slots.next


async def rotate(
    storage: Storage,
    repository_id: str,
    known: Unlocking,
    kept: Sequence[Unlocking] = (),
    cost: Cost = DEFAULT,
    create: Create = at_once,
) -> Keyring:
    """A new epoch: what is sealed from then on needs a key that only `known` and `kept` open. Nothing that is stored is
    written anew. Of two rotations at a time one counts; the other's secret is superseded, unless the first one kept it.

    Cut short, the new epoch has the slot of `known` and maybe not yet those of `kept`: `add_slot` gives them theirs.
    Raises as `add_slot`.
    """
    before = newest = await unlock(await read_slots(storage), repository_id, known)
    while newest.epoch == before.epoch:
        slots = await read_slots(storage)
        newest = await unlock(slots, repository_id, known)
        if newest.epoch == before.epoch:
            await _add(storage, repository_id, rotated(newest), known, slots.next, cost, create)
    for one in kept:
        await add_slot(storage, repository_id, known, one, cost, create)
    return newest


async def remove_superseded(storage: Storage, repository_id: str, known: Unlocking) -> list[int]:
    """Remove the slots of epochs before the newest, which `known` opens; their numbers. Whoever learns a retired secret
    later finds nothing that it opens; whoever kept a copy of the slot does. Raises as `make_first`."""
    slots = await read_slots(storage)
    await unlock(slots, repository_id, known)
    if slots.older:
        await storage.delete([slot_key(slot.number) for slot in slots.older])
    return [slot.number for slot in slots.older]


async def holds_data(storage: Storage) -> bool:
    """Whether anything of a cluster is there. Raises a StorageError."""
    async with aclosing(cast("Any", storage.list(CLUSTERS))) as entries:
        async for _ in entries:
            return True
    return False


async def _opened(slots: Sequence[Slot], unlocking: Unlocking, repository_id: str) -> Keyring | None:
    """Of the first slot that it opens."""
    for slot in [one for one in slots if one.kind == unlocking.kind][:_MOST_TRIES]:
        with suppress(EncryptionKeyWrong):
            return await asyncio.to_thread(unwrapped, slot, unlocking, repository_id)
    return None


async def _add(
    storage: Storage,
    repository_id: str,
    keyring: Keyring,
    unlocking: Unlocking,
    number: int,
    cost: Cost,
    create: Create,
) -> bool:
    """Whether the slot is this call's: where a store says so wrongly, what stands there tells."""
    slot = await asyncio.to_thread(wrapped, keyring, unlocking, repository_id, number, cost)
    body = msgspec.json.encode(slot)
    if len(await listed(storage)) >= MOST_SLOTS:
        raise EncryptionNotPossible(
            "the repository has no room for another key slot: remove superseded ones", slot=number
        )
    await create(storage, slot_key(number), body)
    there = await storage.head(slot_key(number))
    if there is None or there.size != len(body):
        return False
    return await storage.get(slot_key(number), 0, len(body)) == body


async def _read(storage: Storage, entry: Entry) -> Slot:
    try:
        slot = _slot.decode(await read_bounded(storage, entry.key, entry.size, _MOST_BYTES))
    except (msgspec.DecodeError, ManifestInvalid, NotFound) as error:
        raise KeySlotInvalid(f"{entry.key} can't be read: {error}", key=entry.key) from error
    if slot_key(slot.number) != entry.key:
        raise KeySlotInvalid(f"{entry.key} says that it is slot {slot.number}", key=entry.key)
    check_bounds(slot)
    return slot
