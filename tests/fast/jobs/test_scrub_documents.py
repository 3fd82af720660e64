"""What a scrub tells of plans and listing records that are not there, or can't be read."""

import pytest

from agent.repository import marks
from agent.repository.errors import ManifestInvalid
from agent.repository.keys import deleted_key, plan_key, record_key
from agent.wire.commands import State
from tests.fast.jobs.agent_in_memory import CLUSTER, Agent
from tests.fast.jobs.node import HOST
from tests.fast.jobs.test_scrub import scrub
from tests.fast.jobs.test_scrub_manifests import ended, found, told
from tests.fast.jobs.test_sweep import _later, delete, sweep
from tests.fast.storage.memory import MemoryStorage

PLAN = plan_key(CLUSTER, "t1")
RECORDS = [record_key(CLUSTER, "t1", number) for number in (0, 1)]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("gone", "missed"), [([PLAN], PLAN), (RECORDS, RECORDS[0])])
async def test_a_plan_or_the_records_that_are_gone_are_told(
    agent: Agent, store: MemoryStorage, gone: list[str], missed: str, whole: bool
) -> None:
    """Promise: without its plan a coordinator restores no backup, without a record none is listed: every scrub misses
    them, whatever share it reads, and calls the backup no good one. In a deleted backup nothing is missed."""
    await ended(agent, store, "t1", "t2")
    assert (await scrub(agent, whole=whole))[0].state is State.SUCCESS
    for key in gone:
        del store._objects[key]
    outcome, result = await scrub(agent, whole=whole, command="after")
    assert (outcome.state, result.missing, result.backups) == (State.PARTIAL, 1, ["t1"])
    assert found(result) == [("t1", missed, "missing")]
    assert "of t1" in told(outcome)
    store._objects[deleted_key(CLUSTER, "t1")] = (marks.encoded("t1"), 1.0)
    assert (await scrub(agent, whole=whole, command="deleted"))[0].state is State.SUCCESS


@pytest.mark.parametrize("key", [PLAN, RECORDS[1]])
async def test_what_cannot_be_read_is_told_by_every_scrub(agent: Agent, store: MemoryStorage, key: str) -> None:
    """Promise: also by one of a small share on an agent that lost its state: a clean scrub counts as a look at all."""
    await ended(agent, store, "t1", "t2")
    store._objects[key] = (b"{}", 1.0)
    assert found((await scrub(agent))[1]) == [("t1", key, "manifest_invalid")]
    for note in agent.scrub_notes.all():
        del agent.scrub_notes._notes[note.file_name]
    assert found((await scrub(agent, whole=False, command="after"))[1]) == [("t1", key, "manifest_invalid")]


@pytest.mark.parametrize("body", [b"x", marks.encoded("t2")])
async def test_a_mark_that_no_agent_put_is_told(agent: Agent, store: MemoryStorage, body: bytes) -> None:
    """Promise: it hides a backup from listings; a scrub names it, and a sweep frees nothing for it."""
    await ended(agent, store, "t1", "t2")
    mark = deleted_key(CLUSTER, "t1")
    store._objects[mark] = (body, 1.0)
    before = dict(store._objects)
    assert found((await scrub(agent))[1]) == [("t1", mark, "deletion_mark_invalid")]
    with pytest.raises(ManifestInvalid, match=mark):
        await sweep(agent)
    assert {key: one for key, one in store._objects.items() if "/intents/" not in key} == before
    await delete(agent, "t1")
    agent.on_sleep.append(_later(store))
    await sweep(agent)
    assert mark not in store._objects or store._objects[mark][0] == marks.encoded("t1")
    assert not any("/backups/t1/" in key and HOST in key for key in store._objects)
