"""Syncs from a destination whose backup lacks something, or holds what nobody can open."""

import pytest

from agent.crypto.errors import SealingKeyUnknown
from agent.repository.keys import manifest_key
from tests.fast.jobs.agent_in_memory import CLUSTER
from tests.fast.jobs.four_destinations import Four, sync, synced
from tests.fast.jobs.node import HOST
from tests.fast.jobs.test_backup import backup
from tests.fast.jobs.test_scrub_epochs import claiming, put_slot


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
