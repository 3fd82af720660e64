"""A crash at every operation on the store, every order to Cassandra, and every piece of work on the disk, the journal's
commits among them: of backup, sync, delete, sweep and a restore's phases. Each time a new process finishes what was
asked for."""

from dataclasses import replace
from pathlib import Path

import pytest

from agent.wire.commands import (
    BackupArguments,
    DeleteArguments,
    Kind,
    RestoreArguments,
    SnapshotArguments,
    SweepArguments,
    SyncArguments,
)
from tests.fast.jobs.node import HOST
from tests.simulation.agent import SimulatedAgent, target
from tests.simulation.crashes import Command, Scenario, Stage, moments
from tests.simulation.node import taken_files
from tests.simulation.world import World, digests, named_objects, of_tables, sstables_of, staged_files

PARTS = 4


def backup(tag: str, *destinations: str) -> BackupArguments:
    return BackupArguments(SnapshotArguments(tag), [target(name) for name in destinations or ("d1",)])


async def one_backup(world: World, agent: SimulatedAgent) -> None:
    world.node.sstable("shop", "orders", 1, 3_000)
    world.node.sstable("many", "t1", 1, 500)
    await agent.post("t0", Kind.BACKUP, backup("t0", *world.stores))
    await agent.rest()
    world.expect("t0")
    world.node.sstable("shop", "orders", 2, 2_000)


async def one_elsewhere(world: World, agent: SimulatedAgent) -> None:
    """A backup in one of two destinations, half of whose objects the other one has too, and none the node."""
    await one_backup(world, agent)
    await agent.post("t1", Kind.BACKUP, backup("t1", "d1"))
    await agent.rest()
    world.oracles["d1"].expect("t1", [HOST])
    for keyspace, table in world.node.tables:
        for path in world.node.table(keyspace, table).glob("nb-*"):
            path.unlink()


async def kept_snapshot(world: World, agent: SimulatedAgent) -> None:
    await one_backup(world, agent)
    await agent.post("t1", Kind.SNAPSHOT, SnapshotArguments("t1", keep=True))
    await agent.rest()
    world.node.sstable("shop", "orders", 3, 1_000)


async def lost_tables(world: World, agent: SimulatedAgent) -> None:
    """A backup of several SSTables, none of which is on the node any more."""
    world.node.sstable("shop", "orders", 4, 700)
    world.node.sstable("shop", "orders", 5, 600)
    await one_backup(world, agent)
    for keyspace, table in world.node.tables:
        for path in world.node.table(keyspace, table).glob("nb-*"):
            path.unlink()


async def fetched_tables(world: World, agent: SimulatedAgent) -> None:
    await lost_tables(world, agent)
    await agent.post("f", Kind.FETCH, RESTORED)
    await agent.rest()


async def imported_tables(world: World, agent: SimulatedAgent) -> None:
    await fetched_tables(world, agent)
    await agent.post("i", Kind.IMPORT, RESTORED)
    await agent.rest()


async def deleted_backup(world: World, agent: SimulatedAgent) -> None:
    await one_backup(world, agent)
    for path in world.node.table("shop", "orders").glob("nb-1-*"):
        path.unlink()
    await agent.post("t1", Kind.BACKUP, backup("t1"))
    await agent.rest()
    world.expect("t1")
    await agent.post("d", Kind.DELETE, DeleteArguments("t0", target()))
    world.deleted("t0")


RESTORED = RestoreArguments("t0", HOST, {"shop": ["orders"], "many": ["t1"]}, target(), batch_sstables=2)


def backed_up(world: World) -> None:
    """Each destination has every byte of the node."""
    for found in world.check().values():
        assert of_tables(found["t1", HOST]) == digests(world.node.files())


def synced(world: World) -> None:
    """The destination has every byte of the snapshot, which is as it was."""
    taken = taken_files(world.node, "t1")
    assert len(taken) == 24
    assert of_tables(world.check()["d1"]["t1", HOST]) == digests(taken)


def brought_over(world: World) -> None:
    """Both destinations have the same backup, byte for byte; that it comes from is as it was."""
    found = world.check()
    assert len(of_tables(found["d1"]["t1", HOST])) == 24
    assert found["d2"]["t1", HOST].files == found["d1"]["t1", HOST].files


def marked(world: World) -> None:
    """The backup is not there for anybody."""
    assert ("t0", HOST) not in world.check()["d1"]


def fetched(world: World) -> None:
    """What stands ready to be imported is what the backup holds, byte for byte (I6)."""
    assert digests(staged_files(world)) == of_tables(world.check()["d1"]["t0", HOST])


def imported(world: World) -> None:
    """Each SSTable of the backup is in its table, whole, and nothing else is; one of which nobody saw the end of the
    import may be there twice, which Cassandra reads as once."""
    found = sstables_of(digests(world.node.files()))
    wanted = sstables_of(of_tables(world.check()["d1"]["t0", HOST]))
    assert sum(map(len, wanted.values())) == 4
    for table, sstables in wanted.items():
        assert set(found[table]) == set(sstables)
        assert max(found[table].count(one) for one in sstables) <= 2


def cleaned(world: World) -> None:
    """Nothing is left of what was staged; the tables have what they had."""
    imported(world)
    assert list(world.place.rglob("held")) == []
    assert list(world.place.rglob("import")) == []


def cleared(world: World) -> None:
    """Nothing is left of the on-server backup."""
    assert list(world.place.glob("state a1/on-server/t1/*")) == []


def swept(world: World) -> None:
    """What the deleted backup alone needed is gone, and so is its last trace."""
    assert [key for key in world.stores["d1"]._objects if "/t0/" in key] == []
    assert world.data_keys() == named_objects(world)


SCENARIOS = {
    "backup": Scenario(one_backup, Command("b", Kind.BACKUP, backup("t1")), backed_up),
    "sync": Scenario(
        kept_snapshot, Command("s", Kind.SYNC, SyncArguments("t1", [target()])), synced, kept=frozenset({"t1"})
    ),
    "sync from a destination": Scenario(
        one_elsewhere,
        Command("s", Kind.SYNC, SyncArguments("t1", [target("d2")], source=target("d1"), source_host_id=HOST)),
        brought_over,
        destinations=("d1", "d2"),
    ),
    "delete": Scenario(one_backup, Command("d", Kind.DELETE, DeleteArguments("t0", target())), marked, deletes="t0"),
    "delete on the server": Scenario(
        kept_snapshot, Command("d", Kind.DELETE, DeleteArguments("t1")), cleared, owes=True
    ),
    "sweep": Scenario(deleted_backup, Command("w", Kind.SWEEP, SweepArguments(target())), swept),
    "fetch": Scenario(one_backup, Command("f", Kind.FETCH, RESTORED), fetched),
    "import": Scenario(fetched_tables, Command("i", Kind.IMPORT, RESTORED), imported, fenced=True),
    "check": Scenario(imported_tables, Command("k", Kind.CHECK, RESTORED), imported),
    "clean": Scenario(imported_tables, Command("c", Kind.CLEAN, RESTORED), cleaned),
    "backup into two": Scenario(
        one_backup, Command("b", Kind.BACKUP, backup("t1", "d1", "d2")), backed_up, destinations=("d1", "d2")
    ),
}
SCENARIOS |= {f"{name}, encrypted": replace(SCENARIOS[name], encrypted=True) for name in ("backup", "sweep", "fetch")}


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("job", SCENARIOS)
def test_a_job_that_crashes_at_any_moment_is_finished_by_the_next_process(job: str, part: int, tmp_path: Path) -> None:
    """Promise (I1 to I5, I7 to I9): whichever operation a job dies at, or whichever answer is lost, nothing that is
    needed is lost, the command sent again comes to one end, and what it promises is so."""
    seen = [faults.told for faults in moments(Stage(SCENARIOS[job], tmp_path), part, PARTS)]
    assert len(seen) >= 5
    assert all(seen)
