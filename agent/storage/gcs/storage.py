"""Google Cloud Storage as a store. In: keys and bytes. Out: objects of one bucket, under the destination's prefix.

Every request runs in one of the destination's own threads; whatever the SDK raises becomes an error of the protocol in
`gcs_errors.translated`. The only retries are those of the wrapper around this. The SDK lists and signs; objects
go and come on its session, for it would copy them whole.
"""

import threading
from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from agent.storage.allowed_files import allowed_file
from agent.storage.bodies import PutBody, received
from agent.storage.buckets import bucket_and_prefix
from agent.storage.endpoints import checked_endpoint, host_of, refuse_link_local
from agent.storage.gcs.batch import Deletions
from agent.storage.gcs.client import GOOGLE, make_client
from agent.storage.gcs.credentials import credentials_of
from agent.storage.gcs.errors import Exists, failure, translated
from agent.storage.gcs.upload import Upload, crc32c_of
from agent.storage.heads import bytes_from, is_asked_first, taken
from agent.storage.keys import MOST_BYTES, BadKey, check_key, check_prefix
from agent.storage.listing_order import in_order
from agent.storage.protocol import (
    OPEN,
    BadSettings,
    Buffer,
    Entry,
    Gate,
    NotFound,
    Put,
    StorageError,
    Transient,
    Truncated,
)
from agent.storage.threads import Stop, Workers
from agent.storage.timeouts import Timeouts
from agent.wire.destinations import GcsSettings

PAGE = 1000
"""Keys of one page of a listing, the most there are."""
BATCH = 100
"""Deletions that one request takes."""
FIELDS = "items(name,size,timeCreated),nextPageToken"


class GcsStorage:
    """Objects of `settings.path` (bucket and prefix).

    `conditional_create`: the store is known to keep «create only if absent» (see `conformance`); else it is asked
    first. `file_roots`: the directories that `credentials_file` and `ca_file` may lie in. `link_local`: hosts that may
    be link-local. Raises `BadSettings`.
    """

    def __init__(
        self,
        settings: GcsSettings,
        *,
        conditional_create: bool,
        file_roots: Sequence[Path] = (),
        link_local: Collection[str] = (),
        patience: Timeouts | None = None,
    ) -> None:
        self._settings = settings
        self._bucket, self._prefix = bucket_and_prefix(settings.path)
        self._endpoint = checked_endpoint(settings.endpoint or GOOGLE).rstrip("/")
        if not 1 <= settings.connections <= 64:
            raise BadSettings("connections must be 1 to 64", setting="connections")
        self._credentials = credentials_of(settings, file_roots)
        self._ca_file = allowed_file(settings.ca_file, file_roots, "ca_file") if settings.ca_file else None
        if self._ca_file is not None and not self._ca_file.is_file():
            raise BadSettings("there is no such ca_file", setting="ca_file")
        self._conditional = conditional_create
        self._link_local = link_local
        self._patience = patience or Timeouts()
        self._workers = Workers(settings.connections, "gcs-storage")
        self._making = threading.Lock()
        self._made: tuple[Any, Any] | None = None
        self._proven = False

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        """Store the buffers; see `Storage.put`."""
        name = self._name(key)
        return await self._workers.run(partial(self._put, name, body, replace, gate))

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
            await self._workers.run(partial(self._delete, names[at : at + BATCH]))

    async def close(self) -> None:
        """End the threads and close the connections."""
        await self._workers.close()
        if self._made is not None:
            self._made[0].close()

    def _name(self, key: str) -> str:
        name = self._prefix + check_key(key)
        if len(name) > MOST_BYTES:
            raise BadKey("the key is too long under this destination's prefix", key=key)
        return name

    def _there(self) -> tuple[Any, Any]:
        """The SDK's client, and its session; neither has types."""
        with self._making:
            if self._made is None:
                if self._settings.endpoint:
                    refuse_link_local(self._settings.endpoint, self._link_local)
                self._made = make_client(
                    self._endpoint,
                    self._credentials,
                    self._ca_file,
                    self._patience,
                    connections=self._settings.connections,
                    watch=host_of(self._endpoint) not in self._link_local,
                )
            return self._made

    def _path(self, name: str) -> str:
        return f"/b/{self._bucket}/o/{quote(name, safe='')}"

    def _put(self, name: str, body: Sequence[Buffer], replace: bool, gate: Gate, stop: Stop) -> Put:
        if not replace and not self._conditional:
            there = self._head(name)
            if there is not None:
                return Put(created=False, size=there.size)
        upload = Upload(name, body)
        question = {"uploadType": "multipart", "fields": "size,crc32c"}
        if not replace and self._conditional:
            question["ifGenerationMatch"] = "0"
        try:
            with translated("put", name):
                _, session = self._there()
                answer = session.request(
                    "POST",
                    f"{self._endpoint}/upload/storage/v1/b/{self._bucket}/o",
                    params=question,
                    data=PutBody(upload.parts, gate, stop),
                    headers={"Content-Type": upload.content_type},
                )
                _check_stored(name, upload, answer)
        except Exists:
            return taken(name, self._head(name))
        self._proven = True
        return Put(created=True, size=upload.size)

    def _get(self, name: str, start: int, length: int | None, gate: Gate, stop: Stop) -> bytes:
        if is_asked_first(start, length) and not bytes_from(name, self._head(name), start, length):
            return b""
        headers = {"Accept-Encoding": "identity"}
        if start or length is not None:
            headers["Range"] = f"bytes={start}-" if length is None else f"bytes={start}-{start + length - 1}"
        try:
            with translated("get", name):
                _, session = self._there()
                address = f"{self._endpoint}/download/storage/v1{self._path(name)}"
                with session.request("GET", address, params={"alt": "media"}, headers=headers, stream=True) as answer:
                    if answer.status_code not in (200, 206):
                        raise failure("get", name, answer)
                    size = _check_range(name, answer, start, length)
                    found = received(name, answer.raw, size, gate, stop)
        except NotFound:
            self._prove()
            raise
        _check_read(name, answer, found)
        return found

    def _head(self, name: str) -> Entry | None:
        with translated("head", name):
            client, _ = self._there()
            found: Any = client.bucket(self._bucket).get_blob(name, retry=None)
        if found is None:
            self._prove()
            return None
        return entry_of(name, found)

    def _prove(self) -> None:
        """With some stores a missing bucket looks like a missing object. Before the first such answer is believed, a
        listing has to succeed."""
        if not self._proven:
            self._page("", None, Stop())

    async def _pages(self, prefix: str) -> AsyncIterator[Sequence[Entry]]:
        token: str | None = None
        while True:
            page, following = await self._workers.run(partial(self._page, prefix, token))
            yield page
            if following is None:
                return
            if following == token:
                raise StorageError("the store says that its listing goes on, but not where", key=prefix)
            token = following

    def _page(self, prefix: str, token: str | None, _: Stop) -> tuple[Sequence[Entry], str | None]:
        with translated("list", prefix):
            client, _session = self._there()
            listing: Any = client.list_blobs(
                self._bucket,
                prefix=self._prefix + prefix,
                page_size=PAGE,
                page_token=token,
                fields=FIELDS,
                retry=None,
            )
            blobs = list(next(listing.pages))
        self._proven = True
        skip = len(self._prefix)
        # Directory markers, which consoles make, are nobody's objects.
        found = [blob for blob in blobs if blob.name.startswith(self._prefix + prefix) and not blob.name.endswith("/")]
        page = [entry_of(blob.name[skip:], blob) for blob in found]
        return page, listing.next_page_token or None

    def _delete(self, names: Sequence[str], _: Stop) -> None:
        with translated("delete", names[0]):
            _client, session = self._there()
            deletions = Deletions([f"/storage/v1{self._path(name)}" for name in names])
            answer = session.request(
                "POST",
                f"{self._endpoint}/batch/storage/v1",
                data=deletions.body,
                headers={"Content-Type": deletions.content_type},
            )
            if answer.status_code != 200:
                raise failure("delete", names[0], answer)
            try:
                answers = deletions.answers(answer)
            except ValueError as error:
                raise Transient(f"the answer to a delete of {len(names)} objects: {error}", key=names[0]) from error
        failed = [
            failure("delete", name, answer)
            for name, answer in zip(names, answers, strict=True)
            if answer.status_code not in (200, 204, 404)
        ]
        if failed:
            # One that passes hides no other: what is tried again is the whole batch.
            raise min(failed, key=lambda error: isinstance(error, Transient))
        if all(answer.status_code == 404 for answer in answers):
            self._prove()


def entry_of(key: str, blob: Any) -> Entry:
    """What the SDK read of an object. Raises `Truncated` when something of it is missing, or unreadable."""
    try:
        return Entry(key, int(blob.size), blob.time_created.timestamp())
    except (AttributeError, TypeError, ValueError):
        raise Truncated(f"the store did not tell size and time of {key!r}", key=key) from None


def _check_stored(name: str, upload: Upload, answer: requests.Response) -> None:
    """Raise what the store answered, if it isn't that it keeps these bytes. It compares them with the sum itself."""
    if answer.status_code != 200:
        raise failure("put", name, answer)
    told = answer.json()
    if (str(told.get("size")), told.get("crc32c")) != (str(upload.size), upload.crc32c):
        raise StorageError(f"the store kept other bytes of {name!r} than it was sent", key=name)


def _check_range(name: str, answer: requests.Response, start: int, length: int | None) -> int:
    """How many bytes the answer holds, if they are those that were asked for."""
    came = int(answer.headers.get("content-length", -1))
    told = answer.headers.get("content-range")
    if came < 0:
        raise Truncated(f"the answer with {name!r} doesn't say how long it is", key=name)
    if start and told is None:
        raise StorageError(f"the store ignores ranges: it sent all of {name!r}", key=name)
    if length is not None and came != length:
        if came < length:
            total = (told or "").rpartition("/")[2]
            known = {"size": int(total)} if total.isdigit() else {}
            raise Truncated(f"an object is shorter than asked for: {name!r}", key=name, came=came, **known)
        raise StorageError(f"the store ignores ranges: it sent {came} bytes of {name!r}", key=name)
    return came


def _check_read(name: str, answer: requests.Response, found: bytes) -> None:
    """Compare what came with the store's sum of the whole object, where all of it came."""
    if answer.headers.get("x-goog-stored-content-length") != str(len(found)):
        return
    sums = dict(part.strip().partition("=")[::2] for part in answer.headers.get("x-goog-hash", "").split(","))
    if "crc32c" in sums and sums["crc32c"] != crc32c_of([found]):
        raise Transient(f"the bytes of {name!r} were damaged on their way, or in the store", key=name)
