"""Requests, nodes' parts and activity in OpsCenter's shapes. In: the model. Out: JSON data.

The shapes are those of the contract's examples; keys beside them are ours: `partial`, `type`, `asked_by`, `done_size`,
`phase`, `host_id`, `errors`, and what a request has to tell at its end.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from agent.wire.commands import Counts
from coordinator.model.activity import ActivityEvent
from coordinator.model.requests import NodePart, Request, RequestState
from coordinator.opscenter.under_way import in_words, under_way

MOST_NAMED = 3
"""Nodes that a request's message names for what they wait for: a store that is away is away for all of them."""


def request_status(request: Request, parts: Iterable[NodePart], destination: str | None = None) -> dict[str, Any]:
    """The answer of GET /request/{id}/status, and `full_status` of an event: then with the counts of its `destination`
    only."""
    parts = list(parts)
    entries = [subrequest(part, destination) for part in parts]
    message = request.message
    if not message:
        told = [*_a_few(_waiting(parts)), *_a_few(_standing_still(parts))]
        if request.state is RequestState.RUNNING:
            moving = [
                (part, entry["details"]["sstables"])
                for part, entry in zip(parts, entries, strict=True)
                if not part.waiting and part.still_seconds is None
            ]
            told.append(under_way(moving, len(parts)))
        message = "; ".join(text for text in told if text)
    details: dict[str, Any] = {
        **request.result,
        "message": message,
        "subrequests": {part.address: entry for part, entry in zip(parts, entries, strict=True)},
    }
    if request.error is not None:
        details["error"] = request.error
    if request.cancel and request.state is RequestState.RUNNING:
        details["cancelling"] = request.cancel
    status: dict[str, Any] = {
        "id": request.id,
        "state": request.state.value,
        "type": request.kind.value,
        "started": int(request.started),
        "finished": None if request.finished is None else int(request.finished),
        "cluster_id": request.cluster,
        "keyspaces": request.keyspaces,
        "destinations": request.destinations,
        "details": details,
    }
    if request.tag is not None:
        status["tag"] = request.tag
    if request.partial:
        status["partial"] = True
    if request.asked_by:
        status["asked_by"] = request.asked_by
    return status


def _a_few(told: list[str]) -> list[str]:
    """The first ones, and of how many more nodes the same could be said: each has its own in its subrequest."""
    left = len(told) - MOST_NAMED
    return told if left <= 1 else [*told[:MOST_NAMED], f"{left} more nodes wait as well"]


def _waiting(parts: Iterable[NodePart]) -> list[str]:
    """Which nodes wait, and for what."""
    return [f"{part.address}: {in_words(part.phase)} {part.waiting}" for part in parts if part.waiting]


def _standing_still(parts: Iterable[NodePart]) -> list[str]:
    """Which nodes a running request may be waiting for."""
    return [
        f"{part.address}: {in_words(part.phase)} has told of no progress for {part.still_seconds} s"
        + (f" ({', '.join(part.suspects)})" if part.suspects else "")
        for part in parts
        if part.still_seconds is not None
    ]


def subrequest(part: NodePart, destination: str | None = None) -> dict[str, Any]:
    """One node's entry: the counts of `destination`, or of all destinations together."""
    details: dict[str, Any] = {
        "metadata": {"created": part.created, "errors": [str(error.get("message", "")) for error in part.errors]},
        "sstables": _sstables(part, destination),
    }
    if part.phase:
        details["phase"] = part.phase
    if part.errors:
        details["errors"] = part.errors
    if part.waiting:
        details["waiting"] = part.waiting
    if part.still_seconds is not None:
        details["still_seconds"] = part.still_seconds
    return {
        "id": part.id,
        "state": part.state.value,
        "started": None if part.started is None else int(part.started),
        "finished": None if part.finished is None else int(part.finished),
        "cluster_id": None,
        "host_id": part.host_id,
        "details": details,
    }


def _sstables(part: NodePart, destination: str | None) -> dict[str, dict[str, dict[str, Any]]]:
    places = part.progress
    if destination is not None and (destination in places or len(places) > 1):
        places = {name: tables for name, tables in places.items() if name == destination}
    sums: dict[str, dict[str, Counts]] = {}
    for keyspaces in places.values():
        for keyspace, tables in keyspaces.items():
            into = sums.setdefault(keyspace, {})
            for table, counts in tables.items():
                into[table] = _sum(into[table], counts) if table in into else counts
    return {keyspace: {table: _counts(counts) for table, counts in tables.items()} for keyspace, tables in sums.items()}


def _sum(one: Counts, other: Counts) -> Counts:
    return Counts(
        one.done_files + other.done_files,
        one.total_files + other.total_files,
        one.done_bytes + other.done_bytes,
        one.total_bytes + other.total_bytes,
        [*one.errors, *other.errors],
    )


def _counts(counts: Counts) -> dict[str, Any]:
    return {
        "done_files": counts.done_files,
        "total_files": counts.total_files,
        "done_size": counts.done_bytes,
        "total_size": counts.total_bytes,
        "errors": counts.errors,
    }


def activity_event(event: ActivityEvent, running: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """An entry of GET /backup-activity; `running`: full_status of running requests for this event's destination, by
    request id."""
    year, week, _ = datetime.fromtimestamp(event.event_time, UTC).isocalendar()
    shown: dict[str, Any] = {
        "week": f"{year}{week:02d}",
        "destination": event.destination,
        "type": event.type,
        "deleted_at": event.deleted_at,
        "backup_id": event.tag,
        "request_id": event.request,
        "keyspaces": event.keyspaces,
        "event_time": event.event_time,
        "status": event.status,
    }
    if event.partial:
        shown["partial"] = True
    if event.request in running:
        shown["full_status"] = running[event.request]
    return shown
