"""Azure Blob Storage as a store. In: keys and bytes. Out: block blobs of one container, under the destination's prefix.

Every request runs in one of the destination's own threads; whatever the SDK raises becomes an error of the protocol in
`azure_errors.translated`. The only retries are those of the wrapper around this. A put is one Put Blob request, which
takes up to 5,000 MiB: nothing is staged that would have to be cleaned up.
"""

import asyncio
import base64
import hashlib
import os
import re
import threading
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from azure.storage.blob import BlobClient, ContainerClient
from azure.storage.blob._generated.models import ModifiedAccessConditions

from agent.storage.allowed_files import allowed_file
from agent.storage.azure.client import make_client
from agent.storage.azure.credentials import credential_of
from agent.storage.azure.errors import Exists, translated
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


class AzureStorage:
    """Blobs of `settings.path` (container and prefix).

    `conditional_create`: the store is known to keep «create only if absent» (see `conformance`); else a HEAD asks
    first. `file_roots`: the directories that `credentials_file` and `ca_file` may lie in. `link_local`: hosts that may
    be link-local. `on_request`: called with the method of each HTTP request. Raises `BadSettings`.
    """

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
        self._settings = settings
        self._container, self._prefix = bucket_and_prefix(settings.path)
        if not ACCOUNT.fullmatch(settings.account):
            raise BadSettings("an account's name has 3 to 24 lower-case letters and digits", setting="account")
        if settings.endpoint:
            checked_endpoint(settings.endpoint)
        if not 1 <= settings.connections <= 64:
            raise BadSettings("connections must be 1 to 64", setting="connections")
        self._credential = credential_of(settings, file_roots, environment)
        self._ca_file = allowed_file(settings.ca_file, file_roots, "ca_file") if settings.ca_file else None
        if self._ca_file is not None and not self._ca_file.is_file():
            raise BadSettings("there is no such ca_file", setting="ca_file")
        self._conditional = conditional_create
        self._link_local = link_local
        self._patience = patience or Timeouts()
        self._on_request = on_request
        self._workers = Workers(settings.connections, "azure-storage")
        self._making = threading.Lock()
        self._client: ContainerClient | None = None

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
        """Every key of the prefix in lexical order, page by page."""
        return in_order(self._pages(check_prefix(prefix)))

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove the keys; see `Storage.delete`."""
        names = [self._name(key) for key in keys]
        for at in range(0, len(names), AT_ONCE):
            calls = [self._workers.run(partial(self._delete, name)) for name in names[at : at + AT_ONCE]]
            for answer in await asyncio.gather(*calls, return_exceptions=True):
                if isinstance(answer, BaseException):
                    raise answer

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

    def _made(self) -> ContainerClient:
        with self._making:
            if self._client is None:
                endpoint = self._settings.service
                refuse_link_local(endpoint, self._link_local)
                self._client = make_client(
                    self._settings,
                    self._container,
                    self._credential,
                    self._ca_file,
                    self._patience,
                    self._on_request,
                    watch=host_of(endpoint) not in self._link_local,
                )
            return self._client

    def _blob(self, name: str) -> BlobClient:
        return self._made().get_blob_client(name)

    def _put(self, name: str, body: PutBody, replace: bool) -> Put:
        if not replace and not self._conditional:
            there = self._head(name)
            if there is not None:
                return Put(created=False, size=there.size)
        only_new = ModifiedAccessConditions(if_none_match="*") if not replace and self._conditional else None
        try:
            with translated("put", name):
                # The SDK's public upload would read the whole body into one more piece of memory first.
                self._blob(name)._client.block_blob.upload(
                    content_length=len(body),
                    body=body,
                    transactional_content_md5=body.md5(),
                    modified_access_conditions=only_new,
                    read_timeout=self._patience.for_answer(len(body)),
                )
        except Exists:
            return taken(name, self._head(name))
        return Put(created=True, size=len(body))

    def _get(self, name: str, start: int, length: int | None, gate: Gate, stop: Stop) -> bytes:
        if is_asked_first(start, length):
            length = bytes_from(name, self._head(name), start, length)
            if not length:
                return b""
        whole = length is None
        with translated("get", name):
            answer: Any = self._blob(name)._client.blob.download(
                range=None if length is None else f"bytes={start}-{start + length - 1}",
                range_get_content_md5=True if length is not None and length <= MOST_SUMMED else None,
                cls=_answer,  # the SDK's own stream asks no gate
            )
            try:
                size = _checked_size(name, answer.headers, length)
                found = received(name, _Stream(answer.internal_response.raw), size, gate, stop)
            finally:
                answer.close()
        told = answer.headers.get("Content-MD5")
        if told and (whole or len(found) <= MOST_SUMMED):
            _check_sum(name, found, told)
        return found

    def _head(self, name: str) -> Entry | None:
        try:
            with translated("head", name):
                found = self._blob(name).get_blob_properties()
        except NotFound:
            return None
        return Entry(name, found.size, found.last_modified.timestamp())

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
            listed = self._made().list_blobs(name_starts_with=self._prefix + prefix, results_per_page=PAGE)
            pages: Any = listed.by_page(continuation_token=token)
            found = [
                Entry(blob.name[len(self._prefix) :], blob.size, blob.last_modified.timestamp()) for blob in next(pages)
            ]
        return found, pages.continuation_token or None

    def _delete(self, name: str, stop: Stop) -> None:
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


def _checked_size(name: str, headers: Mapping[str, str], length: int | None) -> int:
    came = int(headers.get("Content-Length", -1))
    if came < 0:
        raise StorageError(f"the store does not say how long its answer is: {name!r}", key=name)
    if length is None or came == length:
        return came
    if came < length:
        total = headers.get("Content-Range", "").rpartition("/")[2]
        told = {"size": int(total)} if total.isdigit() else {}
        raise Truncated(f"an object is shorter than asked for: {name!r}", key=name, came=came, **told)
    raise StorageError(f"the store ignores ranges: it sent {came} bytes of {name!r}", key=name)


def _check_sum(name: str, found: bytes, told: str) -> None:
    """What arrived is what the store read. Raises `Transient`: another try may bring it whole."""
    digest = hashlib.md5(found, usedforsecurity=False).digest()
    if base64.b64encode(digest).decode("ascii") != told:
        raise Transient(f"the bytes of {name!r} are not those that the store summed", key=name, fault="Content-MD5")
