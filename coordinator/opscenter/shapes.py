"""Requests, nodes' parts and activity in OpsCenter's shapes. In: the model. Out: JSON data.

The shapes are those of the contract's examples; keys beside them are ours: `partial`, `type`, `asked_by`, `done_size`,
`phase`, `host_id`, `errors`, and what a request has to tell at its end.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from agent.wire.commands import Counts
from coordinator.model.activity import ActivityEvent
from coordinator.model.requests import NodePart, Request, RequestState
from coordinator.model.table_counts import NO_TABLES, Layouts, Places, TableCounts
from coordinator.opscenter.under_way import in_words, under_way

MOST_NAMED = 3
"""Nodes that a request's message names for what they wait for: a store that is away is away for all of them."""


class ShownPart(msgspec.Struct, frozen=True):
    """A node's part and the `places` whose counts are shown of it: those of one destination, or of all of them
    together. Its tables are summed up when they are asked for and not before: to add up those of a thousand nodes at
    once would hold up all others, and most answers show none of them."""

    part: NodePart
    places: Places

    @property
    def files(self) -> tuple[int, int]:
        """Files done, and in all, over all places."""
        known = [_packed(told).files for told in self.places.values()]
        return sum(done for done, _ in known), sum(total for _, total in known)

    def counts(self) -> TableCounts:
        """The sums over all places, table by table."""
        total = NO_TABLES
        for told in self.places.values():
            total = _packed(told).plus(total)
        return total


def shown_parts(parts: Iterable[NodePart], destination: str | None = None) -> list[ShownPart]:
    """The parts; with a `destination` they have the counts of that one only."""
    return [ShownPart(part, _places(part, destination)) for part in parts]


def request_status(request: Request, parts: Iterable[NodePart], destination: str | None = None) -> dict[str, Any]:
    """The answer of GET /request/{id}/status, and `full_status` of an event: then with the counts of its `destination`
    only."""
    shown = shown_parts(parts, destination)
    status = request_head(request, shown)
    status["details"]["subrequests"] = {each.part.address: subrequest(each) for each in shown}
    return status


def request_head(request: Request, shown: Sequence[ShownPart]) -> dict[str, Any]:
    """The same without the nodes' entries: how it is with all of them together. `details` comes last."""
    message = request.message
    running = request.state is RequestState.RUNNING
    parts = [each.part for each in shown]
    if not message:
        told = [*_a_few(_waiting(parts)), *_a_few(_standing_still(parts))]
        if running:
            moving = [(each.part, each.files) for each in shown if not _halts(each.part)]
            halting = [(each.part, each.files) for each in shown if _halts(each.part)]
            told.append(under_way(moving, len(parts), halting) or ("" if halting else _before_or_after(parts)))
        message = "; ".join(text for text in told if text)
    if running and request.cancel:
        message = f"being cancelled; {message}" if message else "being cancelled"
    details: dict[str, Any] = {**request.result, "message": message}
    if request.error is not None:
        details["error"] = request.error
    if request.cancel and running:
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
    }
    if request.tag is not None:
        status["tag"] = request.tag
    if request.partial:
        status["partial"] = True
    if request.asked_by:
        status["asked_by"] = request.asked_by
    status["details"] = details
    return status


def _halts(part: NodePart) -> bool:
    return bool(part.waiting) or part.still_seconds is not None


def _before_or_after(parts: Sequence[NodePart]) -> str:
    """What a running request is at while no node tells of a step."""
    done = sum(part.state is not RequestState.RUNNING for part in parts)
    return f"{done} of {len(parts)} nodes are done" if done else "begun; no node tells of its work yet"


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


def subrequest(shown: ShownPart) -> dict[str, Any]:
    """One node's entry."""
    entry = subrequest_head(shown)
    entry["details"]["sstables"] = shown.counts().shown()
    return entry


def subrequest_head(shown: ShownPart) -> dict[str, Any]:
    """The same without its tables. `details` comes last."""
    part = shown.part
    details: dict[str, Any] = {
        "metadata": {"created": part.created, "errors": [str(error.get("message", "")) for error in part.errors]},
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


def _places(part: NodePart, destination: str | None) -> Places:
    places = part.progress
    if destination is not None and (destination in places or len(places) > 1):
        return {name: tables for name, tables in places.items() if name == destination}
    return places


def _packed(told: Mapping[str, Mapping[str, Counts]]) -> TableCounts:
    """An earlier release kept parts with counts that weren't packed."""
    return told if isinstance(told, TableCounts) else Layouts().pack(told)


def activity_event(event: ActivityEvent) -> dict[str, Any]:
    """An entry of GET /backup-activity, without the `full_status` that it has while its request runs."""
    shown: dict[str, Any] = {
        "week": week_of(event),
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
    if event.rebuilt:
        shown["rebuilt"] = True
    return shown


def week_of(event: ActivityEvent) -> str:
    """ISO year and week of an event, as one text."""
    year, week, _ = datetime.fromtimestamp(event.event_time, UTC).isocalendar()
    return f"{year}{week:02d}"
