"""What the API needs of the orchestrator. In: orders. Out: request ids, listings, live progress.

Each `start_*` refuses at once what can be known at once (unknown keyspace, tag, destination; conflicts; too few
agents), makes the request durable, begins it in the background and returns its id. Errors are `HelenusError`s of
`coordinator.model.errors` where one fits.
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec

from coordinator.model.archiving import ArchivingStatus, NodeArchiving
from coordinator.model.cluster import Backup, ClusterNode
from coordinator.model.destinations import Destination
from coordinator.model.orders import (
    ArchivingOrder,
    BackupOrder,
    DeleteOrder,
    DestinationOrder,
    PointInTimeOrder,
    RestoreOrder,
    ScrubOrder,
    SyncOrder,
)
from coordinator.model.requests import NodePart, Request
from coordinator.model.retention import KeptRule, RetentionNote, Verdict
from coordinator.model.schedules import BackupJob, Schedule, Timetable


class DestinationChange(msgspec.Struct, frozen=True):
    """A destination that was added, updated or deleted (then None), and the request that tells all agents. `warnings`:
    sentences for people."""

    request_id: str
    destination: Destination | None
    warnings: list[str] = []


class Points(Protocol):
    """Restores to a point in time."""

    async def check(self, cluster: str, order: PointInTimeOrder) -> Request:
        """Only look: the ended request. Raises `InvalidArguments` when no snapshot is old enough."""
        ...

    async def start(self, cluster: str, order: PointInTimeOrder, warnings: Sequence[str] = ()) -> str:
        """The same again while it runs: its id; after it stopped: a request that goes on with its job. `warnings`: what
        a new request is to tell."""
        ...


class Orchestrator(Protocol):
    """`cluster` is always the configured id, known to exist. Destination None = on the nodes."""

    @property
    def points(self) -> Points:
        """Restores to a point in time."""
        ...

    async def start_backup(
        self, cluster: str, order: BackupOrder, *, request_id: str | None = None, warnings: Sequence[str] = ()
    ) -> str:
        """`request_id`: what its id is to be; one that has it is not made again. `warnings`: what it is to tell."""
        ...

    async def start_sync(
        self, cluster: str, order: SyncOrder, *, request_id: str | None = None, warnings: Sequence[str] = ()
    ) -> str:
        """See `start_backup`."""
        ...

    async def start_delete(self, cluster: str, order: DeleteOrder) -> str: ...

    async def start_scrub(self, cluster: str, order: ScrubOrder) -> str: ...

    async def start_restore(self, cluster: str, order: RestoreOrder) -> str: ...

    async def start_destination_change(self, cluster: str, order: DestinationOrder) -> DestinationChange:
        """Add and update: returns after the agents tried the real store and initialised or attached the repository (an
        error of theirs is raised and nothing kept); the request then tells all agents. Delete: the request removes it
        from all agents; the same delete again while it runs is that one. One in use can't be deleted or become another
        place (`DestinationInUse`), nor one be deleted that a job schedule names."""
        ...

    def staying(self, cluster: str, destinations: Collection[str]) -> AbstractAsyncContextManager[None]:
        """For the block none of the destinations begins to go: what names one is kept inside. Raises
        `NoSuchDestination`, `DestinationInUse`."""
        ...

    async def cancel(self, request_id: str, *, force: bool) -> None:
        """Ask a running request to stop. Raises `NoSuchRequest`, `RequestFinished`, and past truncate without `force`
        an error `past_the_point_of_return` (409)."""
        ...

    async def list_backups(self, cluster: str, destination: str | None) -> list[Backup]:
        """Every undeleted backup there, in any order and state."""
        ...

    async def nodes(self, cluster: str) -> list[ClusterNode]:
        """Ring members and agents, joined by host id."""
        ...

    async def keyspaces(self, cluster: str) -> dict[str, list[str]]:
        """Live keyspaces and their tables."""
        ...

    async def progress(self, request_id: str) -> list[NodePart]:
        """The nodes' parts of a running request, by address; of an ended one what the store kept."""
        ...


class RetentionRuns(Protocol):
    """The runs of retention. `place`: a destination's id or OPSC_ON_SERVER."""

    async def preview(self, cluster: str, place: str) -> list[Verdict]:
        """What a run would do now, oldest first."""
        ...

    async def ask(self, cluster: str, place: str) -> None:
        """Have a run as soon as possible; durable when it returns."""
        ...

    async def notes(self, cluster: str) -> dict[str, RetentionNote]:
        """Place → how its last run went."""
        ...


class ScheduleControl(Protocol):
    """Schedules of backups."""

    async def all(self, cluster: str) -> list[Schedule]:
        """The cluster's schedules, oldest first."""
        ...

    async def get(self, cluster: str, schedule_id: str) -> Schedule:
        """Raises `NoSuchSchedule`."""
        ...

    async def add(self, schedule: Schedule, rules: Sequence[KeptRule] = ()) -> None:
        """Keep a new one with its rules of retention and follow it; durable when it returns. Refuses keyspaces and
        tables that aren't there as a backup does, unless no node can be asked."""
        ...

    async def change(
        self,
        cluster: str,
        schedule_id: str,
        timetable: Timetable,
        job: BackupJob,
        params: dict[str, Any],
        rules: Sequence[KeptRule] = (),
    ) -> None:
        """From now on, with these rules of retention of its id; what is due by then is decided by what it was. Raises
        `NoSuchSchedule`, and as `add` for a job that names other keyspaces or tables than before."""
        ...

    async def remove(self, cluster: str, schedule_id: str) -> None:
        """Forget it; a run that is under way goes on. Raises `NoSuchSchedule`."""
        ...


class ArchivingControl(Protocol):
    """Archiving of the commit log."""

    async def start(self, cluster: str, order: ArchivingOrder) -> str:
        """Switch it on or off; the request's id."""
        ...

    async def status(self, cluster: str) -> ArchivingStatus:
        """How it stands, now."""
        ...

    async def logs(self, cluster: str, destination: str | None) -> dict[str, float | None]:
        """Address → up to when (unix seconds) what the node received is safe in the destination (None: everywhere)."""
        ...

    def seen(self, cluster: str) -> list[NodeArchiving]:
        """The nodes at the last look."""
        ...
