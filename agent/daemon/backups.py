"""/v1/backups: in, a destination (or none: this node) and a tag; out, listings, and the coordinator's plan and records.

Requests don't wait for better keys as commands do: refused ones are an error at once.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Protocol

from agent.model.snapshot import SnapshotInfo
from agent.repository.attach import attach
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.destinations import Destinations
from agent.repository.discerning import discerning
from agent.repository.errors import NotARepository
from agent.repository.keyrings import Keyrings
from agent.repository.on_server import OnServer
from agent.repository.opened import Repositories
from agent.storage.protocol import Denied
from agent.wire.backups import BackupView, Plan, Record
from agent.wire.commands import Target
from agent.wire.destinations import LocalSettings
from agent.wire.node import NodeIdentity


class Identified(Protocol):
    """Who the node is (agent.cassandra.node_view)."""

    async def identity(self) -> NodeIdentity: ...


class Taken(Protocol):
    """The snapshots of this agent (agent.cassandra.snapshots)."""

    async def info(self, tag: str) -> SnapshotInfo | None: ...


class Backups:
    """`listed`, `written`: must not be patient; for what is put, each opening must look anew whether the repository is
    there. An error about refused keys names `patience`, the seconds for which commands wait for newer ones, so that a
    coordinator can. `destination` None: the on-server backups of this node."""

    def __init__(
        self,
        destinations: Destinations,
        listed: Repositories,
        written: Repositories,
        keyrings: Keyrings,
        on_server: OnServer,
        records: RecordCache,
        node: Identified,
        snapshots: Taken,
        patience: float = 0.0,
    ) -> None:
        self._destinations = destinations
        self._listed = listed
        self._written = written
        self._keyrings = keyrings
        self._on_server = on_server
        self._records = records
        self._node = node
        self._snapshots = snapshots
        self._patience = patience

    async def list(self, destination: str | None) -> Iterable[BackupView]:
        """Every backup that is listed there; of many, each is decoded as it is taken."""
        if destination is None:
            return await self._on_server.listing()
        async with self._catalogue(self._listed, destination) as catalogue:
            settings = self._destinations.record(destination).settings
            return await catalogue.listing(own=isinstance(settings, LocalSettings) and not settings.shared)

    async def get(self, tag: str, destination: str | None) -> BackupView:
        """One backup. Raises `BackupNotFound`."""
        if destination is None:
            info = await self._snapshots.info(tag)
            return await self._on_server.view(tag, info.node.host_id if info is not None else "")
        async with self._catalogue(self._listed, destination) as catalogue:
            return await catalogue.judged(tag)

    async def put_plan(self, tag: str, destination: str | None, plan: Plan) -> None:
        """Put the backup's plan. Raises RepositoryGone where a directory was emptied or isn't mounted, for a plan alone
        there would be in the way of what comes back."""
        if destination is None:
            await self._on_server.put_plan(plan)
            return
        async with self._catalogue(self._written, destination) as catalogue:
            await catalogue.put_plan(plan)

    async def put_record(self, tag: str, destination: str | None, record: Record) -> None:
        """Put the backup's next listing record."""
        if destination is None:
            await self._on_server.put_record(record)
            return
        async with self._catalogue(self._written, destination) as catalogue:
            await catalogue.put_record(record)

    @asynccontextmanager
    async def _catalogue(self, repositories: Repositories, destination: str) -> AsyncIterator[Catalogue]:
        try:
            async with repositories.opened(await self._target(destination)) as opened:
                yield Catalogue(discerning(opened), self._records)
        except Denied as error:
            # The next request opens it anew: files of credentials may have been mended.
            await self._destinations.renew(destination, self._destinations.generation(destination) or 0)
            error.fields |= {"destination": destination, "patience_seconds": self._patience}
            raise

    async def _target(self, destination: str) -> Target:
        """The repository and cluster that a check found; looked for by the cluster's name after a lost state."""
        record = self._destinations.record(destination)
        if record.repository_id is None or record.cluster_id is None:
            name = (await self._node.identity()).cluster_name
            async with self._destinations.borrowed(destination) as borrowed:
                found = await attach(
                    borrowed.storage,
                    keys=self._keyrings.of(record),
                    initialise=False,
                    repository_id=None,
                    cluster_id=None,
                    cluster_name=name,
                )
            await self._destinations.remember(
                destination, record.revision, repository_id=found.repository_id, cluster_id=found.cluster_id
            )
            record = self._destinations.record(destination)
        if record.repository_id is None or record.cluster_id is None:
            raise NotARepository(f"{destination} was changed while it was looked at", destination=destination)
        return Target(destination, record.repository_id, record.cluster_id)
