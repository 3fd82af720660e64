"""S3, and what speaks S3, as a store. In: keys and bytes. Out: objects of one bucket, under the destination's prefix.

Every request runs in one of the destination's own threads; whatever the SDK raises becomes an error of the protocol in
`s3_errors.translated`. The only retries are those of the wrapper around this.
"""

import os
import threading
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.storage.allowed_files import allowed_file
from agent.storage.bodies import PutBody, received
from agent.storage.buckets import bucket_and_prefix
from agent.storage.endpoints import checked_endpoint, host_of, refuse_link_local
from agent.storage.heads import bytes_from, is_asked_first, taken
from agent.storage.keys import MOST_BYTES, BadKey, check_key, check_prefix
from agent.storage.listing_order import in_order
from agent.storage.protocol import (
    OPEN,
    BadSettings,
    Buffer,
    Denied,
    Entry,
    Gate,
    NotFound,
    Put,
    StorageError,
    Transient,
    Truncated,
)
from agent.storage.s3.client import make_client
from agent.storage.s3.credentials import keys_of
from agent.storage.s3.errors import REFUSED, Exists, NotImplementedThere, translated
from agent.storage.s3.peer import watch_peers
from agent.storage.threads import Stop, Workers
from agent.storage.timeouts import Timeouts
from agent.wire.destinations import S3Settings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

BATCH = 1000
"""Keys that one DeleteObjects takes."""


def _ignore(operation: str) -> None:
    return None


class S3Storage:
    """Objects of `settings.path` (bucket and prefix).

    `conditional_create`: the store is known to keep «create only if absent» (see `conformance`); else a HEAD asks
    first. `file_roots`: the directories that `credentials_file` and `ca_file` may lie in. `link_local`: hosts that may
    be link-local. `on_request`: called with the operation's name for each HTTP request. Raises `BadSettings`.
    """

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
        self._settings = settings
        self._bucket, self._prefix = bucket_and_prefix(settings.path)
        if settings.endpoint:
            checked_endpoint(settings.endpoint)
        if not 1 <= settings.connections <= 64:
            raise BadSettings("connections must be 1 to 64", setting="connections")
        if settings.kms_key_id and settings.server_side_encryption != "aws:kms":
            raise BadSettings("kms_key_id needs server_side_encryption aws:kms", setting="kms_key_id")
        self._keys = keys_of(settings, file_roots, environment)
        self._ca_file = allowed_file(settings.ca_file, file_roots, "ca_file") if settings.ca_file else None
        if self._ca_file is not None and not self._ca_file.is_file():
            raise BadSettings("there is no such ca_file", setting="ca_file")
        self._conditional = conditional_create
        self._link_local = link_local
        self._patience = patience or Timeouts()
        self._on_request = on_request
        self._workers = Workers(settings.connections, "s3-storage")
        self._making = threading.Lock()
        self._client: S3Client | None = None
        self._proven = False

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        """Store the buffers; see `Storage.put`."""
        name = self._name(key)
        return await self._workers.run(lambda stop: self._put(name, PutBody(body, gate, stop), replace))

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        """Bytes of an object; see `Storage.get`."""
        name = self._name(key)
        return await self._workers.run(partial(self._get, name, start, length, gate))

    async def head(self, key: str) -> Entry | None:
        """Size and time; see `Storage.head`."""
        name = self._name(key)
        found = await self._workers.run(lambda stop: self._head(name))
        return None if found is None else Entry(key, found.size, found.modified)

    def list(self, prefix: str) -> AsyncIterator[Entry]:
        """Every key of the prefix in lexical order; pages of 1,000."""
        return in_order(self._pages(check_prefix(prefix)))

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove the keys; see `Storage.delete`."""
        names = [self._name(key) for key in keys]
        for at in range(0, len(names), BATCH):
            batch = names[at : at + BATCH]
            await self._workers.run(partial(self._delete, batch))

    async def close(self) -> None:
        """End the threads and close the connections."""
        await self._workers.close()
        if self._client is not None:
            self._client.close()

    def _name(self, key: str) -> str:
        name = self._prefix + check_key(key)
        if len(name) > MOST_BYTES:
            raise BadKey("the key is too long under this destination's prefix", key=key)
        return name

    def _made(self) -> "S3Client":
        with self._making:
            if self._client is None:
                if self._settings.endpoint:
                    refuse_link_local(self._settings.endpoint, self._link_local)
                client = make_client(self._settings, self._keys, self._ca_file, self._patience, self._on_request)
                if host_of(self._settings.endpoint) not in self._link_local:
                    watch_peers(client)
                self._client = client
            return self._client

    def _put(self, name: str, body: PutBody, replace: bool) -> Put:
        if not replace and not self._conditional:
            there = self._head(name)
            if there is not None:
                return Put(created=False, size=there.size)
        try:
            with translated("put", name):
                self._made().put_object(**self._put_arguments(name, body, only_new=not replace and self._conditional))
        except Exists:
            return taken(name, self._head(name))
        except NotImplementedThere:
            if replace or not self._conditional:
                raise
            # The store says itself that it can't create conditionally: ask first from now on.
            self._conditional = False
            body.seek(0)
            return self._put(name, body, replace)
        self._proven = True
        return Put(created=True, size=len(body))

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
        if is_asked_first(start, length) and not bytes_from(name, self._head(name), start, length):
            return b""
        arguments: dict[str, Any] = {"Bucket": self._bucket, "Key": name}
        if start or length is not None:
            arguments["Range"] = f"bytes={start}-" if length is None else f"bytes={start}-{start + length - 1}"
        with translated("get", name):
            answer = self._made().get_object(**arguments)
            with answer["Body"] as body:
                _check_range(name, answer, start, length)
                return received(name, body, answer["ContentLength"], gate, stop)

    def _head(self, name: str) -> Entry | None:
        try:
            with translated("head", name):
                found = self._made().head_object(Bucket=self._bucket, Key=name)
        except NotFound:
            self._prove()
            return None
        return Entry(name, found["ContentLength"], found["LastModified"].timestamp())

    def _prove(self) -> None:
        """The answer to a HEAD has no body, so a missing bucket, and with some stores a wrong key, look like a missing
        object. Before the first such answer is believed, a listing has to succeed."""
        if not self._proven:
            self._page("", None, Stop())

    async def _pages(self, prefix: str) -> AsyncIterator[Sequence[Entry]]:
        token: str | None = None
        while True:
            page, token = await self._workers.run(partial(self._page, prefix, token))
            yield page
            if token is None:
                return

    def _page(self, prefix: str, token: str | None, _: Stop) -> tuple[Sequence[Entry], str | None]:
        arguments: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._prefix + prefix, "MaxKeys": BATCH}
        if token is not None:
            arguments["ContinuationToken"] = token
        with translated("list", prefix):
            answer = self._made().list_objects_v2(**arguments)
        if "IsTruncated" not in answer:
            raise Truncated("the store's listing does not say whether it is whole", key=prefix)
        self._proven = True
        skip = len(self._prefix)
        page = [
            Entry(item["Key"][skip:], item["Size"], item["LastModified"].timestamp())
            for item in answer.get("Contents", [])
            # Directory markers, which some stores make by themselves, are nobody's objects.
            if item["Key"].startswith(self._prefix + prefix) and not item["Key"].endswith("/")
        ]
        following = answer.get("NextContinuationToken") if answer.get("IsTruncated") else None
        if answer.get("IsTruncated") and (following is None or following == token):
            raise StorageError("the store says that its listing goes on, but not where", key=prefix)
        return page, following

    def _delete(self, names: Sequence[str], stop: Stop) -> None:
        objects = [{"Key": name} for name in names]
        try:
            with translated("delete", names[0]):
                answer: Any = self._made().delete_objects(
                    Bucket=self._bucket,
                    Delete={"Objects": objects, "Quiet": True},  # type: ignore[typeddict-item]
                )
        except NotImplementedThere:
            for name in names:
                stop.check()
                with translated("delete", name):
                    self._made().delete_object(Bucket=self._bucket, Key=name)
            return
        failed = [item for item in answer.get("Errors", []) if item.get("Code") not in ("NoSuchKey", "NotFound")]
        if failed:
            code = str(failed[0].get("Code", ""))
            kind = Denied if code in REFUSED else Transient if code in ("InternalError", "SlowDown") else StorageError
            text = f"the store did not delete {len(failed)} of {len(names)} objects: {code}"
            raise kind(text, key=str(failed[0].get("Key", "")), answer=code)


def _check_range(name: str, answer: Any, start: int, length: int | None) -> None:
    came = answer["ContentLength"]
    if start and "ContentRange" not in answer:
        raise StorageError(f"the store ignores ranges: it sent all of {name!r}", key=name)
    if length is not None and came != length:
        if came < length:
            total = answer.get("ContentRange", "").rpartition("/")[2]
            told = {"size": int(total)} if total.isdigit() else {}
            raise Truncated(f"an object is shorter than asked for: {name!r}", key=name, came=came, **told)
        raise StorageError(f"the store ignores ranges: it sent {came} bytes of {name!r}", key=name)
