"""Backups and sweeps under object lock, killed before every operation on the store: nothing that a backup needs is ever
unlocked before its days are over, and nothing is needed that has gone."""

import shutil
from pathlib import Path

import pytest

from agent.crypto.keyring import Keyring
from agent.crypto.slots import Cost, Unlocking
from agent.plan.objects import ObjectIndex
from agent.repository.hold_notes import HoldNotes, HoldPlace
from agent.repository.holding import Lock
from agent.repository.key_slots import make_first, read_slots, remove_superseded, rotate
from agent.repository.keys import REPOSITORY as REPOSITORY_FILE
from agent.repository.keys import (
    cluster_key,
    data_prefix,
    deleted_key,
    manifest_key,
    named_key,
    plan_key,
    record_key,
    slot_key,
)
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN, ObjectLocked
from agent.wire.commands import DeleteArguments, State, SweepArguments, SyncArguments
from agent.wire.object_lock import DAY, ObjectLock
from agent.wire.results import FreedPart
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Agent, Command, Faults, Repositories, target
from tests.fast.jobs.clock import Clock
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup, same
from tests.fast.jobs.test_crashes import until_crash
from tests.fast.repository.needed import needed_by
from tests.fast.storage.locked_memory import LockedPlace, LockedReader
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle

LOCK = ObjectLock("compliance", 4, "control")
CHEAP = Cost(8, 1, 1)


class Site:
    """A node and a locked destination, with agents that die. `now`: everybody's clock, unix seconds."""

    def __init__(self, root: Path, faults: Faults) -> None:
        self.now = 1_000_000.0
        self.root = root
        self.node = Node(root / "node")
        self.node.sstable("shop", "orders", 1, 1_300_000)
        self.node.sstable("many", "t1", 1, 500)
        self.place = LockedPlace(LOCK, lambda: self.now, clock=Clock(), hook=faults)
        self.oracle = Oracle(LockedReader(self.place))
        self.notes = HoldNotes(root / "state" / "holds")
        self.keyring: Keyring | None = None
        self.lock = Lock(LOCK, self.notes, ("s3", "bucket"), lambda: self.now)

    def agent(self) -> Agent:
        keyrings = {} if self.keyring is None else {"d1": self.keyring}
        repositories = Repositories({"d1": self.place}, keyrings, {"d1": self.lock})
        return Agent(self.node, {}, self.root / "state", repositories=repositories)

    async def run(self, kind: str, command: Command) -> object:
        agent = self.agent()
        try:
            return await getattr(agent, kind).run(command)
        finally:
            agent.close()

    async def held_for(self, tag: str) -> float:
        """Until when everything is held that the backup needs."""
        opened = OpenedRepository("d1", self.place, REPOSITORY, CLUSTER, OPEN, 4)
        return min(self.place.locked.held[key] for key in await needed_by(opened, tag, HOST))

    def is_there(self, tag: str) -> bool:
        return manifest_key(CLUSTER, tag, HOST) in self.place.objects


async def test_a_backup_killed_before_any_operation_is_never_there_without_its_lock(tmp_path: Path) -> None:
    """Promise: killed anywhere, amid an extension too: where there is a manifest, all that it names is held for its
    days; the resume holds what is owed and publishes."""
    faults = Faults()
    at = 0
    crashes = True
    while crashes:
        at += 1
        site = Site(tmp_path / str(at), faults)
        faults.begin(None)
        await site.run("backup", backup("t0"))
        site.now += 3 * DAY
        site.node.sstable("shop", "orders", 2, 40_000)
        faults.begin(at)
        command = backup("t1")
        crashes = await until_crash(site.agent(), command, "backup")
        faults.begin(None)
        site.oracle.check()
        assert await site.held_for("t0") >= LOCK.due(1_000_000.0)
        if site.is_there("t1"):
            assert await site.held_for("t1") >= LOCK.due(site.now)
        site.now += 60.0
        outcome = await site.run("backup", command)
        assert getattr(outcome, "state", None) is State.SUCCESS
        assert await site.held_for("t1") >= LOCK.due(site.now - 60.0)
        assert same(site.oracle.check(idle=True)["t1", HOST], site.node)
        shutil.rmtree(tmp_path / str(at))
    assert at > 20


async def test_a_sweep_killed_before_any_operation_leaves_what_is_locked(tmp_path: Path) -> None:
    """Promise: killed anywhere, before and after locks have ended, a sweep takes nothing that is needed or locked; the
    next ones free everything, and the mark of the deleted backup goes last."""
    faults = Faults()
    at = 0
    crashes = True
    while crashes:
        at += 1
        site = Site(tmp_path / str(at), faults)
        faults.begin(None)
        await site.run("backup", backup("t0"))
        site.now += 3 * DAY
        for path in site.node.table("shop", "orders").glob("nb-1-*"):
            path.unlink()
        await site.run("backup", backup("t1"))
        await site.run("delete", Command("d", DeleteArguments("t0", target())))
        site.oracle.deleted("t0")
        locked = set(site.place.locked._objects)
        await site.run("sweep", Command("s", SweepArguments(target(), margin_seconds=0.0)))
        assert set(site.place.locked._objects) == locked
        site.now += 2.5 * DAY  # t0's own locks have ended, t1's haven't
        site.place.locked._clock.now += 1_000_000.0  # type: ignore[attr-defined]
        faults.begin(at)
        command = Command("s", SweepArguments(target(), margin_seconds=0.0))
        crashes = await until_crash(site.agent(), command, "sweep")
        faults.begin(None)
        site.oracle.check()
        if site.is_there("t0"):
            assert deleted_key(CLUSTER, "t0") in site.place.objects
        await site.run("sweep", Command("s", SweepArguments(target(), margin_seconds=0.0)))
        assert same(site.oracle.check(idle=True)["t1", HOST], site.node)
        opened = OpenedRepository("d1", site.place, REPOSITORY, CLUSTER, OPEN, 4)
        assert set(site.place.objects) == await needed_by(opened, "t1", HOST)
        shutil.rmtree(tmp_path / str(at))
    assert at > 12


async def test_a_sync_from_elsewhere_holds_what_it_finds_too(tmp_path: Path) -> None:
    """Promise: a backup that is brought here from a destination without a lock is held like any other: what was put,
    and what an older backup had put days before."""
    site = Site(tmp_path, Faults())
    await site.run("backup", backup("t0"))
    site.now += 3 * DAY
    site.node.sstable("shop", "orders", 2, 40_000)
    repositories = Repositories({"d0": MemoryStorage(), "d1": site.place}, locks={"d1": site.lock})
    agent = Agent(site.node, {}, tmp_path / "state", repositories=repositories)
    await agent.backup.run(backup("t1", "d0"))
    arguments = SyncArguments("t1", [target("d1")], source=target("d0"), source_host_id=HOST)
    assert (await agent.sync.run(Command("y", arguments))).state is State.SUCCESS
    agent.close()
    assert await site.held_for("t1") >= LOCK.due(site.now)
    assert same(site.oracle.check(idle=True)["t1", HOST], site.node)


async def test_a_note_that_says_too_little_is_not_relied_on(tmp_path: Path) -> None:
    """Promise: what another backup was noted with holds for its objects alone, and only as long as it says; each backup
    notes what it saw to."""
    faults = Faults()
    faults.begin(None)
    site = Site(tmp_path, faults)
    await site.run("backup", backup("t0"))
    place = HoldPlace("d1", ("s3", "bucket"), REPOSITORY, CLUSTER, HOST)
    noted = site.notes.read(place)
    assert noted is not None
    assert noted.until == LOCK.until(site.now)
    site.now += 0.9 * DAY
    site.notes.write(place, ObjectIndex(), noted.until)
    await site.run("backup", backup("t1"))
    assert await site.held_for("t1") >= LOCK.due(site.now)
    again = site.notes.read(place)
    assert again is not None
    assert again.until == noted.until
    assert len(again.names) > len(noted.names) // 2
    site.now += 0.2 * DAY
    await site.run("backup", backup("t2"))
    assert await site.held_for("t2") == LOCK.until(site.now)


async def test_the_repositorys_own_files_are_held_and_superseded_keys_are_not(tmp_path: Path) -> None:
    """Promise: each backup holds the repository's and the cluster's files, its plan, and the key slots that count, for
    its days; a superseded slot isn't held on, and is removed when its lock has ended."""
    faults = Faults()
    faults.begin(None)
    site = Site(tmp_path, faults)
    one, two = Unlocking("passphrase", b"one"), Unlocking("passphrase", b"two")
    await make_first(site.place, REPOSITORY, one, CHEAP)
    site.keyring = await rotate(site.place, REPOSITORY, one, [two], CHEAP)
    own = [REPOSITORY_FILE, cluster_key(CLUSTER), named_key("nodes", CLUSTER), plan_key(CLUSTER, "t1")]
    for key in own:
        await site.place.put(key, [b"{}"])
    site.now += 3 * DAY
    await site.run("backup", backup("t1"))
    counts = [slot_key(slot.number) for slot in (await read_slots(site.place)).current]
    assert len(counts) == 2
    assert min(site.place.locked.held[key] for key in [*own, *counts]) >= LOCK.due(site.now)
    assert site.place.locked.held[slot_key(0)] < LOCK.due(site.now)
    with pytest.raises(ObjectLocked):
        await remove_superseded(site.place, REPOSITORY, two)
    site.now += 2 * DAY
    assert await remove_superseded(site.place, REPOSITORY, two) == [0]


@pytest.mark.parametrize("left", [plan_key(CLUSTER, "t0"), record_key(CLUSTER, "t0", 0)])
async def test_a_mark_stays_with_what_is_locked_of_its_backup(tmp_path: Path, left: str) -> None:
    """Promise: a deleted backup of which a plan or record is still under lock stays deleted: its mark goes with the
    sweep that may take that too, not before."""
    faults = Faults()
    faults.begin(None)
    site = Site(tmp_path, faults)
    await site.run("backup", backup("t0"))
    await site.place.put(left, [b"{}"])
    await site.run("delete", Command("d", DeleteArguments("t0", target())))
    await site.place.hold([left], LOCK.until(site.now + 3 * DAY))
    site.now = LOCK.until(site.now) + DAY
    site.place.locked._clock.now += 1_000_000.0  # type: ignore[attr-defined]
    sweep = Command("s", SweepArguments(target(), margin_seconds=0.0))
    await site.run("sweep", sweep)
    assert not site.is_there("t0")
    assert set(site.place.objects) == {left, deleted_key(CLUSTER, "t0")}
    site.now += 3 * DAY
    await site.run("sweep", sweep)
    assert site.place.objects == {}


async def test_a_dry_run_counts_what_is_locked_now(tmp_path: Path) -> None:
    """Promise: of what a sweep could free, a dry run tells how much is under lock still, and until when the last of it;
    what was under lock once isn't counted."""
    faults = Faults()
    faults.begin(None)
    site = Site(tmp_path, faults)
    await site.run("backup", backup("t0"))
    first = set(site.place.locked._objects)
    for path in site.node.table("shop", "orders").glob("nb-1-*"):
        path.unlink()
    site.node.sstable("shop", "orders", 2, 40_000)
    site.now += 3 * DAY
    await site.run("backup", backup("t1"))
    ends = {key: until for key, until in site.place.locked.held.items() if key.startswith(data_prefix(CLUSTER, HOST))}
    site.now += 2.5 * DAY
    held = {key: until for key, until in ends.items() if until > site.now}
    assert 0 < len(held) < len(ends)
    assert any(key in first for key in ends.keys() - held.keys())
    arguments = SweepArguments(target(), dry_run=True, as_deleted=["t0", "t1"])
    result = (await site.run("sweep", Command("s", arguments))).result  # type: ignore[attr-defined]
    sizes = {key: len(site.place.objects[key]) for key in ends}
    assert (result.objects, result.bytes_freed) == (len(ends), sum(sizes.values()))
    assert result.locked == FreedPart(sum(sizes[key] for key in held), len(held))
    assert result.all_unlocked_at == max(held.values())


async def test_a_sweep_tells_when_the_first_of_what_is_locked_may_go(tmp_path: Path) -> None:
    """Promise: what it says of what it left is when the next sweep frees something, not when the last lock ends."""
    faults = Faults()
    faults.begin(None)
    site = Site(tmp_path, faults)
    await site.run("backup", backup("t0"))
    await site.run("delete", Command("d", DeleteArguments("t0", target())))
    first = LOCK.until(site.now)
    await site.place.hold([manifest_key(CLUSTER, "t0", HOST)], first + DAY)
    site.now += DAY
    site.place.locked._clock.now += 1_000_000.0  # type: ignore[attr-defined]
    sweep = Command("s", SweepArguments(target(), margin_seconds=0.0))
    result = (await site.run("sweep", sweep)).result  # type: ignore[attr-defined]
    assert result.locked.objects > 0
    assert (result.objects, result.first_unlocked_at) == (0, first)
