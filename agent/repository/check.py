"""POST /v1/destinations/{id}/check: in, a destination and what to make of it; out, what its real store can do, and the
repository that is there.

All that a check writes lies under `helenus-check/`, which counts as empty, and goes when the check ends; but a nonce,
which the other nodes have to find first, is removed by the next check that puts one, or when the settings are taken
back. Who looks for a nonce makes nothing before it is found.
"""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import msgspec

from agent.repository.attach import Attached, attach
from agent.repository.destination_files import StoredDestination
from agent.repository.destinations import Destinations
from agent.repository.errors import (
    NotARepository,
    RepositoryError,
    RepositoryFileLost,
    RepositoryGone,
    RepositoryUnfinished,
)
from agent.repository.keyrings import Keyrings
from agent.repository.keys import CHECKS, REPOSITORY
from agent.repository.trials import Trials
from agent.storage.opened import check_store, probe_store
from agent.storage.protocol import BucketMissing, Storage
from agent.wire.destinations import CheckDestination, CheckReport, CheckResult, object_lock_of
from kit.errors import HelenusError

NONCES = CHECKS + "nonces/"
NONCE_SECONDS = 3600.0
"""How old a nonce must be, by the store's clock, to be left over from an earlier check."""


class DestinationUnfit(HelenusError):
    """A store that doesn't keep what a backup relies on."""

    code = "destination_unfit"
    status = 502
    todo = "Read the failed checks: correct the settings, or use a store that does what they ask for."


class Opening(Protocol):
    """Opens storages for checks (agent.daemon.provider)."""

    async def prepare(self, record: StoredDestination, *, make: bool) -> bool:
        """Whatever must be there before `open`; with `make` also the local directory itself. Whether that was made."""

    async def open(self, record: StoredDestination, conditional_create: bool) -> Storage:
        """A new storage, closed by the caller."""

    async def discard(self, record: StoredDestination, *, made: bool) -> None:
        """See `agent.repository.trials`."""


class DestinationChecks:
    """Checks against the real store, side by side with the commands that run."""

    def __init__(
        self,
        destinations: Destinations,
        opening: Opening,
        keyrings: Keyrings,
        *,
        new_name: Callable[[], str] = lambda: secrets.token_hex(8),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._destinations = destinations
        self._opening = opening
        self._keyrings = keyrings
        self._new_name = new_name
        self._now = now
        self._trials = Trials(opening)
        self.take_back = self._trials.take_back
        """For when settings are taken back: what their check made goes, if it is all there is."""

    async def check(self, destination_id: str, request: CheckDestination) -> CheckReport:
        """Conformance, then the repository, then the nonce. What is wrong with the store is in the report. Raises
        `UnknownDestination`."""
        record = self._destinations.record(destination_id)
        results: list[CheckResult] = []
        capable = record.conditional_create
        try:
            with self._destinations.used(destination_id):
                made = await self._opening.prepare(record, make=request.initialise and request.nonce_find is None)
                await self._reach(record, write=request.conformance)
                if request.conformance:
                    results, capable = await self._conform(record)
                return await self._repository(
                    msgspec.structs.replace(record, conditional_create=capable), request, results, made
                )
        except HelenusError as caught:
            error = caught.at(record.settings.path) if isinstance(caught, RepositoryGone) else caught
            if isinstance(error, RepositoryError | BucketMissing) or record.settings.on_the_nodes:
                error.fields.setdefault("setting", "path")
            unseen = False if request.nonce_find is not None and isinstance(error, BucketMissing) else None
            return CheckReport(False, results, capable, nonce_found=unseen, error=error.as_dict())

    async def _reach(self, record: StoredDestination, *, write: bool) -> None:
        """One small question and one small object first: wrong keys, a missing bucket, a dead endpoint and a place that
        takes nothing are errors of their own."""
        async with self._opened(record) as storage:
            await storage.head(REPOSITORY)
            await storage.examine()
            if write:
                key = f"{CHECKS}{self._new_name()}/first"
                await storage.put(key, [b"first"])
                await storage.delete([key])

    async def _probe(self, record: StoredDestination) -> tuple[list[CheckResult], bool]:
        """Only whether this store creates conditionally. Each agent sees for itself: an endpoint may lead it to another
        store than the first agent's, and a copied repository has the same ids there. A probe that fails stops nobody:
        the next check that attaches tries again."""
        prefix = f"{CHECKS}{self._new_name()}/"
        probe = await probe_store(lambda conditional: self._opening.open(record, conditional), prefix)
        capable = probe.outcome == "ok"
        if probe.outcome != "failed":
            await self._destinations.remember(record.id, record.revision, conditional_create=capable)
        return [probe], capable

    async def _conform(self, record: StoredDestination) -> tuple[list[CheckResult], bool]:
        prefix = f"{CHECKS}{self._new_name()}/"
        results, capable = await check_store(lambda conditional: self._opening.open(record, conditional), prefix)
        await self._destinations.remember(record.id, record.revision, conditional_create=capable)
        return results, capable

    async def _repository(
        self, record: StoredDestination, request: CheckDestination, results: Sequence[CheckResult], made: bool
    ) -> CheckReport:
        failed = [result.name for result in results if result.outcome == "failed"]
        if failed:
            unfit = DestinationUnfit(f"the store failed: {', '.join(failed)}", failed=failed, destination=record.id)
            return CheckReport(False, list(results), record.conditional_create, error=unfit.as_dict())
        async with self._opened(record) as storage:
            found = await _found(storage, request)
            if found is False:
                return CheckReport(True, list(results), record.conditional_create, nonce_found=False)
            attached = await self._attached(storage, record, request)
            if attached is not None:
                await self._destinations.remember(
                    record.id,
                    record.revision,
                    repository_id=attached.repository_id,
                    cluster_id=attached.cluster_id,
                )
                await self._hold(storage, record)
            if request.nonce_put is not None:
                self._trials.note(record, request, NONCES + request.nonce_put, attached, made)
                await _put_nonce(storage, NONCES + request.nonce_put)
        capable = record.conditional_create
        if request.initialise and not request.conformance and not record.probed:
            results, capable = await self._probe(record)
        return CheckReport(
            True,
            list(results),
            capable,
            repository_id=attached.repository_id if attached else None,
            cluster_id=attached.cluster_id if attached else None,
            made=attached.made if attached else False,
            nonce_found=found,
        )

    async def _hold(self, storage: Storage, record: StoredDestination) -> None:
        """Under object lock, extend one: without that right the first backup that reuses anything would fail, days
        later."""
        lock = object_lock_of(record.settings)
        if lock is not None:
            await storage.hold([REPOSITORY], lock.until(self._now()) + 1.0)

    async def _attached(
        self, storage: Storage, record: StoredDestination, request: CheckDestination
    ) -> Attached | None:
        """The repository; None when nobody asked for one and none is there."""
        try:
            return await attach(
                storage,
                keys=self._keyrings.of(record),
                initialise=request.initialise,
                repository_id=request.repository_id,
                cluster_id=request.cluster_id,
                cluster_name=request.cluster_name,
                locked=object_lock_of(record.settings) is not None,
            )
        except RepositoryFileLost:
            raise  # others' files are there: no empty place
        except (NotARepository, RepositoryUnfinished) as error:
            asked = (request.repository_id, request.cluster_id, request.cluster_name)
            if request.initialise or any(one is not None for one in asked):
                raise
            if isinstance(error, RepositoryUnfinished):
                return Attached(str(error.fields["repository_id"]), None, False, None)
            return None

    @asynccontextmanager
    async def _opened(self, record: StoredDestination) -> AsyncIterator[Storage]:
        storage = await self._opening.open(record, record.conditional_create)
        try:
            yield storage
        finally:
            await storage.close()


async def _put_nonce(storage: Storage, key: str) -> None:
    """Put it, and remove those that earlier checks left."""
    await storage.put(key, [b"nonce"])
    mine = await storage.head(key)
    if mine is not None:
        entries = [entry async for entry in storage.list(NONCES)]
        await storage.delete([entry.key for entry in entries if mine.modified - entry.modified > NONCE_SECONDS])


async def _found(storage: Storage, request: CheckDestination) -> bool | None:
    """Whether the nonce is there; None when none was to be found."""
    if request.nonce_find is None:
        return None
    return await storage.head(NONCES + request.nonce_find) is not None
