"""A backup in a destination as the source of a restore, and the choice between it and the node's own snapshot."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.cassandra.protocol import Snapshots
from agent.jobs.restore.source import BackupSource, Moved, OnServerSource, Placed, WantedSstable
from agent.model.manifest import Head, TablePart, TableReference
from agent.pipeline.errors import FileDiffers
from agent.pipeline.fetch import fetch_files
from agent.repository.errors import ObjectDamaged, RepositoryFormatNewer
from agent.repository.manifest import Manifest
from agent.repository.on_server import OnServer
from agent.repository.opened import OpenedRepository, Repositories, Waiting, silent
from agent.repository.undeleted import undeleted_manifest
from agent.storage.protocol import OPEN, NotFound
from agent.storage.threads import MakeWorkers, Workers
from agent.storage.throttle import TokenBucket
from agent.wire.commands import RestoreArguments


class RepositorySource:
    """One node's part of a backup in an open repository."""

    def __init__(self, opened: OpenedRepository, manifest: Manifest, workers: MakeWorkers) -> None:
        self._opened = opened
        self._manifest = manifest
        self._workers = workers

    @property
    def head(self) -> Head:
        """See `BackupSource.head`."""
        return self._manifest.head

    def parts(self, reference: TableReference) -> AsyncIterator[TablePart]:
        """See `BackupSource.parts`."""
        return self._manifest.parts(reference)

    async def fetch(self, wanted: AsyncIterator[WantedSstable], placed: Placed, moved: Moved) -> None:
        """See `BackupSource.fetch`; digests of pieces, objects and files are compared on the way."""
        host_id, gate = self.head.node.host_id, self._opened.gate
        try:
            await fetch_files(self._opened, host_id, wanted, placed, moved, gate=gate, workers=self._workers)
        except (FileDiffers, NotFound, ObjectDamaged, RepositoryFormatNewer) as error:
            error.fields = {"tag": self.head.tag, "host_id": host_id, **error.fields}
            raise


class RestoreSources:
    """See `agent.jobs.restore.source.Sources`."""

    def __init__(
        self, repositories: Repositories, snapshots: Snapshots, on_server: OnServer, workers: MakeWorkers = Workers
    ) -> None:
        self._repositories = repositories
        self._snapshots = snapshots
        self._on_server = on_server
        self._workers = workers

    @asynccontextmanager
    async def opened(
        self, arguments: RestoreArguments, waiting: Waiting = silent, *, indexes: bool = False
    ) -> AsyncIterator[BackupSource]:
        """Open the source that the arguments name. Raises `BackupNotFound`, `BackupDeleted`, `ManifestInvalid`, what
        opening a destination raises."""
        if arguments.source is None:
            yield await OnServerSource.open(self._on_server, self._snapshots, arguments, self._workers, indexes=indexes)
            return
        async with self._repositories.opened(arguments.source, waiting) as opened:
            throttle = arguments.throttle_bytes_per_second
            limited = opened.limited(TokenBucket(throttle) if throttle else OPEN)
            manifest = await undeleted_manifest(limited, arguments.tag, arguments.source_host_id)
            yield RepositorySource(limited, manifest, self._workers)
