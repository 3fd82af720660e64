"""S3, and what speaks S3, as a store. In: one object, page or deletion to ask for. Out: what the store answered.

Whatever the SDK raises becomes an error of the protocol in `agent.storage.s3.errors.translated`.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.storage.bodies import PutBody, received
from agent.storage.bucket_storage import BucketStorage, NotImplementedThere, Page, goes_nowhere
from agent.storage.protocol import (
    BadSettings,
    Buffer,
    Denied,
    Entry,
    Gate,
    NotFound,
    StorageError,
    Transient,
    Truncated,
)
from agent.storage.ranges import checked_range, range_header
from agent.storage.s3.bucket_lock import refuse_locked
from agent.storage.s3.client import make_client
from agent.storage.s3.credentials import keys_of
from agent.storage.s3.errors import REFUSED, translated
from agent.storage.s3.peer import watch_peers
from agent.storage.threads import Stop
from agent.storage.timeouts import Timeouts
from agent.wire.destinations import S3Settings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

MOST = 1000
"""Keys of one answer to a listing, and of one deletion."""


def _ignore(operation: str) -> None:
    return None


class S3Storage(BucketStorage["S3Client"]):
    """Objects of `settings.path` (bucket and prefix); see `BucketStorage`.

    `environment`: where credentials are looked for last. `on_request`: called with the operation's name for each HTTP
    request. Raises `BadSettings`.
    """

    NAMES_PER_DELETE = MOST

    def __init__(
        self,
        settings: S3Settings,
        *,
        conditional_create: bool,
        file_roots: Sequence[Path] = (),
        link_local: Collection[str] = (),
        environment: Mapping[str, str] = os.environ,
        patience: Timeouts | None = None,
        on_request: Callable[[str], None] = _ignore,
    ) -> None:
        super().__init__(
            settings,
            conditional_create=conditional_create,
            file_roots=file_roots,
            link_local=link_local,
            patience=patience,
        )
        if settings.kms_key_id and settings.server_side_encryption != "aws:kms":
            raise BadSettings("kms_key_id needs server_side_encryption aws:kms", setting="kms_key_id")
        self._settings = settings
        self._keys = keys_of(settings, file_roots, environment)
        self._on_request = on_request

    async def examine(self) -> None:
        """See `Storage.examine`."""
        await self._workers.run(lambda stop: refuse_locked(self._there(), self._bucket))

    def _connect(self) -> "S3Client":
        watched = self._is_watched(self._settings.endpoint)
        client = make_client(self._settings, self._keys, self._ca_file, self._patience, self._on_request)
        if watched:
            watch_peers(client)
        return client

    def _disconnect(self, connected: "S3Client") -> None:
        connected.close()

    def _put(self, name: str, body: Sequence[Buffer], gate: Gate, stop: Stop, *, only_new: bool) -> int:
        sent = PutBody(body, gate, stop)
        with translated("put", name):
            self._there().put_object(**self._put_arguments(name, sent, only_new=only_new))
        return len(sent)

    def _put_arguments(self, name: str, body: PutBody, *, only_new: bool) -> dict[str, Any]:
        settings = self._settings
        arguments: dict[str, Any] = {"Bucket": self._bucket, "Key": name, "Body": body}
        if only_new:
            arguments["IfNoneMatch"] = "*"
        if settings.checksum == "CRC32":
            arguments["ChecksumCRC32"] = body.crc32()
        elif settings.checksum == "SHA256":
            arguments["ChecksumSHA256"] = body.sha256()
        if settings.server_side_encryption:
            arguments["ServerSideEncryption"] = settings.server_side_encryption
        if settings.kms_key_id:
            arguments["SSEKMSKeyId"] = settings.kms_key_id
        return arguments

    def _get(self, name: str, start: int, length: int | None, gate: Gate, stop: Stop) -> bytes:
        arguments: dict[str, Any] = {"Bucket": self._bucket, "Key": name}
        if length is not None:
            arguments["Range"] = range_header(start, length)
        with translated("get", name):
            answer = self._there().get_object(**arguments)
            with answer["Body"] as body:
                size = checked_range(name, start, length, came=answer["ContentLength"], told=answer.get("ContentRange"))
                return received(name, body, size, gate, stop)

    def _head(self, name: str) -> Entry | None:
        try:
            with translated("head", name):
                found = self._there().head_object(Bucket=self._bucket, Key=name)
        except NotFound:
            return None
        held = found.get("ObjectLockRetainUntilDate")
        modified = found["LastModified"].timestamp()
        return Entry(name, found["ContentLength"], modified, None if held is None else held.timestamp())

    def _page(self, prefix: str, token: str | None) -> Page:
        arguments: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix, "MaxKeys": MOST}
        if token is not None:
            arguments["ContinuationToken"] = token
        with translated("list", prefix):
            answer = self._there().list_objects_v2(**arguments)
        if "IsTruncated" not in answer:
            raise Truncated("the store's listing does not say whether it is whole", key=prefix)
        found = answer.get("Contents", [])
        page = [Entry(item["Key"], item["Size"], item["LastModified"].timestamp()) for item in found]
        following = answer.get("NextContinuationToken") if answer["IsTruncated"] else None
        if answer["IsTruncated"] and following is None:
            raise goes_nowhere(prefix)
        return page, following

    def _delete(self, names: Sequence[str], stop: Stop) -> None:
        objects = [{"Key": name} for name in names]
        try:
            with translated("delete", names[0]):
                answer: Any = self._there().delete_objects(
                    Bucket=self._bucket,
                    Delete={"Objects": objects, "Quiet": True},  # type: ignore[typeddict-item]
                )
        except NotImplementedThere:
            for name in names:
                stop.check()
                with translated("delete", name):
                    self._there().delete_object(Bucket=self._bucket, Key=name)
            return
        failed = [item for item in answer.get("Errors", []) if item.get("Code") not in ("NoSuchKey", "NotFound")]
        if failed:
            code = str(failed[0].get("Code", ""))
            kind = Denied if code in REFUSED else Transient if code in ("InternalError", "SlowDown") else StorageError
            text = f"the store did not delete {len(failed)} of {len(names)} objects: {code}"
            raise kind(text, key=str(failed[0].get("Key", "")), answer=code)
