"""What a check made in a directory that was said to be shared, and turned out not to be. In: what the check made. Out:
nothing of it, once the settings are taken back.

Only the agent that goes first makes anything: the others look for its nonce before they do. When they don't find it the
coordinator takes the settings back from all agents. That is then no destination, and a repository made minutes ago in
which nothing was put yet is nobody's.
"""

import time
from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from agent.repository.attach import Attached
from agent.repository.destination_files import StoredDestination
from agent.repository.keys import CHECKS, REPOSITORY, cluster_key, named_key
from agent.storage.protocol import Storage
from agent.wire.destinations import CheckDestination, place_of
from kit.errors import HelenusError

TRIAL_SECONDS = 900.0
"""How long after the check what it made may be taken back: others may have attached to an older repository."""

_log = structlog.get_logger("agent.destinations")


class Discarding(Protocol):
    """Opens storages, and removes the directory of one (agent.daemon.provider)."""

    async def open(self, record: StoredDestination, conditional_create: bool) -> Storage:
        """A new storage, closed by the caller."""

    async def discard(self, record: StoredDestination, *, made: bool) -> None:
        """Remove what a directory without objects holds beside them; with `made` the directory as well."""


class _Trial(msgspec.Struct, frozen=True):
    place: tuple[str, ...]
    nonce: str
    made: frozenset[str]
    directory: bool
    until: float


class Trials:
    """`clock`: seconds that only grow."""

    def __init__(self, opening: Discarding, clock: Callable[[], float] = time.monotonic) -> None:
        self._opening = opening
        self._clock = clock
        self._trials: dict[str, _Trial] = {}

    def note(
        self, record: StoredDestination, request: CheckDestination, nonce: str, attached: Attached | None, made: bool
    ) -> None:
        """Remember what a check that put a nonce made; `made`: the directory too."""
        keys: set[str] = set()
        if attached is not None and attached.made:
            keys.add(REPOSITORY)
            if attached.cluster_id is not None:
                keys.add(cluster_key(attached.cluster_id))
                keys.add(named_key(request.cluster_name or "", attached.cluster_id))
        self._trials[record.id] = _Trial(
            place_of(record.settings), nonce, frozenset(keys), made, self._clock() + TRIAL_SECONDS
        )

    async def take_back(self, record: StoredDestination) -> None:
        """The settings are gone: remove what the check of them made, if it is all there is. Never raises."""
        trial = self._trials.pop(record.id, None)
        if trial is None or trial.place != place_of(record.settings) or self._clock() > trial.until:
            return
        try:
            storage = await self._opening.open(record, record.conditional_create)
            try:
                await storage.delete([trial.nonce])
                there = {entry.key async for entry in storage.list("")}
                if not trial.made or not {key for key in there if not key.startswith(CHECKS)} <= trial.made:
                    return
                # The repository's own file last: killed before, an empty repository is left, which is none the worse.
                await storage.delete(sorted(there - {REPOSITORY}))
                await storage.delete([REPOSITORY])
            finally:
                await storage.close()
            await self._opening.discard(record, made=trial.directory)
        except HelenusError as error:
            _log.warning("a refused destination was not cleared", destination=record.id, reason=error.message)
