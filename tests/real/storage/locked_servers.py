"""Buckets under object lock on real servers. In: a server. Out: settings of destinations in them, and stores whose
locks end when a test wants.
"""

import time
import uuid
from collections.abc import Callable
from contextlib import closing
from typing import Any

import msgspec

from agent.repository.control_keys import SIDES
from agent.storage.divided import Divided
from agent.storage.s3.locked import LockedS3Storage
from agent.storage.s3.storage import S3Storage
from agent.wire.destinations import S3Settings, object_lock_of
from agent.wire.object_lock import DAY, ObjectLock
from tests.cluster.stores import S3Server, settings_for

DAYS = 4
"""What is put is held for five days."""


async def locked_settings(server: S3Server, mode: str = "compliance", **fields: object) -> S3Settings:
    """A destination in a new bucket with object lock, and a control location in a new one without."""
    name = uuid.uuid4().hex
    await server.make_locked_bucket(f"locked-{name}")
    await server.make_bucket(f"control-{name}")
    lock = {"mode": mode, "days": DAYS, "control": f"control-{name}/c"}
    return settings_for(server, path=f"locked-{name}/some/prefix", object_lock=lock, **fields)


def ending_in(seconds: float) -> Callable[[], float]:
    """A clock by which what is put now is held for so many seconds more."""
    return lambda: time.time() - 1.25 * DAYS * DAY + seconds


def locked_store(
    settings: S3Settings,
    clock: Callable[[], float] = time.time,
    on_request: Callable[[str], None] = lambda operation: None,
) -> Divided:
    """The store of a locked destination, without wrappers."""
    lock = object_lock_of(settings)
    assert lock is not None
    control = msgspec.structs.replace(settings, path=lock.control, object_lock=msgspec.UNSET)
    locked = LockedS3Storage(settings, lock, clock=clock, conditional_create=True, on_request=on_request)
    return Divided(locked, S3Storage(control, conditional_create=True, on_request=on_request), SIDES)


def versions_in(server: S3Server, path: str) -> list[dict[str, Any]]:
    """Every version and every deletion mark of a bucket, as the server lists them."""
    with closing(server.client()) as client:
        page = client.list_object_versions(Bucket=path.partition("/")[0])
        return [*page.get("Versions", []), *page.get("DeleteMarkers", [])]


def in_mode(settings: S3Settings, mode: str) -> S3Settings:
    """The same destination with the other mode."""
    lock = msgspec.convert({**msgspec.to_builtins(settings.object_lock), "mode": mode}, ObjectLock)
    return msgspec.structs.replace(settings, object_lock=lock)


def unlocked(settings: S3Settings) -> S3Settings:
    """The same bucket for who knows nothing of its lock."""
    return msgspec.structs.replace(settings, object_lock=msgspec.UNSET)
