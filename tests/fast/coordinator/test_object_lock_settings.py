"""Object lock of a destination as people send it, and what a delete tells of it."""

from typing import Any

import pytest

from agent.wire.destinations import object_lock_of
from agent.wire.object_lock import ObjectLock
from agent.wire.results import FreedPart, FreedResult
from coordinator.model.destinations import attributes_of
from coordinator.opscenter.destination_settings import read_settings
from coordinator.orchestrate.delete.locked import told_of_locked
from kit.errors import HelenusError

LOCK = {"mode": "compliance", "days": 30, "control": "control/c"}
BODY: dict[str, Any] = {"provider": "s3", "path": "bucket", "object_lock": LOCK}


def test_a_lock_is_passed_on_shown_and_kept() -> None:
    """Promise: agents get what was sent, answers show it, and an update that doesn't speak of it leaves it."""
    settings = read_settings(BODY, None)
    assert object_lock_of(settings) == ObjectLock("compliance", 30, "control/c")
    assert attributes_of(settings)["object_lock"] == LOCK
    assert object_lock_of(read_settings({"connections": 3}, settings)) == object_lock_of(settings)
    longer = read_settings({"object_lock": {**LOCK, "days": 60}}, settings)
    assert object_lock_of(longer) == ObjectLock("compliance", 60, "control/c")


@pytest.mark.parametrize(
    "body",
    [
        {**BODY, "object_lock": {**LOCK, "days": 0}},
        {**BODY, "object_lock": {"mode": "compliance", "days": 1}},
        {**BODY, "object_lock": {**LOCK, "control": "bucket/below"}},
        {**BODY, "object_lock": {**LOCK, "control": "a\x00b"}},
        {**BODY, "object_lock": True},
        {"provider": "local", "path": "p", "object_lock": LOCK},
        {"provider": "gcs", "path": "p", "object_lock": LOCK},
        {"provider": "azure", "path": "p", "account": "account", "object_lock": LOCK},
    ],
)
def test_a_lock_that_cannot_work_is_refused_by_name(body: dict[str, Any]) -> None:
    """Promise: before any agent hears of it, also for the providers that know none."""
    with pytest.raises(HelenusError, match="object_lock"):
        read_settings(body, None)


def test_what_is_locked_is_told_once_for_all_nodes() -> None:
    """Promise: sums over the nodes, with the time when the first of it may go, or of a dry run when all may; a
    destination without lock tells nothing of it."""
    counts = {"locked_bytes": 11, "locked_objects": 3}
    nodes = [
        FreedResult(5, 1, locked=FreedPart(10, 2), first_unlocked_at=200.0),
        FreedResult(7, 1),
        FreedResult(0, 0, locked=FreedPart(1, 1), first_unlocked_at=100.0),
    ]
    assert told_of_locked(nodes) == {**counts, "first_unlocked_at": 100.0}
    nodes = [
        FreedResult(5, 1, dry_run=True, locked=FreedPart(10, 2), all_unlocked_at=200.0),
        FreedResult(0, 0, dry_run=True, locked=FreedPart(1, 1), all_unlocked_at=100.0),
    ]
    assert told_of_locked(nodes) == {**counts, "all_unlocked_at": 200.0}
    assert told_of_locked([FreedResult(7, 1)]) == {}
