"""Reads stored objects and verifies them by their own footers, and by what is in them where a footer doesn't tell whose
it is. In: an open repository, keys and sizes. Out: counts, and what is wrong with an object."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum

import structlog

from agent.crypto.errors import SealingKeyUnknown
from agent.plan.layout import PIECE_SIZE
from agent.repository.damage_notes import DamagedObject
from agent.repository.epochs import Epochs
from agent.repository.errors import ObjectDamaged, ObjectUnreadable, RepositoryFormatNewer
from agent.repository.form import MOST_OVERHEAD
from agent.repository.frame import Codec, ObjectType
from agent.repository.opened import OpenedRepository
from agent.repository.stored_check import TYPE, StoredCheck
from agent.storage.protocol import NotFound, Truncated
from agent.storage.throttle import Stream

CHUNK = PIECE_SIZE + MOST_OVERHEAD
"""Bytes of one GET: a whole object of those that we make. A scrub holds it in memory, sealed ones opened as well."""
_log = structlog.get_logger(__name__)


class Verdict(StrEnum):
    """What became of an object."""

    RIGHT = "right"
    GONE = "missing"
    DAMAGED = "damaged"
    UNREADABLE = "unreadable"
    """the store answers, and doesn't give this one: a bad sector, say"""
    NEWER = "repository_format_newer"
    """whole, and of a format that this version can't read"""
    UNKNOWN = "sealing_key_unknown"
    """its footer is right, and it claims to be sealed in an epoch that never was"""

    @property
    def is_damage(self) -> bool:
        """Whether nobody can restore from it as it stands."""
        return self in (Verdict.DAMAGED, Verdict.UNREADABLE)


class ObjectReader:
    """Reads one object at a time. `opened`: one that tells an object in trouble from a store that is (`discerning`).
    `turn` is awaited before each: it lets others go first. `footers_only`: nothing is opened, for whoever has no key of
    an encrypted repository. `unknown`: the verdict on what claims an epoch that never was. What was sealed in one that
    came since is right as far as its footer tells; the next scrub opens it."""

    def __init__(
        self,
        opened: OpenedRepository,
        turn: Callable[[], Awaitable[None]],
        *,
        footers_only: bool = False,
        unknown: Verdict = Verdict.DAMAGED,
    ) -> None:
        self._unknown = unknown
        self._epochs = Epochs(opened)
        self._storage = opened.storage
        self._form = opened.form
        self._is_sealed = footers_only or opened.form.is_sealed
        self._opens = not footers_only
        self._gate = Stream(opened.gate)
        self._turn = turn
        self.objects = 0
        self.bytes = 0

    async def read(self, one: DamagedObject, size: int | None = None) -> Verdict:
        """Verify an object as it stands; one that seems damaged is read twice, for what fails on the way isn't stored.
        `size`: the stored bytes that manifests give it, None: not known. Raises a StorageError."""
        verdict = await self._once(one, size)
        if verdict is Verdict.DAMAGED:
            verdict = await self._once(one, size)
            _log.warning("object_damaged", key=one.key, second_look=verdict.value)
        return verdict

    async def _once(self, one: DamagedObject, size: int | None) -> Verdict:
        await self._turn()
        entry = await self._storage.head(one.key)
        if entry is None:
            return Verdict.GONE
        if any(promised not in (None, entry.size) for promised in (one.promised, size)):
            return Verdict.DAMAGED
        check = StoredCheck(one.key, entry.size, one.name, one.codec, is_sealed=self._is_sealed)
        try:
            stored = b""
            for start in range(0, entry.size, CHUNK):
                length = min(CHUNK, entry.size - start)
                stored = await self._storage.get(one.key, start, length, gate=self._gate)
                check.feed(stored)
            check.finish()
            untold = self._is_sealed or one.codec is not Codec.RAW
            if untold and self._opens and len(stored) == entry.size:
                # Its footer doesn't tell whose it is; what is in it does.
                await asyncio.to_thread(self._form.verify, stored, one.key, one.name, ObjectType(stored[TYPE]))
        except NotFound:
            return Verdict.GONE
        except RepositoryFormatNewer:
            return Verdict.NEWER
        except SealingKeyUnknown as error:
            if not await self._epochs.came_since(error):
                return self._unknown
        except ObjectUnreadable:
            return Verdict.UNREADABLE
        except Truncated as error:
            if "size" not in error.fields:
                raise
            return Verdict.DAMAGED  # the store itself says that it is shorter now
        except (ObjectDamaged, ValueError):  # of no type that there is
            return Verdict.DAMAGED
        self.objects += 1
        self.bytes += entry.size
        return Verdict.RIGHT
