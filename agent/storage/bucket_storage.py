"""What every store of buckets does alike. In: keys, bytes, and one provider's blocking requests. Out: a `Storage`.

Every request runs in one of the destination's own threads; whatever an SDK raises has become an error of the protocol
before it comes here. The only retries are those of the wrapper around this. A provider says how it asks for one object,
one page of a listing, one deletion; names of objects are whole there, with the destination's prefix.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import msgspec

from agent.storage.allowed_files import allowed_file
from agent.storage.buckets import bucket_and_prefix
from agent.storage.endpoints import checked_endpoint, host_of, refuse_link_local
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
    Unlocked,
)
from agent.storage.ranges import bytes_from, is_asked_first
from agent.storage.threads import Stop, Workers
from agent.storage.timeouts import Timeouts
from agent.wire.destinations import BucketSettings

MOST_CONNECTIONS = 64
Connected = TypeVar("Connected")
"""What a provider asks through, once it is made."""
Page = tuple[Sequence[Entry], str | None]
"""Entries in lexical order, and what to ask for the following ones with; None: there are none."""


class Exists(StorageError):
    """A conditional put found its key taken: told as `Put.created` False, to nobody as an error."""


class NotImplementedThere(StorageError):
    """The store knows no such request (501): it is asked in another way where there is one, and from then on."""


class BucketStorage(Unlocked, ABC, Generic[Connected]):
    """Objects of `settings.path` (bucket and prefix).

    `conditional_create`: the store is known to keep «create only if absent» (see `conformance`); else a look goes
    first. `file_roots`: the directories that `ca_file` and a file of credentials may lie in. `link_local`: hosts that
    may be link-local. `proven`: no answer of the store takes a missing bucket for a missing object. Raises
    `BadSettings`.
    """

    NAMES_PER_DELETE: ClassVar[int] = 1
    """How many objects one request deletes."""
    DELETES_AT_ONCE: ClassVar[int] = 1
    """How many such requests wait for a thread at a time."""

    def __init__(
        self,
        settings: BucketSettings,
        *,
        conditional_create: bool,
        file_roots: Sequence[Path],
        link_local: Collection[str],
        patience: Timeouts | None,
        proven: bool = False,
    ) -> None:
        self._bucket, self._prefix = bucket_and_prefix(settings.path)
        if settings.endpoint:
            checked_endpoint(settings.endpoint)
        if not 1 <= settings.connections <= MOST_CONNECTIONS:
            raise BadSettings(f"connections must be 1 to {MOST_CONNECTIONS}", setting="connections")
        self._ca_file = allowed_file(settings.ca_file, file_roots, "ca_file") if settings.ca_file else None
        if self._ca_file is not None and not self._ca_file.is_file():
            raise BadSettings("there is no such ca_file", setting="ca_file")
        self._conditional = conditional_create
        self._link_local = link_local
        self._patience = patience or Timeouts()
        self._proven = proven
        self._workers = Workers(settings.connections, "bucket-storage")
        self._connecting = threading.Lock()
        self._connected: Connected | None = None

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        """Store the buffers; see `Storage.put`."""
        name = self._name(key)
        return await self._workers.run(partial(self._stored, name, body, replace, gate))

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        """Bytes of an object; see `Storage.get`."""
        name = self._name(key)
        return await self._workers.run(partial(self._read, name, start, length, gate))

    async def head(self, key: str) -> Entry | None:
        """Size and time; see `Storage.head`."""
        name = self._name(key)
        found = await self._workers.run(lambda stop: self._looked_at(name))
        return None if found is None else msgspec.structs.replace(found, key=key)

    def list(self, prefix: str) -> AsyncIterator[Entry]:
        """Every key of the prefix in lexical order, page by page."""
        return in_order(self._pages(check_prefix(prefix)))

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove the keys; see `Storage.delete`."""
        names = [self._name(key) for key in keys]
        size = self.NAMES_PER_DELETE
        requests = [names[at : at + size] for at in range(0, len(names), size)]
        for at in range(0, len(requests), self.DELETES_AT_ONCE):
            together = requests[at : at + self.DELETES_AT_ONCE]
            calls = [self._workers.run(partial(self._delete, request)) for request in together]
            for answer in await asyncio.gather(*calls, return_exceptions=True):
                if isinstance(answer, BaseException):
                    raise answer

    async def close(self) -> None:
        """End the threads and close the connections."""
        await self._workers.close()
        if self._connected is not None:
            self._disconnect(self._connected)

    @abstractmethod
    def _connect(self) -> Connected:
        """What requests are made with. Nothing is sent, but an endpoint's name is looked up (see `_is_watched`)."""

    @abstractmethod
    def _disconnect(self, connected: Connected) -> None:
        """Close its connections."""

    @abstractmethod
    def _put(self, name: str, body: Sequence[Buffer], gate: Gate, stop: Stop, *, only_new: bool) -> int:
        """Store an object; its size. Raises `Exists`; `NotImplementedThere` when the store can't create `only_new`."""

    @abstractmethod
    def _get(self, name: str, start: int, length: int | None, gate: Gate, stop: Stop) -> bytes:
        """`length` bytes (at least one) of an object; None: the whole, and `start` is 0. Raises `NotFound`."""

    @abstractmethod
    def _head(self, name: str) -> Entry | None:
        """Size and time of an object; None if there is none."""

    @abstractmethod
    def _page(self, prefix: str, token: str | None) -> Page:
        """One page of the objects whose name begins so."""

    @abstractmethod
    def _delete(self, names: Sequence[str], stop: Stop) -> None:
        """Remove these, at most `NAMES_PER_DELETE`; those that are not there are fine."""

    def _there(self) -> Connected:
        """What requests are made with, made on first use."""
        with self._connecting:
            if self._connected is None:
                self._connected = self._connect()
            return self._connected

    def _is_watched(self, endpoint: str) -> bool:
        """Whether a connection to a cloud's metadata service must fail. Raises `BadSettings` when the endpoint is one
        by its name already."""
        if endpoint:
            refuse_link_local(endpoint, self._link_local)
        return host_of(endpoint) not in self._link_local

    def _name(self, key: str) -> str:
        name = self._prefix + check_key(key)
        if len(name) > MOST_BYTES:
            raise BadKey("the key is too long under this destination's prefix", key=key)
        return name

    def _stored(self, name: str, body: Sequence[Buffer], replace: bool, gate: Gate, stop: Stop) -> Put:
        if not replace and not self._conditional:
            there = self._looked_at(name)
            if there is not None:
                return Put(created=False, size=there.size)
        try:
            size = self._put(name, body, gate, stop, only_new=not replace and self._conditional)
        except Exists:
            taken = self._looked_at(name)
            if taken is None:
                return self._hidden(name, body, gate, stop)
            return Put(created=False, size=taken.size)
        except NotImplementedThere:
            if replace or not self._conditional:
                raise
            self._conditional = False
            return self._stored(name, body, replace, gate, stop)
        self._proven = True
        return Put(created=True, size=size)

    def _hidden(self, name: str, body: Sequence[Buffer], gate: Gate, stop: Stop) -> Put:
        """What to do about a key that is taken and that isn't there."""
        raise Transient(f"{name!r} was there and is gone again", key=name)

    def _read(self, name: str, start: int, length: int | None, gate: Gate, stop: Stop) -> bytes:
        if is_asked_first(start, length):
            length = bytes_from(name, self._looked_at(name), start, length)
            if not length:
                return b""
        try:
            return self._get(name, start, length, gate, stop)
        except NotFound:
            self._prove()
            raise

    def _looked_at(self, name: str) -> Entry | None:
        found = self._head(name)
        if found is None:
            self._prove()
        return found

    def _prove(self) -> None:
        """An answer without a body can't tell a missing bucket, and with some stores a wrong key, from a missing
        object. Before the first such answer is believed, a listing has to succeed."""
        if not self._proven:
            self._page(self._prefix, None)
            self._proven = True

    async def _pages(self, prefix: str) -> AsyncIterator[Sequence[Entry]]:
        token: str | None = None
        start = self._prefix + prefix
        skip = len(self._prefix)
        while True:
            page, following = await self._workers.run(partial(self._proving_page, start, token))
            # Directory markers, which consoles and some stores make by themselves, are nobody's objects.
            mine = (entry for entry in page if entry.key.startswith(start) and not entry.key.endswith("/"))
            yield [Entry(entry.key[skip:], entry.size, entry.modified) for entry in mine]
            if following is None:
                return
            if following == token:
                raise goes_nowhere(prefix)
            token = following

    def _proving_page(self, start: str, token: str | None, _: Stop) -> Page:
        page = self._page(start, token)
        self._proven = True
        return page


def goes_nowhere(prefix: str) -> StorageError:
    """The error of a listing that is to go on without saying where."""
    return StorageError("the store says that its listing goes on, but not where", key=prefix)
