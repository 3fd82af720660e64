"""What a scrub does about objects that can't be read though their footers are right."""

from typing import Any

import pytest

from agent.crypto.digest import digest, digest_of
from agent.jobs.scrub.notes import ScrubNotes
from agent.model.manifest import TableReference
from agent.repository import manifest as manifests
from agent.repository.errors import ManifestInvalid
from agent.repository.frame import HEADER_SIZE
from agent.repository.manifest_frame import read_parts
from agent.wire.commands import ScrubArguments, State
from agent.wire.results import ScrubResult
from tests.fast.jobs.agent_in_memory import Agent, Command, Crash, target
from tests.fast.jobs.test_backup import backup
from tests.fast.jobs.test_scrub import change, large, noted, objects, scrub
from tests.fast.storage.memory import MemoryStorage


def spoil_orders(monkeypatch: pytest.MonkeyPatch, *, times: int = 1_000) -> None:
    """From now on, the frame of shop.orders can't be decoded, so many times."""
    spoiled: list[TableReference] = []

    def parts(frame: Any, reference: TableReference, *more: Any, **named: Any) -> Any:
        if reference.table == "orders" and len(spoiled) < times:
            spoiled.append(reference)
            raise ManifestInvalid("a frame that says nothing")
        return read_parts(frame, reference, *more, **named)

    monkeypatch.setattr(manifests, "read_parts", parts)


async def test_a_frame_that_says_nothing_is_damaged(
    agent: Agent, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a frame that is an object, has a right footer and can't be decoded is damaged, noted, and told of each
    backup that needs it."""
    monkeypatch.setattr(manifests, "INLINE_LIMIT", 1)
    await agent.backup.run(backup("t1"))
    await agent.backup.run(backup("t2"))
    spoil_orders(monkeypatch)
    outcome, result = await scrub(agent)
    assert outcome.state is State.PARTIAL
    assert result.damaged == len(noted(store)) == 1
    assert [(one.tag, one.table, one.file, one.reason) for one in result.places] == [
        ("t1", "orders", "", "damaged"),
        ("t2", "orders", "", "damaged"),
    ]


async def test_a_frame_that_failed_once_is_no_damage(
    agent: Agent, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a frame that can be read the second time is not noted, and what it names is looked for."""
    monkeypatch.setattr(manifests, "INLINE_LIMIT", 1)
    await agent.backup.run(backup("t1"))
    spoil_orders(monkeypatch, times=1)
    outcome, _ = await scrub(agent)
    assert outcome.state is State.SUCCESS
    assert noted(store) == []


async def test_every_backup_that_shares_a_broken_frame_is_named(
    agent: Agent, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a frame inside two manifests that can't be decoded is told of both."""
    await agent.backup.run(backup("t1"))
    await agent.backup.run(backup("t2"))
    spoil_orders(monkeypatch)
    _, result = await scrub(agent)
    assert [(one.tag, one.table, one.reason) for one in result.places] == [
        ("t1", "orders", "manifest_invalid"),
        ("t2", "orders", "manifest_invalid"),
    ]


def of_a_later_format(body: bytes) -> bytes:
    """The object as a later release may have put it."""
    header = body[:4] + b"\x02" + body[5:HEADER_SIZE]
    return header + body[HEADER_SIZE:-32] + digest_of([header, digest(body[HEADER_SIZE:-32])])


async def test_an_object_of_a_newer_format_stops_nothing(agent: Agent, store: MemoryStorage) -> None:
    """Promise: what a later version put is told as such by backup, table and file, is neither noted nor replaced, and
    all else is read."""
    await agent.backup.run(backup("t1"))
    key, cut = large(store), min(objects(store), key=lambda one: len(objects(store)[one]))
    newer = of_a_later_format(objects(store)[key])
    change(store, key, newer)
    change(store, cut, b"cut")
    outcome, result = await scrub(agent)
    assert outcome.state is State.PARTIAL
    assert (result.damaged, result.missing, len(noted(store))) == (1, 0, 1)
    assert {(one.key, one.reason) for one in result.places} == {(key, "repository_format_newer"), (cut, "damaged")}
    await agent.backup.run(backup("t2"))
    assert objects(store)[key] == newer


async def test_an_object_of_a_newer_format_is_looked_at_until_it_can_be_read(
    agent: Agent, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: though nothing notes it in the repository, the backup is no good one for later scrubs either, whatever
    share they read, nor after one that was cut off; once it can be read, or no backup needs it, it is forgotten."""
    await agent.backup.run(backup("t1"))
    agent.scrub._sample = 0
    key = large(store)
    right = objects(store)[key]
    change(store, key, of_a_later_format(right))
    command = Command("cut off", ScrubArguments(target(), True))
    with monkeypatch.context() as patched:
        patched.setattr("agent.jobs.scrub.scrub._Scrub.tell", crash)
        with pytest.raises(Crash):
            await agent.scrub.run(command)
    agent.scrub._notes = ScrubNotes(agent.scrub_notes._directory.parent)
    outcome = await agent.scrub.run(command)
    assert isinstance(outcome.result, ScrubResult)
    assert (outcome.result.backups, outcome.result.objects) == (["t1"], 0)
    for number in range(3):
        _, later = await scrub(agent, whole=False, command=f"share {number}")
        assert (later.slices < 12, later.backups) == (True, ["t1"])
    change(store, key, right)
    assert (await scrub(agent, whole=False, command="read"))[1].backups == []
    [note] = agent.scrub._notes.all()
    assert note.newer == ()


async def crash(*_: object) -> None:
    """The agent is killed."""
    raise Crash
