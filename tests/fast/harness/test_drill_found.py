"""What a drill finds in destinations before it starts a node."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.opened import OpenedRepository
from agent.storage.local.storage import LocalStorage
from agent.storage.protocol import OPEN
from agent.wire.backups import NodeRecord, Plan, PlannedNode, Record
from tests.drill.found import DrillFailed, DrillImpossible, find
from tests.fast.cli.conftest import TABLES, Place, made, recorded
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY
from tests.fast.jobs.node import HOST

OTHER = "99999999-2222-3333-4444-555555555555"


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    return await made(tmp_path, None)


async def later(place: Place, tag: str, *, state: str | None = None) -> Path:
    """A backup of which there are plan and record only, newer than `t1`; `state`: what the record says, else success.
    The plan's file."""
    storage = LocalStorage(place.root)
    opened = OpenedRepository("d1", storage, REPOSITORY, CLUSTER, OPEN, 4)
    await recorded(opened, tag, 1_800_000_000.0)
    if state is not None:
        node = NodeRecord(HOST, "127.0.0.1", state, {})
        record = Record(tag, "adhoc", 1_800_000_000.0, state, TABLES, [node], 1_800_000_001.0)
        await Catalogue(opened, RecordCache()).put_record(record)
    await storage.close()
    return next(place.root.rglob(f"backups/{tag}/plan.json"))


async def planned(place: Place, hosts: Sequence[str], away: Sequence[str]) -> None:
    """`t1` with a plan for these nodes, taken without those that were away."""
    next(place.root.rglob("backups/t1/plan.json")).unlink()
    storage = LocalStorage(place.root)
    nodes = [PlannedNode(host, "127.0.0.1", "dc1", "r1", ["0"]) for host in hosts]
    plan = Plan("t1", "adhoc", 1_700_000_000.0, "prod", CLUSTER, nodes, TABLES, {}, "v", list(away))
    await Catalogue(OpenedRepository("d1", storage, REPOSITORY, CLUSTER, OPEN, 4), RecordCache()).put_plan(plan)
    await storage.close()


async def test_the_newest_backup_that_succeeded_is_chosen(place: Place) -> None:
    """Promise: neither one that is partial nor one whose plan nobody can read is drilled unless it is named, nor is it
    in the way of the others; of one that succeeded and has gone the nodes are named."""
    await later(place, "t2", state="partial")
    (await later(place, "t3")).write_bytes(b"{}")
    found = await find([place.file], None)
    assert (found.tag, found.hosts) == ("t1", {place.file: [HOST]})
    assert set(found.schema) <= set(TABLES)
    await later(place, "t4")
    with pytest.raises(DrillFailed, match=f"t4: the parts of 1 nodes .* {HOST}"):
        await find([place.file], None)


@pytest.mark.parametrize(("hosts", "away"), [([HOST, OTHER], []), ([HOST], [OTHER])])
async def test_parts_that_are_nowhere_are_missing(place: Place, hosts: list[str], away: list[str]) -> None:
    """Promise: also that of a node which the backup was taken without."""
    await planned(place, hosts, away)
    with pytest.raises(DrillFailed, match=f"parts of 1 nodes .*: {OTHER}"):
        await find([place.file], "t1")


async def test_a_backup_that_nobody_planned_proves_nothing(place: Place) -> None:
    """Promise: without a plan the drill fails, without a backup it is impossible; neither counts as done."""
    next(place.root.rglob("backups/t1/plan.json")).unlink()
    with pytest.raises(DrillFailed, match="no plan"):
        await find([place.file], "t1")
    with pytest.raises(DrillImpossible, match="no backup t9"):
        await find([place.file], "t9")
