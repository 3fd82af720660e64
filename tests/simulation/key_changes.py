"""Changes of key slots by processes that die. In: what is to be changed, and a fault. Out: what stands in the store,
judged: whoever had the keys has them, and nothing was sealed with keys that no slot holds.

A store that can't create only if absent is asked for a key first, and then given the object, which are two requests.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from agent.crypto.errors import EncryptionKeyWrong
from agent.crypto.keyring import Keyring
from agent.crypto.slots import Cost, Unlocking
from agent.repository.errors import EncryptionKeySuperseded, KeySlotClaimed
from agent.repository.key_slots import read_slots, unlock
from agent.repository.keys import KEY_SLOTS
from agent.repository.sole_creation import Claiming, Create, at_once
from agent.storage.protocol import OPEN, Buffer, Gate, Put, Storage
from agent.storage.retrying import Retrying
from tests.fast.storage.memory import MemoryStorage
from tests.simulation.loop import simulate, unix_now
from tests.simulation.process import Calm, Crash, Faults, Process
from tests.simulation.store import RemoteStorage

REPOSITORY = "r1"
CHEAP = Cost(8, 1, 1)
KNOWN = Unlocking("key_file", b"k" * 40)
KEPT = Unlocking("passphrase", b"one that stays")
LEFT_OUT = Unlocking("passphrase", b"one that goes")
ADDED = Unlocking("key_file", b"a" * 40)

Work = Callable[[Storage, Create], Awaitable[object]]
"""A change, or what is done before it."""


class Looking(RemoteStorage):
    """A store that can't create only if absent, as its providers use it."""

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        """Look, then put."""
        there = None if replace else await self.head(key)
        if there is not None:
            return Put(created=False, size=there.size)
        return await super().put(key, body, replace=True, gate=gate)


class Slow(Calm):
    """Each request and each answer is on its way for as long as is drawn: mostly not long, sometimes for longer than a
    claim has to settle."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def travel(self, what: str) -> tuple[float, float, float]:
        """See `Faults`."""
        most = self._random.choice((0.01, 0.01, 1.0, 20.0))
        return self._random.uniform(0, most), self._random.uniform(0, most), self._random.uniform(0, most)


@dataclass
class Place:
    """A store and what is asked of it. `conditional`: it creates only if absent."""

    conditional: bool = True
    store: MemoryStorage = field(default_factory=lambda: MemoryStorage(clock=unix_now))
    trace: list[str] = field(default_factory=list)
    claims: int = 0
    """those that were left, and removed by a person"""

    def copy(self) -> "Place":
        """As it is now, apart."""
        other = Place(self.conditional)
        other.store._objects.update(self.store._objects)
        return other

    async def run(self, work: Work, faults: Faults, name: str = "agent") -> object:
        """The work in a process of its own. Raises Crash, and what the work does."""
        process = Process(name, faults, self.trace.append)
        remote = (RemoteStorage if self.conditional else Looking)(self.store, process)
        storage = Retrying(remote, clock=asyncio.get_running_loop().time, part=lambda: 0.5)

        async def working() -> object:
            return await work(storage, at_once if self.conditional else Claiming())

        try:
            return await process.run(working())
        finally:
            if not process.dead:
                process.kill()
            await process.reap()

    async def finish(self, work: Work) -> object:
        """The work by a calm process; a claim that a killed one left is removed, as its error says."""
        try:
            return await self.run(work, Calm(), "next")
        except KeySlotClaimed as error:
            self.claims += 1
            await self.store.delete([str(error.fields["key"])])
            return await self.run(work, Calm(), "last")

    def slots(self) -> dict[str, bytes]:
        """The key slots' bytes."""
        return {key: body for key, (body, _) in self.store._objects.items() if key.startswith(KEY_SLOTS)}

    async def opened(self, unlocking: Unlocking) -> Keyring | None:
        """The keys that a secret opens; None: it opens none that count."""
        try:
            return await unlock(await read_slots(self.store), REPOSITORY, unlocking)
        except (EncryptionKeyWrong, EncryptionKeySuperseded):
            return None


@dataclass(frozen=True)
class Change:
    """`before` makes what is there, `work` is what dies. `opens`: the secrets that open afterwards; `shut`: those that
    don't, but did before; `removes`: slots may go."""

    before: Work | None
    work: Work
    opens: Sequence[Unlocking]
    shut: Sequence[Unlocking] = ()
    removes: bool = False


def crash(change: Change, before: Place, faults: Faults) -> Place:
    """The change until it dies, and by the next process to its end; each judged. What stands then. `before` is left."""
    place = before.copy()
    try:
        simulate(_crashed(change, place, faults))
    except Exception as error:
        error.add_note("\n".join(place.trace))
        raise
    return place


async def _crashed(change: Change, place: Place, faults: Faults) -> None:
    were, held = place.slots(), await place.opened(KNOWN) if place.slots() else None
    given: list[object] = []
    with contextlib.suppress(Crash):
        given.append(await place.run(change.work, faults))
    await _judge(change, place, were, held, given)
    given.append(await place.finish(change.work))
    await _judge(change, place, were, held, given)
    for unlocking in change.opens:
        assert await place.opened(unlocking) is not None
    for unlocking in change.shut:
        assert await place.opened(unlocking) is None


async def _judge(
    change: Change, place: Place, were: dict[str, bytes], held: Keyring | None, given: list[object]
) -> None:
    """What was there is there, and whoever has a keyring has keys that stand."""
    there = place.slots()
    assert all(there.get(key, body if change.removes else None) == body for key, body in were.items())
    known = await place.opened(KNOWN) if there else None
    assert known is not None or held is None
    for ring in [held, *given]:
        if isinstance(ring, Keyring):
            assert known is not None
            assert ring.name_key == known.name_key
            assert ring.sealing.items() <= known.sealing.items()


async def at_a_time(place: Place, work: Work, seed: int) -> list[Keyring]:
    """Two agents do the same at a time, however slow their requests are: the keyrings that they were given."""
    found = await asyncio.gather(
        *(place.run(work, Slow(2 * seed + number), f"a{number}") for number in range(2)), return_exceptions=True
    )
    wrong = [one for one in found if isinstance(one, BaseException) and not isinstance(one, KeySlotClaimed)]
    assert wrong == []
    return [one for one in found if isinstance(one, Keyring)]
