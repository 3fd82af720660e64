"""A copy of a backup, and a note of damage on another object of the same content."""

import pytest

from agent.repository.damage_notes import DamageNotes
from agent.repository.keys import data_prefix
from agent.repository.opened import OpenedRepository
from tests.fast.jobs.agent_in_memory import CLUSTER
from tests.fast.jobs.four_destinations import Four, sync, synced
from tests.fast.jobs.node import HOST
from tests.fast.jobs.test_backup import backup
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
