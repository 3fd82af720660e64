"""A bucket under object lock. In: keys, bytes, and a time. Out: objects that nobody can delete before their time.

Such a bucket keeps versions: a put never replaces bytes, and a plain deletion only hides an object. So a deletion here
goes for every version by its id. Whoever else hides an object hides nothing from those who look at its versions, and
the next put of its key makes it visible again, as a version of its own.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from agent.storage.bodies import PutBody
from agent.storage.bucket_storage import goes_nowhere
from agent.storage.protocol import Buffer, Denied, Gate, NotFound, ObjectLocked, Put, StorageError, Transient
from agent.storage.s3.bucket_lock import refuse_unlocked
from agent.storage.s3.errors import REFUSED, translated
from agent.storage.s3.storage import MOST, S3Storage
from agent.storage.threads import Stop
from agent.wire.destinations import S3Settings
from agent.wire.object_lock import ObjectLock
from kit.together import together


class _Version(NamedTuple):
    name: str
    version: str
    is_marker: bool
    is_newest: bool = False


class LockedS3Storage(S3Storage):
    """As `S3Storage`, and everything that is put is held by `lock`. `clock`: unix seconds; S3 refuses signed requests
    of one that is a quarter of an hour off, so none locks for years that nobody asked for."""

    def __init__(
        self, settings: S3Settings, lock: ObjectLock, *, clock: Callable[[], float] = time.time, **more: Any
    ) -> None:
        super().__init__(settings, **more)
        self._lock = lock
        self._clock = clock
        self._examined = False

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove every version of the keys; see `Storage.delete`."""
        names = sorted(self._name(key) for key in keys)
        held: dict[str, float | None] = {}
        for at in range(0, len(names), MOST):
            held |= await self._workers.run(partial(self._delete_versions, names[at : at + MOST]))
        if held:
            first = min((until for until in held.values() if until is not None), default=None)
            when = "" if first is None else f" until {datetime.fromtimestamp(first, UTC):%Y-%m-%d %H:%M} UTC at least"
            skip = len(self._prefix)
            raise ObjectLocked(
                f"{len(held)} of {len(names)} objects are locked{when}",
                keys=(name[skip:] for name in held),
                count=len(held),
                held_until=first,
            )

    async def hold(self, keys: Sequence[str], until: float) -> None:
        """One request for each key, side by side; see `Storage.hold`."""
        names = [self._name(key) for key in keys]
        await together(*(self._workers.run(partial(self._hold, name, until)) for name in names))

    async def hidden(self, most: int) -> tuple[int, list[str]]:
        """How many keys' newest version is the mark of a deletion, which this store never leaves, and the first of
        them. Raises a StorageError."""
        return await self._workers.run(partial(self._hidden_keys, most))

    async def examine(self) -> None:
        """See `Storage.examine`. Sweeps need a right of their own, to list versions: without it the first one, days
        later, would be the first to be refused."""
        await self._workers.run(self._examine)
        await self._workers.run(lambda stop: next(self._version_pages(f"{self._prefix}helenus-check/", "", stop)))

    def _hidden_keys(self, most: int, stop: Stop) -> tuple[int, list[str]]:
        count = 0
        first: list[str] = []
        for page in self._version_pages(self._prefix, "", stop):
            found = [one.name[len(self._prefix) :] for one in page if one.is_marker and one.is_newest]
            count += len(found)
            first += found[: most - len(first)]
        return count, first

    def _examine(self, _: Stop) -> None:
        refuse_unlocked(self._there(), self._bucket)
        self._examined = True

    def _stored(self, name: str, body: Sequence[Buffer], replace: bool, gate: Gate, stop: Stop) -> Put:
        if not self._examined:  # a bucket without lock may take what is to be locked all the same
            self._examine(stop)
        until = self._lock.until(self._clock())  # before the request's own, and no later
        put = super()._stored(name, body, replace, gate, stop)
        return Put(put.created, put.size, until if put.created else None)

    def _hidden(self, name: str, body: Sequence[Buffer], gate: Gate, stop: Stop) -> Put:
        # By a deletion that named no version, which some stores still take for being there: one more version shows.
        return Put(created=True, size=self._put(name, body, gate, stop, only_new=False))

    def _put_arguments(self, name: str, body: PutBody, *, only_new: bool) -> dict[str, Any]:
        arguments = super()._put_arguments(name, body, only_new=only_new)
        if not arguments.keys() & {"ChecksumCRC32", "ChecksumSHA256"}:
            arguments["ChecksumCRC32"] = body.crc32()  # S3 takes nothing under lock without one
        arguments["ObjectLockMode"] = self._lock.mode.upper()
        arguments["ObjectLockRetainUntilDate"] = datetime.fromtimestamp(self._lock.until(self._clock()), UTC)
        return arguments

    def _hold(self, name: str, until: float, _: Stop) -> None:
        try:
            self._retain(name, self._lock.mode.upper(), until)
        except Denied:
            with translated("head", name):
                found = self._there().head_object(Bucket=self._bucket, Key=name)
            there: datetime | None = found.get("ObjectLockRetainUntilDate")
            if there is None or there.timestamp() >= until:
                if there is None:
                    raise
                return  # held for longer already: nobody may shorten that
            # Locked in the other mode, which only whoever may bypass a lock can change: held on in that.
            self._retain(name, found["ObjectLockMode"], until)

    def _retain(self, name: str, mode: str, until: float) -> None:
        retention: Any = {"Mode": mode, "RetainUntilDate": datetime.fromtimestamp(until, UTC)}
        with translated("hold", name):
            self._there().put_object_retention(Bucket=self._bucket, Key=name, Retention=retention)

    def _delete_versions(self, names: Sequence[str], stop: Stop) -> dict[str, float | None]:
        """Those that are locked, and until when the first of them is."""
        found = self._versions(names, stop)
        refused = self._delete_these([one for one in found if not one.is_marker], stop)
        held = dict.fromkeys((one.name for one in refused), None) | self._look(refused[:1])
        # Whatever hides a locked object goes with it, not before.
        self._delete_these([one for one in found if one.is_marker and one.name not in held], stop)
        return held

    def _versions(self, names: Sequence[str], stop: Stop) -> list[_Version]:
        """All versions of the names, and the marks of their deletions."""
        wanted = set(names)
        prefix = _shared(names[0], names[-1])
        # Begins behind all that is listed before.
        behind = names[0][:-1] if prefix != names[0] else ""
        found: list[_Version] = []
        for page in self._version_pages(prefix, behind, stop):
            found += [one for one in page if one.name in wanted]
            if page and max(one.name for one in page) > names[-1]:
                break
        return found

    def _version_pages(self, prefix: str, behind: str, stop: Stop) -> Iterator[list[_Version]]:
        """All versions of a prefix, in the order of their names."""
        arguments: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix}
        if behind:
            arguments["KeyMarker"] = behind
        while True:
            stop.check()
            with translated("list the versions", prefix):
                page: Any = self._there().list_object_versions(**arguments)
            yield [
                _Version(item["Key"], item["VersionId"], kind == "DeleteMarkers", bool(item.get("IsLatest")))
                for kind in ("Versions", "DeleteMarkers")
                for item in page.get(kind, [])
            ]
            if not page.get("IsTruncated"):
                return
            following = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page.get("NextVersionIdMarker", "")}
            if following.items() <= arguments.items():
                raise goes_nowhere(prefix)
            arguments |= following

    def _delete_these(self, versions: Sequence[_Version], stop: Stop) -> list[_Version]:
        """Those that the store refused to delete."""
        refused = []
        for at in range(0, len(versions), MOST):
            stop.check()
            batch = versions[at : at + MOST]
            objects: Any = [{"Key": one.name, "VersionId": one.version} for one in batch]
            with translated("delete", batch[0].name):
                answer: Any = self._there().delete_objects(
                    Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True}
                )
            for item in answer.get("Errors", []):
                code = str(item.get("Code", ""))
                if code in REFUSED:
                    refused.append(_Version(item["Key"], item.get("VersionId", ""), False))
                elif code not in ("NoSuchKey", "NoSuchVersion", "NotFound"):
                    kind = Transient if code in ("InternalError", "SlowDown") else StorageError
                    raise kind(f"the store did not delete a version: {code}", key=item["Key"], answer=code)
        return refused

    def _look(self, refused: Sequence[_Version]) -> dict[str, float | None]:
        """Until when these are locked. Raises Denied for one that isn't, for then these keys lack the right."""
        held: dict[str, float | None] = {}
        for one in refused:
            try:
                with translated("head", one.name):
                    found = self._there().head_object(Bucket=self._bucket, Key=one.name, VersionId=one.version)
            except NotFound:
                continue
            until: datetime | None = found.get("ObjectLockRetainUntilDate")
            if until is None and found.get("ObjectLockLegalHoldStatus") != "ON":
                raise Denied("these keys may not delete versions of objects", key=one.name)
            held[one.name] = None if until is None else until.timestamp()
        return held


def _shared(first: str, last: str) -> str:
    """What both begin with."""
    same = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), None)
    return first[: min(len(first), len(last)) if same is None else same]
