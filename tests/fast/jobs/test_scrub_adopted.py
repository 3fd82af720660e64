"""Scrubs of the part of a node that left the ring, by another node's agent."""

from pathlib import Path

import pytest

from agent.jobs.scrub.notes import ScrubNotes
from agent.repository.errors import AdoptionRefused
from agent.wire.commands import ScrubArguments, State
from agent.wire.results import ScrubResult
from tests.fast.jobs.agent_in_memory import Agent, Command, target
from tests.fast.jobs.node import HOST, Node
from tests.fast.jobs.test_backup import backup
from tests.fast.jobs.test_scrub import change, flipped, large, noted, objects
from tests.fast.storage.memory import MemoryStorage

OTHER = "22222222-2222-2222-2222-222222222222"


@pytest.fixture
async def other(agent: Agent, store: MemoryStorage, tmp_path: Path) -> Agent:
    """The agent of another node, which has stored nothing; the first one has left the ring with a backup."""
    await agent.backup.run(backup("t1"))
    node = Node(tmp_path / "other")
    node.host_id = OTHER
    return Agent(node, {"d1": store}, tmp_path / "state of the other", "a2")


def adopting(*, whole: bool = True, command: str = "s") -> Command:
    return Command(command, ScrubArguments(target(), whole, HOST))


async def test_the_part_of_a_node_that_left_is_read_by_another(other: Agent, store: MemoryStorage) -> None:
    """Promise: its damage is found, named and noted as if the node itself had looked; how far that came is remembered
    apart from what the agent reads of its own node, and Prometheus shows the latter alone."""
    key = large(store)
    change(store, key, flipped(objects(store)[key], 1_000))
    outcome = await other.scrub.run(adopting())
    assert isinstance(outcome.result, ScrubResult)
    assert (outcome.state, outcome.result.backups, outcome.result.manifests) == (State.PARTIAL, ["t1"], 1)
    assert {place.key for place in outcome.result.places} == {key}
    assert len(noted(store)) == 1
    assert other.scrub_notes.all() == []
    kept = ScrubNotes(other.scrub_notes._directory.parent).of("d1", outcome_repository(other), HOST, adopted=True)
    assert (kept.damaged, None in kept.read) == (1, False)
    own = await other.scrub.run(Command("own", ScrubArguments(target(), True)))
    assert own.state is State.SUCCESS
    assert [note.host_id for note in other.scrub_notes.all()] == [OTHER]


def outcome_repository(agent: Agent) -> str:
    """The id of the only repository that it has notes of."""
    [repository] = {note.repository_id for note in agent.scrub_notes._notes.values()}
    return repository


async def test_a_node_in_the_ring_reads_its_own_part(other: Agent, store: MemoryStorage) -> None:
    """Promise: for a member nobody else does it, and nothing is read or noted."""
    other.ring["127.0.0.9"] = HOST
    with pytest.raises(AdoptionRefused, match="in the ring"):
        await other.scrub.run(adopting())
    assert other.scrub_notes._notes == {}
