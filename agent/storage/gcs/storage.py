"""Google Cloud Storage as a store. In: one object, page or deletion to ask for. Out: what the store answered.

Whatever the SDK raises becomes an error of the protocol in `agent.storage.gcs.errors.translated`. The SDK lists and
signs; objects go and come on its session, for it would copy them whole.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from agent.storage.bodies import PutBody, received
from agent.storage.bucket_storage import BucketStorage, Page
from agent.storage.gcs.batch import Deletions
from agent.storage.gcs.bucket_lock import refuse_locked
from agent.storage.gcs.client import GOOGLE, make_client
from agent.storage.gcs.credentials import credentials_of
from agent.storage.gcs.errors import failure, translated
from agent.storage.gcs.upload import Upload, crc32c_of
from agent.storage.protocol import Buffer, Entry, Gate, StorageError, Transient, Truncated
from agent.storage.ranges import checked_range, range_header
from agent.storage.threads import Stop
from agent.storage.timeouts import Timeouts
from agent.wire.destinations import GcsSettings

PAGE = 1000
"""Keys of one page of a listing, the most there are."""
BATCH = 100
"""Deletions that one request takes."""
FIELDS = "items(name,size,timeCreated),nextPageToken"


class GcsStorage(BucketStorage[tuple[Any, Any]]):
    """Objects of `settings.path` (bucket and prefix), through the SDK's client and its session, neither of which has
    types; see `BucketStorage`. Raises `BadSettings`."""

    NAMES_PER_DELETE = BATCH

    def __init__(
        self,
        settings: GcsSettings,
        *,
        conditional_create: bool,
        file_roots: Sequence[Path] = (),
        link_local: Collection[str] = (),
        patience: Timeouts | None = None,
    ) -> None:
        super().__init__(
            settings,
            conditional_create=conditional_create,
            file_roots=file_roots,
            link_local=link_local,
            patience=patience,
        )
        self._settings = settings
        self._endpoint = (settings.endpoint or GOOGLE).rstrip("/")
        self._credentials = credentials_of(settings, file_roots)

    async def examine(self) -> None:
        """See `Storage.examine`."""
        await self._workers.run(lambda stop: refuse_locked(self._there()[1], self._endpoint, self._bucket))

    def _connect(self) -> tuple[Any, Any]:
        return make_client(
            self._endpoint,
            self._credentials,
            self._ca_file,
            self._patience,
            connections=self._settings.connections,
            watch=self._is_watched(self._settings.endpoint),
        )

    def _disconnect(self, connected: tuple[Any, Any]) -> None:
        connected[0].close()

    def _path(self, name: str) -> str:
        return f"/b/{self._bucket}/o/{quote(name, safe='')}"

    def _put(self, name: str, body: Sequence[Buffer], gate: Gate, stop: Stop, *, only_new: bool) -> int:
        upload = Upload(name, body)
        question = {"uploadType": "multipart", "fields": "size,crc32c"}
        if only_new:
            question["ifGenerationMatch"] = "0"
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
        return upload.size

    def _get(self, name: str, start: int, length: int | None, gate: Gate, stop: Stop) -> bytes:
        headers = {"Accept-Encoding": "identity"}
        if length is not None:
            headers["Range"] = range_header(start, length)
        with translated("get", name):
            _, session = self._there()
            address = f"{self._endpoint}/download/storage/v1{self._path(name)}"
            with session.request("GET", address, params={"alt": "media"}, headers=headers, stream=True) as answer:
                if answer.status_code not in (200, 206):
                    raise failure("get", name, answer)
                came = int(answer.headers.get("content-length", -1))
                size = checked_range(name, start, length, came=came, told=answer.headers.get("content-range"))
                found = received(name, answer.raw, size, gate, stop)
        _check_read(name, answer, found)
        return found

    def _head(self, name: str) -> Entry | None:
        with translated("head", name):
            client, _ = self._there()
            found: Any = client.bucket(self._bucket).get_blob(name, retry=None)
        return None if found is None else entry_of(found)

    def _page(self, prefix: str, token: str | None) -> Page:
        with translated("list", prefix):
            client, _session = self._there()
            listing: Any = client.list_blobs(
                self._bucket, prefix=prefix, page_size=PAGE, page_token=token, fields=FIELDS, retry=None
            )
            blobs = list(next(listing.pages))
        return [entry_of(blob) for blob in blobs], listing.next_page_token or None

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


def entry_of(blob: Any) -> Entry:
    """What the SDK read of an object. Raises `Truncated` when something of it is missing, or unreadable."""
    try:
        return Entry(blob.name, int(blob.size), blob.time_created.timestamp())
    except (AttributeError, TypeError, ValueError):
        raise Truncated(f"the store did not tell size and time of {blob.name!r}", key=blob.name) from None


def _check_stored(name: str, upload: Upload, answer: requests.Response) -> None:
    """Raise what the store answered, if it isn't that it keeps these bytes. It compares them with the sum itself."""
    if answer.status_code != 200:
        raise failure("put", name, answer)
    told = answer.json()
    if (str(told.get("size")), told.get("crc32c")) != (str(upload.size), upload.crc32c):
        raise StorageError(f"the store kept other bytes of {name!r} than it was sent", key=name)


def _check_read(name: str, answer: requests.Response, found: bytes) -> None:
    """Compare what came with the store's sum of the whole object, where all of it came."""
    if answer.headers.get("x-goog-stored-content-length") != str(len(found)):
        return
    sums = dict(part.strip().partition("=")[::2] for part in answer.headers.get("x-goog-hash", "").split(","))
    if "crc32c" in sums and sums["crc32c"] != crc32c_of([found]):
        raise Transient(f"the bytes of {name!r} were damaged on their way, or in the store", key=name)
