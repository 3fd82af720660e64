"""What happened, as notices. In: a request, a schedule, how a run of retention went, how nodes lag. Out: their notices.
Pure: the same input has the same notices with the same ids, however often it is looked at."""

import uuid
from collections.abc import Mapping
from typing import Any

from coordinator.model.notices import (
    CAUGHT_UP,
    LAGGING,
    LOST,
    MISSED,
    RETENTION_DONE,
    RETENTION_FAILED,
    STARTED,
    Notice,
)
from coordinator.model.orders import places_of
from coordinator.model.requests import Request, RequestKind, RequestState
from coordinator.model.retention import RetentionNote
from coordinator.model.schedules import Schedule
from coordinator.notices.lag import NodeLag

NAMESPACE = uuid.UUID("7a3d6f0e-5b1c-5c0b-9f39-0d8f3b9c5a11")
"""Of the ids. Never changes: a receiver tells by the id what it was told before."""

SUBJECT_OF = {
    RequestKind.BACKUP: "backup",
    RequestKind.SYNC: "sync",
    RequestKind.RESTORE: "restore",
    RequestKind.POINT_IN_TIME: "point_in_time",
    RequestKind.DELETE: "delete",
    RequestKind.SCRUB: "scrub",
    RequestKind.ARCHIVING: "archiving",
}
"""Kinds of requests that are told of. Not those that change nothing, that tell agents of a destination, or that free
segments."""

LONGEST = 4_000
"""Characters of a text in a notice: all of it stays far below what receivers take."""
MOST = 50
"""Sentences, or tags, of a list in a notice."""


def of_request(request: Request) -> list[Notice]:
    """That it began and, once it has, how it ended, in that order."""
    if request.kind is RequestKind.ARCHIVING_LOST:
        return [_of(request, LOST, request.started)]
    subject = SUBJECT_OF.get(request.kind)
    if subject is None:
        return []
    began = _of(request, f"{subject}.{STARTED}", request.started)
    if request.state is RequestState.RUNNING or request.finished is None:
        return [began]
    # Not before its beginning, whatever became of the clock meanwhile: the order goes by it.
    return [began, _of(request, f"{subject}.{_how(request)}", max(request.started, request.finished))]


def _how(request: Request) -> str:
    if request.partial:
        return "partial"
    ends = {RequestState.SUCCESS: "succeeded", RequestState.ERROR: "failed", RequestState.CANCELLED: "cancelled"}
    return ends[request.state]


def _of(request: Request, type: str, at: float) -> Notice:
    began = type.endswith(f".{STARTED}")
    fields: dict[str, Any] = {"keyspaces": sorted(request.keyspaces)[:MOST]} if request.keyspaces else {}
    because = request.spec.get("because")
    if because:
        fields["because"] = because
    if not began:
        fields["seconds"] = round(max(0.0, at - request.started), 3)
        warnings = request.result.get("warnings")
        if warnings:
            fields["warnings"] = [_short(str(text)) for text in warnings[:MOST]]
    return Notice(
        id=id_of(request.id, type),
        type=type,
        at=at,
        cluster=request.cluster,
        request=request.id,
        tag=request.tag or None,
        destinations=request.destinations,
        # Of one that has ended the store holds no message of its beginning: both of its notices must not tell its end.
        message="" if began else _short(request.message),
        error=None if began else _error(request.error),
        fields=fields,
    )


def of_retention(cluster: str, place: str, note: RetentionNote) -> list[Notice]:
    """How the last run at the place (a destination's id or OPSC_ON_SERVER) went, if one has ended. Runs that fail again
    and again with one error are one happening."""
    if note.error is not None:
        error = _error(note.error)
        return [
            Notice(
                id=id_of(cluster, place, RETENTION_FAILED, repr(note.failed)),
                type=RETENTION_FAILED,
                at=note.failed,
                cluster=cluster,
                destinations=[place],
                message=error["message"] if error is not None else "",
                error=error,
                fields={"deleted": note.deleted[:MOST], "deleted_count": len(note.deleted)},
            )
        ]
    if not note.ended:
        return []
    deleted = len(note.deleted)
    return [
        Notice(
            id=id_of(cluster, place, RETENTION_DONE, repr(note.ended)),
            type=RETENTION_DONE,
            at=note.ended,
            cluster=cluster,
            destinations=[place],
            message=f"{deleted} backup{'' if deleted == 1 else 's'} deleted",
            fields={"deleted": note.deleted[:MOST], "deleted_count": deleted},
        )
    ]


def of_schedule(schedule: Schedule) -> list[Notice]:
    """Which of its backups did not happen: the newest run, when it never had a request, and what was skipped. So many
    in a row for one reason are one happening."""
    notices, run, cluster = [], schedule.run, schedule.cluster
    if run is not None and run.given_up:
        type = "backup.failed"
        notices.append(
            Notice(
                id=id_of(run.request, type),
                type=type,
                at=run.given_up,
                cluster=cluster,
                tag=run.order.tag,
                destinations=places_of(run.order),
                message=f"a scheduled backup could not begin: {_short(run.message)}",
                fields={"schedule": schedule.id, "due": run.due.at},
            )
        )
    for missed in schedule.missed:
        skipped = f"{missed.count} scheduled backup{' was' if missed.count == 1 else 's were'} skipped"
        notices.append(
            Notice(
                id=id_of(schedule.id, MISSED, str(missed.first), missed.why),
                type=MISSED,
                at=missed.at,
                cluster=cluster,
                destinations=places_of(schedule.job.order("", 0, schedule.id)),
                message=f"{skipped}: {_short(missed.why)}",
                fields={"schedule": schedule.id, "first": missed.first, "last": missed.last, "count": missed.count},
            )
        )
    return notices


def of_lag(cluster: str, lags: Mapping[str, NodeLag]) -> list[Notice]:
    """That nodes' archived log lags, and that it has caught up since."""
    notices = []
    for node, lag in sorted(lags.items()):
        fields = {"node": lag.address, "host_id": node, "safe_until": lag.safe_until}
        if lag.since is not None:
            told = f"{'nothing' if lag.safe_until is None else 'not all'} that it received is safe"
            why = f": {lag.why}" if lag.why else ""
            notices.append(
                Notice(
                    id=id_of(cluster, node, LAGGING, repr(lag.since)),
                    type=LAGGING,
                    at=lag.since,
                    cluster=cluster,
                    message=f"the commit log of {lag.address} lags: {told}{_short(why)}",
                    fields=fields,
                )
            )
        if lag.since is not None and lag.caught_up is not None:
            notices.append(
                Notice(
                    id=id_of(cluster, node, CAUGHT_UP, repr(lag.since)),
                    type=CAUGHT_UP,
                    at=lag.caught_up,
                    cluster=cluster,
                    message=f"the commit log of {lag.address} is safe again",
                    fields={**fields, "safe_until": lag.safe_again},
                )
            )
    return notices


def id_of(*parts: str) -> str:
    """The id of a happening, by what makes it this one."""
    return str(uuid.uuid5(NAMESPACE, "\n".join(parts)))


def _error(error: Mapping[str, Any] | None) -> dict[str, str] | None:
    """What of an error object is told: its fields may hold a word of each of a thousand nodes."""
    if error is None:
        return None
    return {name: _short(str(error.get(name, ""))) for name in ("code", "message", "todo")}


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
