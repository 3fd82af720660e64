"""What a backup holds under object lock costs no more requests than it must, and holds nothing that isn't its own."""

from collections.abc import Sequence
from pathlib import Path

from agent.plan.holding import Held
from agent.plan.objects import ObjectIndex
from agent.repository.hold_notes import HoldNotes, HoldPlace
from agent.repository.holding import Holding, Lock
from agent.repository.keys import REPOSITORY, cluster_key, data_key, data_prefix, named_key, plan_key
from agent.wire.object_lock import DAY, ObjectLock
from tests.fast.storage.locked_memory import LockedMemory

CLUSTER, HOST = "c1", "11111111-2222-3333-4444-555555555555"
OWN = [REPOSITORY, cluster_key(CLUSTER), plan_key(CLUSTER, "t1"), named_key("nodes", CLUSTER)]
LOCK = ObjectLock("compliance", 4, "control")
HOUR = 3600.0


class Bucket(LockedMemory):
    """Notes each extension, and what was listed. `now`: unix seconds."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.held_together: list[list[str]] = []
        self.listed: list[str] = []
        super().__init__(LOCK, lambda: self.now, clock=lambda: self.now, hook=self._note)

    async def _note(self, verb: str, key: str) -> None:
        if verb == "list":
            self.listed.append(key)

    async def hold(self, keys: Sequence[str], until: float) -> None:
        assert until == LOCK.until(self.now)
        self.held_together.append(list(keys))
        await super().hold(keys, until)

    def extended(self) -> list[list[str]]:
        """The extensions since the last look."""
        found, self.held_together, self.listed = self.held_together, [], []
        return found


def _holding(bucket: Bucket, notes: Path) -> Holding:
    place = HoldPlace("d1", ("s3", "bucket"), "r1", CLUSTER, HOST)
    lock = Lock(LOCK, HoldNotes(notes), place.store, lambda: bucket.now)
    return Holding(lock, bucket, place, encrypted=False)


async def _objects(bucket: Bucket, count: int) -> tuple[ObjectIndex, list[str]]:
    """So many objects of the node, and their keys."""
    index, keys = ObjectIndex(), []
    for number in range(count):
        name = number.to_bytes(2, "big") + bytes(30)
        index.add(name, 1, 0)
        keys.append(data_key(CLUSTER, HOST, name))
        await bucket.put(keys[-1], [b"x"])
    return index, keys


async def test_what_is_held_to_the_second_is_held_long_enough(tmp_path: Path) -> None:
    """Promise: the files that every backup needs, and another cluster's never, are extended when their lock ends a
    moment too early, and cost no request while it ends in time."""
    bucket = Bucket()
    other = named_key("nodes", "c2")
    for key in (*OWN, other):
        await bucket.put(key, [b"{}"])
    holding = _holding(bucket, tmp_path)
    bucket.now += DAY - HOUR  # four days and an hour are left of the five
    await holding.hold("t1", ObjectIndex(), Held())
    assert bucket.extended() == []
    bucket.now += 1.0
    await holding.hold("t1", ObjectIndex(), Held())
    assert bucket.extended() == [[key] for key in OWN]
    assert bucket.held[other] == LOCK.until(1_000_000.0)


async def test_objects_are_held_side_by_side(tmp_path: Path) -> None:
    """Promise: what is owed goes to the store by the hundreds, and an even number of them leaves no empty request; what
    the manifest doesn't name, or names with another size, is none of it."""
    bucket = Bucket()
    index, keys = await _objects(bucket, 300)
    await bucket.put(data_key(CLUSTER, HOST, b"\xff" * 32), [b"x"])
    cut = data_key(CLUSTER, HOST, b"\xfe" * 32)
    await bucket.put(cut, [b"x"])
    index.add(b"\xfe" * 32, 2, 0)
    await _holding(bucket, tmp_path).hold("t1", index, Held())
    assert bucket.extended() == [keys[:256], keys[256:]]
    few = Bucket()
    index, keys = await _objects(few, 256)
    await _holding(few, tmp_path / "few").hold("t1", index, Held())
    assert few.extended() == [keys]


async def test_what_is_noted_as_held_is_not_even_listed(tmp_path: Path) -> None:
    """Promise: a backup that reuses what the last one saw to, and puts the rest, lists no objects to hold them; its
    note says of all of them what is true of the first to end."""
    bucket = Bucket()
    index, keys = await _objects(bucket, 3)
    holding = _holding(bucket, tmp_path)
    await holding.hold("t1", index, Held())
    assert bucket.extended() == [keys]
    first = LOCK.until(bucket.now)
    bucket.now += DAY / 2
    fresh = Held()
    fresh.add(b"\xff" * 32, 1, 0, LOCK.until(bucket.now))
    index.add(b"\xff" * 32, 1, 0)
    await bucket.put(data_key(CLUSTER, HOST, b"\xff" * 32), [b"x"])
    await holding.hold("t2", index, fresh)
    assert data_prefix(CLUSTER, HOST) not in bucket.listed
    assert bucket.extended() == []
    noted = HoldNotes(tmp_path).read(HoldPlace("d1", ("s3", "bucket"), "r1", CLUSTER, HOST))
    assert noted is not None
    assert (len(noted.names), noted.until) == (len(index), first)
