"""Whether a manifest that was put is away, by the newest record of its backup."""

from collections import Counter

import msgspec
import pytest

from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.keys import manifest_key, plan_key
from agent.wire.backups import NodeRecord, Record
from tests.fast.repository.manifests import CLUSTER, HOST, opened
from tests.fast.repository.test_catalogue import record
from tests.fast.storage.memory import MemoryStorage


def _said(state: str, host_id: str = HOST) -> Record:
    """A record that has another node first."""
    nodes = [NodeRecord("another", "127.0.40.2", "success", {}), NodeRecord(host_id, "127.0.40.1", state, {})]
    return msgspec.structs.replace(record(), nodes=nodes)


class Asked:
    """A catalogue, and how often its store was asked for a manifest; `then` goes before the second time."""

    def __init__(self) -> None:
        self.store = MemoryStorage(hook=self._count)
        self.catalogue = Catalogue(opened(self.store), RecordCache())
        self.looks: Counter[str] = Counter()
        self.verbs: Counter[str] = Counter()
        self.deletes = False

    async def _count(self, verb: str, key: str) -> None:
        self.verbs[verb] += 1
        if key == manifest_key(CLUSTER, "t1", HOST) and verb == "head":
            self.looks[verb] += 1
            if self.deletes:
                self.deletes = False
                await self.catalogue.mark_deleted("t1")

    async def lacks(self) -> bool:
        return await self.catalogue.lacks_manifest("t1", HOST)


async def test_a_manifest_that_was_put_and_is_away_is_missed() -> None:
    """Promise: when the newest record says that the node succeeded, which was written after its manifest; two looks
    tell, and one tells that it is there."""
    asked = Asked()
    await asked.catalogue.put_record(_said("success"))
    assert await asked.lacks()
    assert asked.looks["head"] == 2
    asked.looks.clear()
    await asked.store.put(manifest_key(CLUSTER, "t1", HOST), [b"x"])
    assert not await asked.lacks()
    assert asked.looks["head"] == 1


@pytest.mark.parametrize("newest", [None, record(), _said("failed"), _said("running"), _said("success", "a third")])
async def test_a_manifest_that_nothing_says_was_put_is_missed_by_nobody(newest: Record | None) -> None:
    """Promise: without a record, or with one in which the node has no part, failed or still runs, there need not be
    one; and the store isn't even asked."""
    asked = Asked()
    if newest is not None:
        await asked.catalogue.put_record(newest)
    assert not await asked.lacks()
    assert asked.looks["head"] == 0


async def test_a_manifest_of_a_backup_that_is_deleted_meanwhile_is_not_missed() -> None:
    """Promise: also where the deletion begins after the record was read; nor later, when the mark is there."""
    asked = Asked()
    await asked.catalogue.put_record(_said("success"))
    asked.deletes = True
    assert not await asked.lacks()
    assert asked.looks["head"] == 1
    assert not await asked.lacks()


async def test_a_list_of_a_nodes_own_directory_tells_which_backups_have_no_manifest_there() -> None:
    """Promise: what a node put can be gone while the record is there; the list says so of that backup alone, by one
    listing and no look at single manifests. Of a shared store, where each backup has a thousand, it asks nothing."""
    asked = Asked()
    for tag in ("t1", "t2"):
        await asked.catalogue.put_record(msgspec.structs.replace(_said("success"), tag=tag))
        await asked.store.put(manifest_key(CLUSTER, tag, HOST), [b"x"])
        await asked.store.put(plan_key(CLUSTER, tag), [b"x"])
    await asked.store.delete([manifest_key(CLUSTER, "t1", HOST)])
    asked.verbs.clear()
    own = {view.tag: view.complete for view in await asked.catalogue.listing(own=True)}
    assert own == {"t1": False, "t2": None}
    assert asked.verbs["list"] == 2
    asked.verbs.clear()
    assert {view.complete for view in await asked.catalogue.listing()} == {None}
    assert (asked.verbs["list"], asked.verbs["head"]) == (1, 0)
