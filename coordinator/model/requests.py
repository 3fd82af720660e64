"""A request: what was ordered, by one POST, and how it stands or ended."""

from enum import StrEnum
from typing import Any

import msgspec

from coordinator.model.orders import (
    ArchivingOrder,
    BackupOrder,
    DeleteOrder,
    DestinationOrder,
    Order,
    PointInTimeOrder,
    RestoreOrder,
    ScrubOrder,
    SyncOrder,
    TrimLogsOrder,
)
from coordinator.model.table_counts import Places


class RequestKind(StrEnum):
    """What sort of order a request carries out."""

    BACKUP = "backup"
    SYNC = "sync"
    DELETE = "delete"
    DELETE_DRY_RUN = "delete_dry_run"
    """of its own kind: it deletes nothing, so that nothing has to wait for it"""
    RESTORE = "restore"
    SCRUB = "scrub"
    DESTINATION = "destination"
    POINT_IN_TIME = "pit"
    PIT_CHECK = "pit_check"
    """changes nothing, so that nothing has to wait for it"""
    ARCHIVING = "archiving"
    ARCHIVING_LOST = "archiving_lost"
    """made when it has ended already: that a node doesn't archive as it should"""
    TRIM_LOGS = "trim_logs"
    REBUILT = "rebuilt"
    """made when it has ended already: a backup of before that a destination tells of, and that this state never made"""


class RequestState(StrEnum):
    """OpsCenter's states and `cancelled`. A partial result is `error` with `partial` true."""

    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    CANCELLED = "cancelled"


JOB = "job"
"""In the result of a request that goes on with an earlier one's job: that job."""
RESUMABLE = "resumable_job"
"""In a request's result: the job that the same restore, posted again, goes on with."""

ORDERS: dict[RequestKind, type[Order]] = {
    RequestKind.BACKUP: BackupOrder,
    RequestKind.SYNC: SyncOrder,
    RequestKind.DELETE: DeleteOrder,
    RequestKind.DELETE_DRY_RUN: DeleteOrder,
    RequestKind.RESTORE: RestoreOrder,
    RequestKind.SCRUB: ScrubOrder,
    RequestKind.DESTINATION: DestinationOrder,
    RequestKind.POINT_IN_TIME: PointInTimeOrder,
    RequestKind.PIT_CHECK: PointInTimeOrder,
    RequestKind.ARCHIVING: ArchivingOrder,
    RequestKind.ARCHIVING_LOST: ArchivingOrder,
    RequestKind.TRIM_LOGS: TrimLogsOrder,
    RequestKind.REBUILT: BackupOrder,
}


class Request(msgspec.Struct, frozen=True):
    """A request as the store keeps it. Times in unix seconds.

    `spec`: the order as JSON (`order_of` reads it); the secrets of a destination stand in the store only, a
    destination order's spec has them masked. `keyspaces`: what «all» came to, once known. `destinations`: ids,
    OPSC_ON_SERVER included. `message`: one line for people. `result`: what the kind has to tell at its end
    (bytes_freed, cleanup advice, …), shown in the details. `cancel`: a person asked to stop ("asked" | "force").
    `asked_by`: who ordered it ("" = an earlier release didn't note it).
    """

    id: str
    kind: RequestKind
    cluster: str
    state: RequestState
    started: float
    spec: dict[str, Any]
    tag: str | None = None
    destinations: list[str] = []
    keyspaces: dict[str, list[str]] = {}
    partial: bool = False
    finished: float | None = None
    message: str = ""
    error: dict[str, Any] | None = None
    result: dict[str, Any] = {}
    cancel: str = ""
    asked_by: str = ""


class NodePart(msgspec.Struct, frozen=True):
    """One node's share of a request: live from the orchestrator, kept by the store when the request ends.

    `address` is the node's; `id` stays the same for the node and the request. `state`: running until the node has done
    all that the request asks of it, then success, error, cancelled. `phase`: the step that it stands in; `rests`: it
    has done that step, and waits for the others. `created`: its manifests are written. `progress`: destination →
    keyspace → table → counts (OPSC_ON_SERVER for what stays on the node). `errors`: error objects.
    `still_seconds`: how long its command, under way, has told of no progress; None while that is a moment only.
    `waiting`: what its command waits for, as a sentence; then it doesn't stand still. `suspects`: sentences about
    nodes in trouble that may be why it does.
    """

    address: str
    host_id: str
    id: str
    state: RequestState
    started: float | None = None
    finished: float | None = None
    phase: str = ""
    rests: bool = False
    created: bool = False
    progress: Places = {}
    errors: list[dict[str, Any]] = []
    still_seconds: int | None = None
    waiting: str = ""
    suspects: list[str] = []


def order_of(request: Request) -> Order:
    """The order that the request carries out."""
    return msgspec.convert(request.spec, ORDERS[request.kind])


def spec_of(order: Order) -> dict[str, Any]:
    """The order as JSON data for `Request.spec`, without the settings of a destination order (they hold secrets and
    stand in the destination's record)."""
    if isinstance(order, DestinationOrder):
        order = msgspec.structs.replace(order, settings=None)
    spec: dict[str, Any] = msgspec.to_builtins(order)
    return spec
