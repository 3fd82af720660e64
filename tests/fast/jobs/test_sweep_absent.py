"""Sweeps while a manifest is away: hidden by a deletion in a bucket with versions, or moved by hand."""

import msgspec
import pytest

from agent.repository.errors import ManifestAbsent
from agent.repository.keys import data_prefix, plan_key, record_key
from agent.wire.backups import Plan, PlannedNode
from agent.wire.commands import SweepArguments
from tests.fast.jobs.agent_in_memory import CLUSTER, Agent, Command, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup
from tests.fast.jobs.test_scrub_manifests import MANIFEST, OTHER, ended, recorded
from tests.fast.jobs.test_sweep import _later, delete, sweep
from tests.fast.storage.memory import MemoryStorage


def data(store: MemoryStorage) -> set[str]:
    return {key for key in store._objects if key.startswith(data_prefix(CLUSTER, HOST))}


@pytest.fixture
async def away(agent: Agent, node: Node, store: MemoryStorage) -> bytes:
    """`t1` has an SSTable of its own and its manifest is away; `old` is deleted. The manifest."""
    await ended(agent, store, "t1", "old")
    for path in node.table("shop", "orders").glob("nb-1-*"):
        path.unlink()
    await agent.backup.run(backup("t2"))
    await delete(agent, "old")
    agent.on_sleep.append(_later(store))
    return store._objects.pop(MANIFEST)[0]


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_sweep_takes_nothing_of_a_backup_whose_manifest_is_away(
    agent: Agent, store: MemoryStorage, away: bytes, dry_run: bool
) -> None:
    """Promise: it is refused by the manifest's name, and whoever brings the manifest back has the backup back; then, or
    once the backup is deleted, sweeps go on."""
    before = data(store)
    with pytest.raises(ManifestAbsent, match=MANIFEST):
        await agent.sweep.run(Command("s", SweepArguments(target(), dry_run=dry_run)))
    assert data(store) == before
    await delete(agent, "t1")
    await sweep(agent)
    assert data(store) < before


async def test_a_node_without_a_part_in_a_backup_sweeps(agent: Agent, store: MemoryStorage, away: bytes) -> None:
    """Promise: what another node alone has, or this one failed, is missed by nobody here."""
    recorded(store, "t1", "partial", [(HOST, "failed")], 2)
    before = data(store)
    await sweep(agent)
    assert data(store) < before


@pytest.mark.parametrize(("planned", "refused"), [([HOST], True), ([OTHER], False), (None, True)])
async def test_where_the_record_cannot_be_read_the_plan_tells(
    agent: Agent, store: MemoryStorage, away: bytes, planned: list[str] | None, refused: bool
) -> None:
    """Promise: with the manifest away and the record unreadable nothing goes if the node may have had a part, by the
    plan or because nobody can say; a node that had none isn't stopped."""
    store._objects[record_key(CLUSTER, "t1", 1)] = (b"{}", 1.0)
    if planned is None:
        store._objects[plan_key(CLUSTER, "t1")] = (b"{}", 1.0)
    else:
        nodes = [PlannedNode(host, "127.0.0.1", "dc1", "r1", []) for host in planned]
        plan = Plan("t1", "adhoc", 5.0, "Test", CLUSTER, nodes, {}, {}, "s1")
        store._objects[plan_key(CLUSTER, "t1")] = (msgspec.json.encode(plan), 1.0)
    before = data(store)
    if refused:
        with pytest.raises(ManifestAbsent, match="can't be read"):
            await sweep(agent)
        assert data(store) == before
    else:
        await sweep(agent)
        assert data(store) < before
