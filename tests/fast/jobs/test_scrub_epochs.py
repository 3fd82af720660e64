"""What claims to be sealed in an epoch whose keys a scrub hasn't: a rotation came, or whoever can write forged it."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent.crypto.digest import DIGEST_SIZE, digest, digest_of
from agent.crypto.slots import Cost, Unlocking, wrapped
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.frame import HEADER_SIZE
from agent.repository.keys import manifest_key, plan_key, record_key, slot_key
from agent.repository.manifest import _TRAILER
from agent.wire.backups import SUCCESS, NodeRecord, Plan, PlannedNode, Record
from agent.wire.commands import State
from tests.fast.jobs.agent_in_memory import CLUSTER, Agent, Repositories, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup
from tests.fast.jobs.test_scrub import change, flipped, large, noted, objects, scrub
from tests.fast.jobs.test_stored_forms import KEYRING, ROTATED
from tests.fast.storage.memory import MemoryStorage

EPOCH = slice(8, 12)
"""Where the header of an object, and of a document, has it."""
MANIFEST = manifest_key(CLUSTER, "t1", HOST)


@pytest.fixture
def sealed(node: Node, store: MemoryStorage, tmp_path: Path) -> Iterator[Agent]:
    put_slot(store, 0)
    agent = Agent(node, {}, tmp_path / "sealed", repositories=Repositories({"d1": store}, {"d1": KEYRING}))
    yield agent
    agent.close()


def put_slot(store: MemoryStorage, number: int) -> None:
    """The slot of the first epoch, or of the second."""
    unlocking, keyring = Unlocking("passphrase", b"one"), (KEYRING, ROTATED)[number]
    slot = wrapped(keyring, unlocking, "r1", number, Cost(8, 1, 1))
    store._objects[slot_key(number)] = (msgspec.json.encode(slot), 1.0)


def claiming(stored: bytes, epoch: int) -> bytes:
    """The same object, said to be of that epoch; its footer is right."""
    header = stored[: EPOCH.start] + epoch.to_bytes(4, "big") + stored[EPOCH.stop : HEADER_SIZE]
    payload = stored[HEADER_SIZE:-DIGEST_SIZE]
    return header + payload + digest_of([header, digest(payload)])


def with_head_of(manifest: bytes, epoch: int) -> bytes:
    """The same manifest, whose head is said to be of that epoch; all digests are right."""
    magic, version, start, length, _, _ = _TRAILER.unpack(manifest[-_TRAILER.size :])
    tail = claiming(manifest[start : start + length], epoch)
    before = manifest[:start] + tail + _TRAILER.pack(magic, version, start, length, digest(tail), b"")[:-DIGEST_SIZE]
    return before + digest(before)


@pytest.mark.parametrize("epoch", [2, 999])
async def test_an_object_of_an_epoch_that_never_was_is_damaged(sealed: Agent, store: MemoryStorage, epoch: int) -> None:
    """Promise: junk with a right footer that claims keys to come is named and noted, an earlier note of it stays, and
    the next backup puts back what was there."""
    await sealed.backup.run(backup("t1"))
    key, right = large(store), objects(store)[large(store)]
    change(store, key, flipped(right, 1_000))
    await scrub(sealed, command="before")
    notes = noted(store)
    for _ in range(2):
        change(store, key, claiming(flipped(right, 1_000), epoch))
        outcome, result = await scrub(sealed)
        assert outcome.state is State.PARTIAL
        assert (result.damaged, result.healed, {one.key for one in result.places}) == (1, 0, {key})
        assert noted(store) == notes != []
    await sealed.backup.run(backup("t2"))
    assert objects(store)[key] == right


@pytest.mark.parametrize("slots", [1, 2])
async def test_what_was_sealed_after_a_rotation_is_the_next_scrubs(
    sealed: Agent, node: Node, store: MemoryStorage, tmp_path: Path, slots: int
) -> None:
    """Promise: a scrub that began before a rotation looks for the newest slot and takes nothing of the new epoch for
    damaged, be it manifest, frame, object, plan or record; without such a slot nobody can have sealed it."""
    rotated = Repositories({"d1": store}, {"d1": ROTATED})
    newer = Agent(node, {}, tmp_path / "newer", repositories=rotated)
    await newer.backup.run(backup("t1"))
    newer.close()
    async with rotated.opened(target()) as opened:
        await recorded(Catalogue(opened, RecordCache()))
    for number in range(slots):
        put_slot(store, number)
    outcome, result = await scrub(sealed)
    assert result.objects == (len(objects(store)) if slots == 2 else 0)
    assert (outcome.state, bool(noted(store))) == ((State.SUCCESS, False) if slots == 2 else (State.PARTIAL, True))
    assert result.backups == ([] if slots == 2 else ["t1"])
    del store._objects[MANIFEST]
    assert (await scrub(sealed, command="again"))[1].backups == ([] if slots == 2 else ["t1"])


async def test_a_manifest_of_an_epoch_that_never_was_is_told(sealed: Agent, store: MemoryStorage) -> None:
    """Promise: such a manifest stops no scrub: its backup is told, and damage elsewhere is found beside it."""
    await sealed.backup.run(backup("t1"))
    await sealed.backup.run(backup("t2"))
    change(store, MANIFEST, with_head_of(store._objects[MANIFEST][0], 999))
    key = large(store)
    change(store, key, flipped(objects(store)[key], 1_000))
    outcome, result = await scrub(sealed)
    assert outcome.state is State.PARTIAL
    assert {(one.tag, one.key, one.reason) for one in result.places} == {
        ("t1", MANIFEST, "sealing_key_unknown"),
        ("t2", key, "damaged"),
    }
    assert (result.damaged, result.backups, len(noted(store))) == (2, ["t1", "t2"], 1)


@pytest.mark.parametrize("key", [plan_key(CLUSTER, "t1"), record_key(CLUSTER, "t1", 0)])
async def test_a_plan_or_record_of_an_epoch_that_never_was_is_told(
    sealed: Agent, store: MemoryStorage, key: str
) -> None:
    """Promise: it stops no scrub either, and is named with its backup, with the node's manifest or without."""
    await sealed.backup.run(backup("t1"))
    async with Repositories({"d1": store}, {"d1": KEYRING}).opened(target()) as opened:
        await recorded(Catalogue(opened, RecordCache()))
    right = store._objects[key][0]
    change(store, key, right[: EPOCH.start] + (999).to_bytes(4, "big") + right[EPOCH.stop :])
    outcome, result = await scrub(sealed)
    assert outcome.state is State.PARTIAL
    assert [(one.tag, one.key, one.reason) for one in result.places] == [("t1", key, "sealing_key_unknown")]
    if key != plan_key(CLUSTER, "t1"):
        del store._objects[MANIFEST]
        assert [one.key for one in (await scrub(sealed, command="again"))[1].places] == [key]


async def recorded(catalogue: Catalogue) -> None:
    """The plan and the record of t1."""
    node = PlannedNode(HOST, "127.0.0.1", "dc1", "rack1", [])
    await catalogue.put_plan(Plan("t1", "adhoc", 5.0, "Test", CLUSTER, [node], {}, {}, "s1"))
    await catalogue.put_record(Record("t1", "adhoc", 5.0, SUCCESS, {}, [NodeRecord(HOST, "127.0.0.1", SUCCESS, {})]))
