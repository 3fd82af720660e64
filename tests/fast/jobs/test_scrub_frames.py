"""What a scrub does about objects that can't be read though their footers are right."""

from typing import Any

import pytest

from agent.crypto.digest import digest, digest_of
from agent.model.manifest import TableReference
from agent.repository import manifest as manifests
from agent.repository.errors import ManifestInvalid
from agent.repository.frame import HEADER_SIZE
from agent.repository.manifest_frame import read_parts
from agent.wire.commands import State
from tests.fast.jobs.agent_in_memory import Agent
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


async def test_an_object_of_a_newer_format_stops_nothing(agent: Agent, store: MemoryStorage) -> None:
    """Promise: what a later version put is told as such by backup, table and file, is neither noted nor replaced, and
    all else is read."""
    await agent.backup.run(backup("t1"))
    key, cut = large(store), min(objects(store), key=lambda one: len(objects(store)[one]))
    body = objects(store)[key]
    header = body[:4] + b"\x02" + body[5:HEADER_SIZE]
    newer = header + body[HEADER_SIZE:-32] + digest_of([header, digest(body[HEADER_SIZE:-32])])
    change(store, key, newer)
    change(store, cut, b"cut")
    outcome, result = await scrub(agent)
    assert outcome.state is State.PARTIAL
    assert (result.damaged, result.missing, len(noted(store))) == (1, 0, 1)
    assert {(one.key, one.reason) for one in result.places} == {(key, "repository_format_newer"), (cut, "damaged")}
    await agent.backup.run(backup("t2"))
    assert objects(store)[key] == newer
