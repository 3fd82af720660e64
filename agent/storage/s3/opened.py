"""From S3 settings to their store. In: settings, and which keys object lock leaves alone. Out: one bucket, or a locked
one and the control location beside it."""

from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec
from msgspec import UNSET

from agent.storage.divided import Divided, Sides
from agent.storage.protocol import Storage
from agent.storage.s3.locked import LockedS3Storage
from agent.storage.s3.storage import S3Storage
from agent.wire.destinations import S3Settings, object_lock_of
from agent.wire.object_lock import ObjectLock


def open_s3(
    settings: S3Settings,
    sides: Sides,
    *,
    conditional_create: bool,
    file_roots: Sequence[Path],
    link_local: Collection[str],
) -> Storage:
    """The store, without wrappers; the arguments are `S3Storage`'s. Raises `BadSettings`."""
    lock = object_lock_of(settings)
    path = settings.path if lock is None else lock.control
    plain = S3Storage(
        msgspec.structs.replace(settings, path=path, object_lock=UNSET),
        conditional_create=conditional_create,
        file_roots=file_roots,
        link_local=link_local,
    )
    if lock is None:
        return plain
    locked = LockedS3Storage(
        settings, lock, conditional_create=conditional_create, file_roots=file_roots, link_local=link_local
    )
    return Divided(locked, plain, sides)


async def hidden_in(
    settings: S3Settings, lock: ObjectLock, file_roots: Sequence[Path], most: int
) -> tuple[int, list[str]]:
    """See `LockedS3Storage.hidden`. Raises `BadSettings`, a StorageError."""
    store = LockedS3Storage(settings, lock, conditional_create=False, file_roots=file_roots)
    try:
        return await store.hidden(most)
    finally:
        await store.close()
