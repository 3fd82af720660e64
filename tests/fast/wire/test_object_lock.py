"""The settings of object lock: what can't work is refused before any store is asked."""

import msgspec
import pytest

from agent.wire.destinations import PROVIDERS, S3Settings, object_lock_of
from agent.wire.object_lock import DAY, ObjectLock

LOCK = {"mode": "compliance", "days": 30, "control": "control"}


def read(**fields: object) -> S3Settings:
    """Settings as they come over the API."""
    return msgspec.convert({"provider": "s3", "path": "bucket/prefix", **fields}, S3Settings)


def test_a_lock_is_read_with_its_days() -> None:
    """Promise: the settings say how long, in which mode, and where what changes lies; none is none."""
    assert object_lock_of(read(object_lock=LOCK)) == ObjectLock("compliance", 30, "control")
    assert object_lock_of(read()) is None
    assert msgspec.to_builtins(read(object_lock=LOCK))["object_lock"] == LOCK
    assert "object_lock" not in msgspec.to_builtins(read())


@pytest.mark.parametrize(
    "wrong",
    [
        {**LOCK, "mode": "forever"},
        {**LOCK, "days": 0},
        {**LOCK, "days": 1.5},
        {**LOCK, "control": " / "},
        {"mode": "compliance", "days": 30},
        {**LOCK, "more": 1},
        {**LOCK, "control": "bucket"},
        {**LOCK, "control": "bucket/prefix"},
        {**LOCK, "control": "/bucket/prefix/control/"},
    ],
)
def test_a_lock_that_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    """Promise: an unknown mode, no days, no control location, or one inside of what is locked, is refused by name."""
    with pytest.raises(msgspec.ValidationError, match="object_lock"):
        read(object_lock=wrong)


def test_control_may_lie_beside() -> None:
    """Promise: another prefix of the same bucket is taken; a name that only begins alike is another one."""
    lock = object_lock_of(read(object_lock={**LOCK, "control": "bucket/prefix-2"}))
    assert lock == ObjectLock("compliance", 30, "bucket/prefix-2")


@pytest.mark.parametrize("provider", ["local", "gcs", "azure"])
def test_other_providers_refuse_a_lock_by_name(provider: str) -> None:
    """Promise: where Helenus can't keep backups under lock, the setting is an unknown field, not one without effect."""
    settings = {"provider": provider, "path": "p", "object_lock": LOCK}
    if provider == "azure":
        settings["account"] = "account"
    with pytest.raises(msgspec.ValidationError, match="object_lock"):
        msgspec.json.decode(msgspec.json.encode(settings), type=PROVIDERS[provider])


def test_what_is_put_is_held_longer_than_is_due() -> None:
    """Promise: what was put is held for the days of every backup that ends within a quarter of them, less an hour."""
    lock = ObjectLock("governance", 8, "c")
    assert lock.until(1000.5) == 1001 + 10 * DAY
    assert lock.due(1000.5) == 1000.5 + 8 * DAY + 3600
    assert lock.due(1000.5 + 2 * DAY - 3600) <= lock.until(1000.5) < lock.due(1002 + 2 * DAY - 3600)
