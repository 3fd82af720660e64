"""Azure Blob Storage as a store. In: one blob, page or deletion to ask for. Out: what the store answered.

Whatever the SDK raises becomes an error of the protocol in `agent.storage.azure.errors.translated`. A put is one Put
Blob request, which takes up to 5,000 MiB: nothing is staged that would have to be cleaned up.
"""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from azure.storage.blob import BlobClient, ContainerClient
from azure.storage.blob._generated.models import ModifiedAccessConditions

from agent.storage.azure.client import make_client
from agent.storage.azure.container_lock import refuse_locked
from agent.storage.azure.credentials import credential_of
from agent.storage.azure.errors import translated
from agent.storage.bodies import PutBody, received
from agent.storage.bucket_storage import BucketStorage, Page
from agent.storage.protocol import BadSettings, Buffer, Entry, Gate, NotFound, Transient
from agent.storage.ranges import checked_range, range_header
from agent.storage.threads import Stop
from agent.storage.timeouts import Timeouts
from agent.wire.destinations import AzureSettings

AT_ONCE = 256
"""Deletions that wait for a thread at a time. Each is a request of its own: Azure counts those in a batch one by one
too, and a batch's addresses leave out an account that stands in the endpoint's path."""
PAGE = 1000
"""Keys of one answer to a listing (Azure would give 5,000: a megabyte or more, parsed in one go)."""
MOST_SUMMED = 4 * 1024 * 1024
"""Bytes of the longest range that Azure tells the MD5 of."""
ACCOUNT = re.compile(r"[a-z0-9]{3,24}")


def _ignore(method: str) -> None:
    return None


class AzureStorage(BucketStorage[ContainerClient]):
    """Blobs of `settings.path` (container and prefix); see `BucketStorage`.

    `environment`: where credentials are looked for last. `on_request`: called with the method of each HTTP request.
    Raises `BadSettings`.
    """

    DELETES_AT_ONCE = AT_ONCE

    def __init__(
        self,
        settings: AzureSettings,
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
            proven=True,  # Azure says which of the two is missing
        )
        if not ACCOUNT.fullmatch(settings.account):
            raise BadSettings("an account's name has 3 to 24 lower-case letters and digits", setting="account")
        self._settings = settings
        self._credential = credential_of(settings, file_roots, environment)
        self._on_request = on_request

    async def examine(self) -> None:
        """See `Storage.examine`."""
        await self._workers.run(lambda stop: refuse_locked(self._there()))

    def _connect(self) -> ContainerClient:
        return make_client(
            self._settings,
            self._bucket,
            self._credential,
            self._ca_file,
            self._patience,
            self._on_request,
            watch=self._is_watched(self._settings.service),
        )

    def _disconnect(self, connected: ContainerClient) -> None:
        connected.close()

    def _blob(self, name: str) -> BlobClient:
        return self._there().get_blob_client(name)

    def _put(self, name: str, body: Sequence[Buffer], gate: Gate, stop: Stop, *, only_new: bool) -> int:
        sent = PutBody(body, gate, stop)
        with translated("put", name):
            # The SDK's public upload would read the whole body into one more piece of memory first.
            self._blob(name)._client.block_blob.upload(
                content_length=len(sent),
                body=sent,
                transactional_content_md5=sent.md5(),
                modified_access_conditions=ModifiedAccessConditions(if_none_match="*") if only_new else None,
                read_timeout=self._patience.for_answer(len(sent)),
            )
        return len(sent)

    def _get(self, name: str, start: int, length: int | None, gate: Gate, stop: Stop) -> bytes:
        with translated("get", name):
            answer: Any = self._blob(name)._client.blob.download(
                range=None if length is None else range_header(start, length),
                range_get_content_md5=True if length is not None and length <= MOST_SUMMED else None,
                cls=_answer,  # the SDK's own stream asks no gate
            )
            try:
                came = int(answer.headers.get("Content-Length", -1))
                size = checked_range(name, start, length, came=came, told=answer.headers.get("Content-Range"))
                found = received(name, _Stream(answer.internal_response.raw), size, gate, stop)
            finally:
                answer.close()
        told = answer.headers.get("Content-MD5")
        if told and (length is None or len(found) <= MOST_SUMMED):
            _check_sum(name, found, told)
        return found

    def _head(self, name: str) -> Entry | None:
        try:
            with translated("head", name):
                found = self._blob(name).get_blob_properties()
        except NotFound:
            return None
        return Entry(name, found.size, found.last_modified.timestamp())

    def _page(self, prefix: str, token: str | None) -> Page:
        with translated("list", prefix):
            listed = self._there().list_blobs(name_starts_with=prefix, results_per_page=PAGE)
            pages: Any = listed.by_page(continuation_token=token)
            found = [Entry(blob.name, blob.size, blob.last_modified.timestamp()) for blob in next(pages)]
        return found, pages.continuation_token or None

    def _delete(self, names: Sequence[str], stop: Stop) -> None:
        [name] = names
        stop.check()
        try:
            with translated("delete", name):
                self._blob(name).delete_blob()
        except NotFound:
            return


class _Stream:
    """The answer's own stream, and below it the connection, where `received` looks for it."""

    def __init__(self, raw: Any) -> None:
        self._raw_stream = raw

    def read(self, count: int) -> bytes:
        """At most `count` bytes."""
        part: bytes = self._raw_stream.read(count)
        return part


def _answer(pipeline: Any, _: Any, __: Any) -> Any:
    return pipeline.http_response


def _check_sum(name: str, found: bytes, told: str) -> None:
    """What arrived is what the store read. Raises `Transient`: another try may bring it whole."""
    digest = hashlib.md5(found, usedforsecurity=False).digest()
    if base64.b64encode(digest).decode("ascii") != told:
        raise Transient(f"the bytes of {name!r} are not those that the store summed", key=name, fault="Content-MD5")
