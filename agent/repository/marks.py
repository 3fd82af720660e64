"""Deletion marks: in, a tag; out, the mark's bytes, and back. And before data goes for one: in, its entry in a listing;
out, nothing, or an error.

A listing goes by a mark's being there. Data goes only for one that can be read and names the backup: a damaged one, or
one that was moved, hides a backup at most. In an encrypted repository it is sealed as well, so that whoever can only
write to the store has nothing deleted by it.
"""

import msgspec

from agent.repository import checked_text
from agent.repository.bounded import MOST_INTENT
from agent.repository.errors import DeletionMarkInvalid, ManifestInvalid
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
        self._known: set[Entry] = set()

    async def refuse_unreadable(self, entry: Entry, tag: str) -> None:
        """Raise DeletionMarkInvalid unless the mark is whole and of that backup, and in an encrypted repository put by
        an agent with its keys; RepositoryFormatNewer, SealingKeyUnknown, a StorageError. One that went meanwhile is
        fine."""
        if entry in self._known:
            return
        try:
            mark = checked_text.decode(_mark, await self._documents.read(entry.key, entry.size, MOST_INTENT))
        except NotFound:
            return
        except ManifestInvalid as error:
            raise DeletionMarkInvalid(error.message, **error.fields) from error
        except msgspec.DecodeError as error:
            raise DeletionMarkInvalid(f"a deletion mark can't be read: {entry.key}", key=entry.key) from error
        if mark.tag != tag:
            raise DeletionMarkInvalid(f"a deletion mark is of another backup: {entry.key}", key=entry.key, tag=tag)
        self._known.add(entry)
