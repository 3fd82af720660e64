"""A store in which one object is in trouble, told from a store that is. In: an opened repository. Out: the same, whose
GET of an object that isn't given while another one is fails as that object's damage (`ObjectUnreadable`): a bad sector,
an answer of 500 or 403 for one key. So whoever goes on beside a damaged object goes on beside that one.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace as replaced

import structlog

from agent.repository.errors import ObjectUnreadable
from agent.repository.keys import REPOSITORY
from agent.repository.opened import OpenedRepository
from agent.storage.around import Around
from agent.storage.protocol import OPEN, Gate, NotFound, StorageError, Truncated

ASK_SECONDS = 5.0
"""How often a store that doesn't give an object is asked for something else."""
_log = structlog.get_logger(__name__)


def discerning(opened: OpenedRepository) -> OpenedRepository:
    """The same repository, read so."""
    return replaced(opened, storage=_Discerning(opened.storage))


class _Discerning(Around):
    """A store around `inner`, which stays the caller's."""

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        """See `Storage.get`. Raises ObjectUnreadable."""
        try:
            return await self._asking(key, start, length, gate)
        except NotFound:
            raise
        except StorageError as error:
            told_shorter = isinstance(error, Truncated) and "size" in error.fields  # by the store itself
            if told_shorter or not await self._answers():
                raise
            _log.warning("object_unreadable", key=key, code=error.code, reason=error.message)
            raise ObjectUnreadable(f"{key} can't be read, and others can: {error.message}", key=key) from error

    async def _asking(self, key: str, start: int, length: int | None, gate: Gate) -> bytes:
        """Meanwhile something else is asked for now and then: that it is answered tells whose patience with the store
        goes on that only this object is in trouble (LiveStorage)."""
        getting = asyncio.ensure_future(self._inner.get(key, start, length, gate=gate))
        try:
            while not (await asyncio.wait({getting}, timeout=ASK_SECONDS))[0]:
                with suppress(StorageError):
                    await self._inner.head(REPOSITORY)
            return getting.result()
        finally:
            getting.cancel()
            await asyncio.wait({getting})

    async def _answers(self) -> bool:
        try:
            await self._inner.get(REPOSITORY)
        except NotFound:
            return True
        except StorageError:
            return False
        return True

    async def close(self) -> None:
        """Nothing."""
