"""Syncs from a destination whose backup lacks something, or holds what nobody can open."""

import pytest

from agent.crypto.errors import SealingKeyUnknown
from agent.repository.keys import manifest_key
from agent.storage.protocol import Transient
from agent.wire.commands import ScrubArguments, State
from tests.fast.jobs.agent_in_memory import CLUSTER, Command, target
from tests.fast.jobs.four_destinations import Four, sync, synced
from tests.fast.jobs.node import HOST
from tests.fast.jobs.test_backup import backup, same
from tests.fast.jobs.test_scrub import flipped
from tests.fast.jobs.test_scrub_epochs import claiming, put_slot
from tests.fast.jobs.test_scrub_unreadable import BadSector


def largest(four: Four, name: str) -> str:
    """The key of the largest object there: of an SSTable."""
    objects = four.objects(name)
    return max(objects, key=lambda key: len(objects[key]))


async def test_a_target_that_is_whole_stays_so_whatever_another_source_lacks(four: Four) -> None:
    """Promise: a copy that lacks nothing is no partial one because a sync found it there from a place that lacks a
    table; retention would take it for no good one."""
    await four.agent.backup.run(backup("t1", "p1"))
    await synced(four.agent, sync("p1", "p2"))
    del four.stores["p1"]._objects[largest(four, "p1")]
    assert (await synced(four.agent, sync("p1", "e1")))["e1"].outcome == "partial"
    results = await synced(four.agent, sync("e1", "p2", "e2"))
    assert results["p2"].outcome == "success"
    assert (results["e2"].outcome, (results["e2"].error or {})["code"]) == ("partial", "source_partial")


@pytest.mark.parametrize("slots", [0, 2])
async def test_an_object_of_keys_that_never_were_leaves_out_its_table_alone(four: Four, slots: int) -> None:
    """Promise: whoever may write to the source stops no sync with one forged object: its table is named as damaged, and
    all else is copied. Where the keys were rotated since the command began, nothing is left out for it: it fails, and
    opens all when it is sent again."""
    await four.agent.backup.run(backup("t1", "e1"))
    for number in range(slots):
        put_slot(four.stores["e1"], number)
    key = largest(four, "e1")
    body, at = four.stores["e1"]._objects[key]
    four.stores["e1"]._objects[key] = (claiming(body, 2), at)
    if slots:
        with pytest.raises(SealingKeyUnknown):
            await synced(four.agent, sync("e1", "p2"))
        assert manifest_key(CLUSTER, "t1", HOST) not in four.stores["p2"]._objects
        return
    result = (await synced(four.agent, sync("e1", "p2")))["p2"]
    assert (result.outcome, (result.error or {})["code"]) == ("partial", "source_damaged")
    assert "object_damaged" in str((result.error or {})["fields"])
    assert four.found("p2").files


async def noted_in(four: Four, name: str) -> str:
    """A flipped byte in the largest object there, found by a scrub; the object's key."""
    key = largest(four, name)
    body, at = four.stores[name]._objects[key]
    four.stores[name]._objects[key] = (flipped(body, 1_000), at)
    outcome = await four.agent.scrub.run(Command("scrub", ScrubArguments(target(name), True)))
    assert outcome.state is State.PARTIAL
    return key


@pytest.mark.parametrize(("source", "name"), [("p1", "p2"), ("e2", "e1"), ("p1", "e1"), ("e1", "p2")])
async def test_a_copy_that_a_scrub_found_damaged_is_mended_by_a_sync(four: Four, source: str, name: str) -> None:
    """Promise: where the SSTable has been compacted away, a destination that is whole mends the other one: what is
    noted there is put anew, nothing else, and the manifest stays as it was."""
    await four.agent.backup.run(backup("t1", source))
    await synced(four.agent, sync(source, name))
    before = four.objects(name)
    manifest = four.stores[name]._objects[manifest_key(CLUSTER, "t1", HOST)]
    key = await noted_in(four, name)
    result = (await synced(four.agent, sync(source, name)))[name]
    assert (result.outcome, result.put_objects) == ("success", 1)
    assert any("put anew" in warning for warning in result.warnings)
    assert four.objects(name).keys() == before.keys()
    assert four.stores[name]._objects[manifest_key(CLUSTER, "t1", HOST)] == manifest
    assert same(four.found(name), four.node)
    scrubbed = await four.agent.scrub.run(Command("again", ScrubArguments(target(name), True)))
    assert scrubbed.state is State.SUCCESS, key


async def test_a_copy_that_cannot_be_mended_is_no_success(four: Four) -> None:
    """Promise: where the source has no right bytes either, the copy's result names what stays damaged."""
    await four.agent.backup.run(backup("t1", "p1"))
    await synced(four.agent, sync("p1", "p2"))
    key = await noted_in(four, "p2")
    del four.stores["p1"]._objects[key]
    result = (await synced(four.agent, sync("p1", "p2")))["p2"]
    assert (result.outcome, (result.error or {})["code"]) == ("partial", "object_damaged")
    assert key in str(result.error)


async def test_a_copy_that_lacks_a_table_accuses_no_whole_source(four: Four) -> None:
    """Promise: what an earlier sync could not copy, from a damaged place, is told of the copy, and what to do about it;
    done so, the whole source completes it."""
    await four.agent.backup.run(backup("t1", "p1", "e1"))
    del four.stores["p1"]._objects[largest(four, "p1")]
    assert (await synced(four.agent, sync("p1", "p2")))["p2"].outcome == "partial"
    result = (await synced(four.agent, sync("e1", "p2")))["p2"]
    assert (result.outcome, (result.error or {})["code"]) == ("partial", "copy_lacks_tables")
    assert "'source': 'e1'" in str(result.error)
    assert "Delete the backup" in str(result.error)
    del four.stores["p2"]._objects[manifest_key(CLUSTER, "t1", HOST)]  # as a sweep does after a delete
    assert (await synced(four.agent, sync("e1", "p2")))["p2"].outcome == "success"


async def test_what_is_there_stays_until_there_is_something_better(four: Four) -> None:
    """Promise: a copy of which one object is missing is a backup but for one table. A sync from a source with a bad
    sector takes nothing of that; from a whole one it puts what is missing, and the manifest is the same."""
    await four.agent.backup.run(backup("t1", "p1"))
    await synced(four.agent, sync("p1", "p2"))
    manifest = four.stores["p2"]._objects[manifest_key(CLUSTER, "t1", HOST)]
    key = largest(four, "p2")
    del four.stores["p2"]._objects[key]
    sector = BadSector(four.stores["p1"], key)
    with pytest.raises(Transient):
        await synced(four.agent, sync("p1", "p2"))
    assert four.stores["p2"]._objects[manifest_key(CLUSTER, "t1", HOST)] == manifest
    sector.key = ""
    result = (await synced(four.agent, sync("p1", "p2")))["p2"]
    assert (result.outcome, result.put_objects) == ("success", 1)
    assert four.stores["p2"]._objects[manifest_key(CLUSTER, "t1", HOST)] == manifest
    assert same(four.found("p2"), four.node)
