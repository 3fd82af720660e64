"""What a backup's manifest lacks, as its head tells, with the oracle looking after."""

from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Agent, MemoryReader
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup
from tests.fast.storage.memory import MemoryStorage
from tests.oracle.checker import Oracle


async def test_a_manifest_names_the_tables_that_were_left_out(agent: Agent, node: Node, store: MemoryStorage) -> None:
    """Promise: also when nobody lives to record how the backup ended, its manifest tells what it lacks and why; of a
    whole one the head is what it always was."""
    await agent.backup.run(backup("t1"))
    node.sstable("many", "bad", 1, 50_000).write_bytes(b"other bytes than its digest says")
    await agent.backup.run(backup("t2"))
    found = Oracle(MemoryReader(store)).check()
    assert "left_out" not in found["t1", HOST].head
    assert found["t2", HOST].head["left_out"] == {"many.bad": "sstable_corrupt"}
    catalogue = Catalogue(OpenedRepository("d1", store, REPOSITORY, CLUSTER, OPEN, 4), RecordCache())
    assert [(await catalogue.judged(tag)).whole for tag in ("t1", "t2")] == [[HOST], []]
