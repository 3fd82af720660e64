"""Deletion marks: in, a tag; out, the mark's bytes, and back. And before data goes for one: in, its entry in a listing;
out, nothing, or an error.

In an encrypted repository a mark is sealed: whoever can only write to the store can hide a backup by a mark of their
own, but have nothing of it deleted. In a plain one its being there is all there is to know.
"""

import msgspec

from agent.repository import checked_text
from agent.repository.bounded import MOST_INTENT
from agent.repository.errors import ManifestInvalid
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import Entry, NotFound


class Mark(msgspec.Struct, frozen=True):
    """catalogue/<tag>/deleted."""

    tag: str


_mark = msgspec.json.Decoder(Mark)


def encoded(tag: str) -> bytes:
    """The mark of a deleted backup, before it is sealed."""
    return checked_text.encode(Mark(tag))


class Marks:
    """The marks of one repository; each is read once, as long as it is the same."""

    def __init__(self, opened: OpenedRepository) -> None:
        self._documents = opened.documents
        self._sealed = opened.keyring is not None
        self._known: set[Entry] = set()

    async def refuse_forged(self, entry: Entry, tag: str) -> None:
        """Raise ManifestInvalid unless the mark was put by an agent with the repository's keys; SealingKeyUnknown, a
        StorageError. One that went meanwhile is fine."""
        if self._sealed:
            await self.refuse_unreadable(entry, tag)

    async def refuse_unreadable(self, entry: Entry, tag: str) -> None:
        """The same for whoever deletes nothing, and would rather not believe a plain repository's mark that is damaged.
        Raises as `refuse_forged`."""
        if entry in self._known:
            return
        try:
            mark = checked_text.decode(_mark, await self._documents.read(entry.key, entry.size, MOST_INTENT))
        except NotFound:
            return
        except msgspec.DecodeError as error:
            raise ManifestInvalid(f"a deletion mark can't be read: {entry.key}", key=entry.key) from error
        if mark.tag != tag:
            raise ManifestInvalid(f"a deletion mark is of another backup: {entry.key}", key=entry.key, tag=tag)
        self._known.add(entry)
