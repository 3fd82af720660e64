"""What a destination must be able to do: eight verbs over keys and bytes, and the errors they may raise.

In: keys (relative, `/`-separated, printable ASCII) and buffers. Out: bytes, sizes, and times of the store's own clock.
A store knows nothing of backups.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol

import msgspec

from kit.errors import HelenusError

Buffer = bytes | bytearray | memoryview


class Summed(list[Buffer]):
    """Buffers of which `crc32` (zlib's, of all of them together) is known already: whoever read them needed it, and a
    store that verifies one needn't have it computed again."""

    def __init__(self, buffers: Iterable[Buffer], crc32: int) -> None:
        super().__init__(buffers)
        self.crc32 = crc32


class Entry(msgspec.Struct, frozen=True):
    """One stored object as the store lists it. `size` in bytes; `modified` in unix seconds of the store's clock.
    `held_until`: under object lock, until when nobody can delete it, unix seconds; only `head` tells."""

    key: str
    size: int
    modified: float
    held_until: float | None = None


class Put(msgspec.Struct, frozen=True):
    """What a put did: `created` is False when the key was there already and nothing was written. `size` in bytes.
    `held_until`: of what was written under object lock, unix seconds."""

    created: bool
    size: int
    held_until: float | None = None


class Gate(Protocol):
    """Where bytes wait for their turn. Called in worker threads, just before bytes are written to, or after they are
    read from, a socket or file; so what an SDK reads twice to sign it is counted once."""

    def pass_bytes(self, count: int) -> None:
        """Return when `count` more bytes may flow; may sleep."""


class OpenGate:
    """A gate that never waits."""

    def pass_bytes(self, count: int) -> None:
        return None


OPEN = OpenGate()


class Storage(Protocol):
    """A destination's bytes. Every verb may raise the `StorageError`s below, nothing of an SDK."""

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        """Store the concatenated buffers under `key`, durable when it returns, visible whole or not at all.

        Without `replace` an existing key is never touched (`created=False`). `replace` is for the few mutable keys
        (intents). The buffers must not change until it returns.
        """

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        """The bytes from `start`, `length` of them (None: to the end). Fewer than asked for = `Truncated`.
        Raises `NotFound`."""

    async def head(self, key: str) -> Entry | None:
        """Size and time of one key, None if there is none."""

    def list(self, prefix: str) -> AsyncIterator[Entry]:
        """Every key that begins with `prefix` (plain text, exact), in lexical order, any number of them."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove the keys; those that are not there are fine. Durable when it returns. Raises `ObjectLocked` when all
        have gone but those that are under object lock."""

    async def hold(self, keys: Sequence[str], until: float) -> None:
        """Have these objects under object lock until then at least, unix seconds. Raises `NotFound`, `BucketNotLocked`
        where nothing is put under lock."""

    async def examine(self) -> None:
        """Ask the store whether it locks what is put there. Raises `BucketLocked`, `BucketNotLocked` where that isn't
        as the settings say."""

    async def close(self) -> None:
        """Give back threads and connections. No verb is called afterwards."""


class StorageError(HelenusError):
    """The root of what a store can answer instead of doing its work."""

    code = "storage_failed"
    status = 502
    todo = "Look at the store's own log; run the destination's check for a diagnosis."


class NotFound(StorageError):
    """The key is not there."""

    code = "object_not_found"
    status = 404
    todo = "The object is missing from the destination: restore from another backup and run a new one, which heals it."


class ObjectLocked(StorageError):
    """Some of what was to be deleted is under object lock, and stays; all else is deleted. `keys`: what stays."""

    code = "object_locked"
    status = 409
    retry = "later"
    todo = "Wait until the lock ends: what is still to go then goes when it is asked for again, with a sweep by itself."

    def __init__(self, message: str, *, keys: Iterable[str] = (), **fields: object) -> None:
        super().__init__(message, **fields)
        self.keys = frozenset(keys)


class BucketLocked(StorageError):
    """The bucket keeps what is put there from being deleted, and Helenus wasn't told, or can't work with that."""

    code = "bucket_locked"
    status = 409
    todo = (
        "Give the S3 destination object_lock with a control location where nothing is locked (docs/object-lock.md), or "
        "use a bucket without a retention of its own."
    )


class BucketNotLocked(StorageError):
    """The settings ask for object lock, and the bucket has none."""

    code = "bucket_not_locked"
    status = 409
    todo = "Use a bucket that was made with object lock (it then keeps versions), or leave object_lock out."


class Unlocked:
    """The verbs of object lock where there is none: what stores without it inherit."""

    async def hold(self, keys: Sequence[str], until: float) -> None:
        """See `Storage.hold`."""
        raise BucketNotLocked("this store puts nothing under lock")

    async def examine(self) -> None:
        """See `Storage.examine`."""


class Transient(StorageError):
    """A passing fault (5xx, SlowDown, reset, time-out): the retry wrapper tries again."""

    code = "storage_unavailable"
    retry = "now"
    todo = "The store did not answer properly in time; check its health and the network, then run the command again."


class Truncated(Transient):
    """Fewer bytes came than the store announced or than were asked for. With the field `size` the object itself
    is too short, and trying again is of no use: it is the whole size, None where the store only said so."""

    code = "storage_truncated"


class Denied(StorageError):
    """Wrong, expired or insufficient credentials."""

    code = "storage_denied"
    retry = "later"
    status = 403
    todo = "Correct the destination's credentials or the rights they give, then put the destination again."


class DirectoryReadOnly(StorageError):
    """A local destination's file system is mounted read-only."""

    code = "destination_read_only"
    retry = "later"
    status = 403
    todo = (
        "Mount the named directory's file system writable on that node (the kernel's log says why it is not), then "
        "send the command again."
    )


class DirectoryDenied(StorageError):
    """The agent's user has no right to a local destination's directory, or to something in it."""

    code = "directory_denied"
    retry = "later"
    status = 403
    todo = (
        "Give the named user the right to read and write the named directory and all that is in it, on that node, then "
        "send the command again."
    )


class BucketMissing(StorageError):
    """The bucket, container or directory itself is not there."""

    code = "bucket_missing"
    todo = "Create the bucket or directory, or correct the destination's path."


class DestinationFull(StorageError):
    """No room (ENOSPC, quota)."""

    code = "destination_full"
    status = 507
    retry = "later"
    todo = (
        "Make room, if only of some kilobytes: a delete of old backups (DELETE /{cluster}/backups) puts a few small "
        "files before it frees anything. Then run the command again; archiving of the commit log goes on by itself."
    )


class BadSettings(StorageError):
    """The destination's settings can't work or aren't allowed here."""

    code = "destination_settings"
    status = 400
    todo = "Correct the named setting of the destination."


class SdkMissing(StorageError):
    """The library of a destination's provider is not installed on this node."""

    code = "sdk_missing"
    status = 501
    retry = "later"
    todo = (
        "Install the named extra into the agent's environment on that node (pip install, its name in quotes), restart "
        "the agent, then put the destination again."
    )
