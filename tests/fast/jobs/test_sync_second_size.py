"""A copy of a backup, and a note of damage on another object of the same content."""

import pytest

from agent.repository.damage_notes import DamageNotes
from agent.repository.keys import data_prefix, manifest_key
from agent.repository.opened import OpenedRepository
from agent.wire.commands import SyncArguments
from tests.fast.jobs.agent_in_memory import CLUSTER, Command, target
from tests.fast.jobs.four_destinations import Four, sync, synced
from tests.fast.jobs.node import HOST
from tests.fast.jobs.test_backup import backup, same
from tests.fast.jobs.test_heal_forms import choose


async def test_another_size_of_a_content_is_another_object(four: Four, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: what an older release of zstd put, and only older backups name, may stay damaged: a copy that names the
    content as it is put today is whole."""
    choose(monkeypatch)
    await four.agent.backup.run(backup("t1", "p1"))
    assert (await synced(four.agent, sync("p1", "p2")))["p2"].outcome == "success"
    opened: OpenedRepository = four.opened("p2")
    notes = DamageNotes(opened, HOST)
    coded = next(key for key in sorted(four.objects("p2")) if key.rpartition("-")[2].isdecimal())
    stem, _, size = coded.rpartition("-")
    other = notes.object_of(f"{stem}-{int(size) + 10}")
    assert other is not None
    assert other.key.startswith(data_prefix(CLUSTER, HOST))
    await notes.put(other, "damaged")
    assert (await synced(four.agent, sync("p1", "p2")))["p2"].outcome == "success"


async def test_what_is_missing_may_come_back_under_another_size(four: Four, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: where zstd makes it of another size today, the manifest is put anew once all of the backup is there, and
    names that."""
    choose(monkeypatch)
    await four.agent.backup.run(backup("t1", "p1", keep=True))
    key = manifest_key(CLUSTER, "t1", HOST)
    manifest = four.stores["p1"]._objects[key][0]
    lost = max(four.objects("p1"), key=lambda one: len(four.objects("p1")[one]))
    del four.stores["p1"]._objects[lost]
    choose(monkeypatch, checksum=True)
    result = (await synced(four.agent, Command("again", SyncArguments("t1", [target("p1")]))))["p1"]
    assert (result.outcome, result.put_objects > 0) == ("success", True)
    assert lost not in four.objects("p1")
    assert four.stores["p1"]._objects[key][0] != manifest
    assert same(four.found("p1"), four.node)
