"""The prefix of a node that left the ring, swept by another node's agent; and the node that comes back."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.jobs.copying.errors import CopyFailed
from agent.repository.errors import AdoptionRefused, IntentForeign, NodeAdopted
from agent.repository.intents import Intents, Writer
from agent.repository.keys import data_prefix, intents_prefix, manifest_key
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN
from agent.wire.commands import SweepArguments
from agent.wire.results import FreedResult
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Agent, Command, Faults, MemoryReader, target
from tests.fast.jobs.clock import Clock
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup
from tests.fast.jobs.test_crashes import until_crash
from tests.fast.jobs.test_intents import intents
from tests.fast.jobs.test_sweep import _later, delete, sweep
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle

OTHER = "99999999-2222-3333-4444-555555555555"


def neighbour(store: MemoryStorage, place: Path, agent_id: str = "a2") -> Agent:
    """The agent of another node of the ring, which the node of the tests has left."""
    node = Node(place / "node")
    node.host_id = OTHER
    return Agent(node, {"d1": store}, place / "state", agent_id)


@pytest.fixture
async def adopter(store: MemoryStorage, tmp_path: Path) -> AsyncIterator[Agent]:
    found = neighbour(store, tmp_path / "other")
    yield found
    found.close()


async def adopt(agent: Agent, margin: float | None = 0.0, *, dry_run: bool = False) -> FreedResult:
    """The result of a sweep of the node that left."""
    arguments = SweepArguments(target(), margin_seconds=margin, adopt=HOST, dry_run=dry_run)
    outcome = await agent.sweep.run(Command("adopt", arguments))
    assert isinstance(outcome.result, FreedResult)
    return outcome.result


async def test_the_space_of_a_node_that_left_comes_back(agent: Agent, adopter: Agent, store: MemoryStorage) -> None:
    """Promise: all that only deleted backups needed goes, with the manifests and the last traces; a dry run tells it
    before and writes nothing. Nothing is left, the mark included."""
    await agent.backup.run(backup("t1"))
    await delete(agent, "t1")
    before = dict(store._objects)
    told = await adopt(adopter, dry_run=True)
    assert store._objects == before
    freed = await adopt(adopter)
    assert (freed.bytes_freed, freed.objects, freed.tags) == (told.bytes_freed, told.objects, ["t1"])
    assert freed.bytes_freed > 3_000_000
    assert not [key for key in store._objects if "/clusters/" in key]


async def test_what_undeleted_backups_need_stays_and_so_does_the_mark(
    agent: Agent, node: Node, adopter: Agent, store: MemoryStorage
) -> None:
    """Promise: the other backups of the node that left are whole, and the prefix is kept from the node's own agent."""
    await agent.backup.run(backup("t1"))
    for path in node.table("shop", "orders").glob("nb-1-*"):
        path.unlink()
    await agent.backup.run(backup("t2"))
    await delete(agent, "t1")
    oracle = Oracle(MemoryReader(store))
    oracle.expect("t2", [HOST])
    oracle.deleted("t1")
    assert (await adopt(adopter)).bytes_freed > 3_000_000
    assert list(oracle.check()) == [("t2", HOST)]
    assert await intents(store) == ["~adopted"]


@pytest.mark.parametrize("ring", [{"127.0.0.2": HOST}, {"127.0.0.2": ""}, {}])
async def test_a_member_of_the_ring_is_never_adopted(
    ring: dict[str, str], agent: Agent, adopter: Agent, store: MemoryStorage
) -> None:
    """Promise: a node that is in the ring, whether up or down, or of which that isn't known, keeps its prefix; nothing
    is written."""
    await agent.backup.run(backup("t1"))
    await delete(agent, "t1")
    adopter.ring = ring
    before = dict(store._objects)
    with pytest.raises(AdoptionRefused, match=HOST):
        await adopt(adopter)
    assert store._objects == before


async def test_a_node_that_returns_during_the_margin_keeps_everything(
    agent: Agent, adopter: Agent, store: MemoryStorage
) -> None:
    """Promise: the ring is looked at again before the first deletion; the node can write at once."""
    await agent.backup.run(backup("t1"))
    await delete(agent, "t1")
    before = dict(store._objects)

    async def returns(seconds: float) -> None:
        adopter.ring["127.0.0.2"] = HOST
        await _later(store)(seconds)

    adopter.on_sleep.append(returns)
    with pytest.raises(AdoptionRefused):
        await adopt(adopter, None)
    assert store._objects == before
    await agent.backup.run(backup("t2"))


async def test_the_nodes_own_agent_is_told_what_to_do_when_it_returns(
    agent: Agent, node: Node, adopter: Agent, store: MemoryStorage
) -> None:
    """Promise: it puts and removes nothing; a person's word lets it, once the other agent was silent."""
    await agent.backup.run(backup("t1"))
    await adopt(adopter)
    node.sstable("shop", "orders", 7, 20_000)
    before = dict(store._objects)
    with pytest.raises(CopyFailed, match="node_adopted"):
        await agent.backup.run(backup("t2"))
    with pytest.raises(NodeAdopted) as refused:
        await sweep(agent)
    assert "~adopted" in refused.value.todo
    with pytest.raises(IntentForeign, match="silent"):
        await sweep(agent, "~adopted")
    assert store._objects == before
    await _later(store)(700.0)
    await sweep(agent, "~adopted")
    await agent.backup.run(backup("t3"))
    assert await intents(store) == []


async def test_the_intent_of_a_node_that_died_at_work_is_given_up_after_silence(
    agent: Agent, adopter: Agent, store: MemoryStorage
) -> None:
    """Promise: nobody has to name what a dead node left; what was touched lately keeps its prefix, without a mark."""
    await agent.backup.run(backup("t1"))
    await delete(agent, "t1")
    opened = OpenedRepository("d1", store, REPOSITORY, CLUSTER, OPEN, 4)
    await Intents(opened, HOST, Writer("a1", "i1")).begin("t2", "its command")
    with pytest.raises(IntentForeign, match="silent"):
        await adopt(adopter)
    assert await intents(store) == ["t2"]
    await _later(store)(700.0)
    assert (await adopt(adopter)).tags == ["t1"]
    assert not [key async for key in store.list(intents_prefix(CLUSTER, HOST))]


async def test_an_upload_that_goes_on_after_the_adoption_is_no_backup(
    agent: Agent, adopter: Agent, store: MemoryStorage
) -> None:
    """Promise: a node that was only cut off, and whose intent was given up, ends with the error; no manifest of it
    names what the adopting sweep has taken."""
    calm = store._hook
    puts = 0

    async def cut_off(verb: str, key: str) -> None:
        nonlocal puts
        if verb != "put" or "/data/" not in key:
            return
        puts += 1
        if puts == 6:  # of eight
            await _later(store)(700.0)
            await adopt(adopter)

    store._hook = cut_off
    with pytest.raises(CopyFailed, match=r"node_adopted|manifest_incomplete"):
        await agent.backup.run(backup("t1"))
    store._hook = calm
    assert puts >= 6
    assert manifest_key(CLUSTER, "t1", HOST) not in store._objects


async def test_an_adoption_killed_anywhere_is_finished_by_any_agent(tmp_path: Path) -> None:
    """Promise: kill -9 before any operation of an adopting sweep removes nothing that is needed, and the next agent
    that adopts, this one or another after the silence, frees the rest."""
    faults = Faults()
    whole = MemoryStorage(clock=Clock(), hook=faults)
    node = Node(tmp_path / "node")
    node.sstable("shop", "orders", 1, 1_300_000)
    node.sstable("many", "t1", 1, 500)
    left = Agent(node, {"d1": whole}, tmp_path / "state")
    await left.backup.run(backup("t0"))
    (node.table("shop", "orders") / "nb-1-big-Data.db").unlink()
    await left.backup.run(backup("t1"))
    await delete(left, "t0")
    left.close()
    at = 0
    crashes = True
    while crashes:
        at += 1
        store = MemoryStorage(clock=Clock(), hook=faults)
        store._objects.update(whole._objects)
        oracle = Oracle(MemoryReader(store))
        oracle.expect("t1", [HOST])
        oracle.deleted("t0")
        await _later(store)(10_000.0)
        faults.begin(at)
        command = Command("adopt", SweepArguments(target(), margin_seconds=0.0, adopt=HOST))
        crashes = await until_crash(neighbour(store, tmp_path / "first", "a2"), command, "sweep")
        faults.begin(None)
        oracle.check()
        await _later(store)(700.0)
        last = neighbour(store, tmp_path / "next", "a2" if at % 2 else "a3")
        await last.sweep.run(command)
        last.close()
        oracle.check()
        assert not [key for key in store._objects if "/t0/" in key]
        assert len([entry async for entry in store.list(data_prefix(CLUSTER, HOST))]) < 5
        assert await intents(store) == ["~adopted"]
    assert at > 15
