"""Restores to a point in time. In: POST /{cluster}/backups/pit_check and …/pit/run. Out: what the nodes know of the
point, and the id of the request.
"""

from decimal import Decimal
from typing import Any

from aiohttp import web

from agent.wire.destinations import ON_SERVER
from coordinator.model.errors import NoSuchDestination, UnknownKeyspace, UnknownTable
from coordinator.model.orders import PointInTimeOrder
from coordinator.model.requests import Request, RequestState
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import answer, told_error
from coordinator.opscenter.points import read_point
from coordinator.orchestrate.errors import KeyspaceRefused, NobodyAnswers, NodesFailed, RequestCancelled
from coordinator.orchestrate.point_in_time.errors import NoSnapshot, PointNeedsAll, PointRefused, StoppedByRestore

_CHECK = ("pit", "destination", "pit_destination", "keyspaces", "force", "throttle", "restart_pause")
_ENDS = (
    KeyspaceRefused, NoSnapshot, NoSuchDestination, NobodyAnswers, NodesFailed, PointNeedsAll, PointRefused,
    RequestCancelled, StoppedByRestore, UnknownKeyspace, UnknownTable,
)  # fmt: skip
"""What a check ends with."""
MOST_PAUSE = 86_400.0
"""Seconds."""


class PointInTime:
    """Options of both: pit (unix seconds), keyspaces, destination, pit_destination, restart_pause (seconds), and ours:
    throttle (MB/s per node), force. A check reads them all and starts nothing, whichever are there."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def check(self, request: web.Request) -> web.Response:
        """POST /{cluster}/backups/pit_check"""
        cluster, order, warnings = await self._order(request, check=True)
        checked = await self._api.orchestrator.points.check(cluster, order)
        if checked.state is not RequestState.SUCCESS:
            return told_error(_error(checked), _ENDS)
        told = {**checked.result, "warnings": [*warnings, *checked.result.get("warnings", [])]}
        return answer({"message": checked.message, "brief": "success", "request_id": checked.id, **told})

    async def run(self, request: web.Request) -> web.Response:
        """POST /{cluster}/backups/pit/run, and the same with a slash at its end"""
        cluster, order, warnings = await self._order(request, check=False)
        return answer(await self._api.orchestrator.points.start(cluster, order, warnings))

    async def _order(self, request: web.Request, *, check: bool) -> tuple[str, PointInTimeOrder, list[str]]:
        cluster = self._api.cluster(request)
        quirks.no_query(request)
        body = await quirks.read_body(request, exact=True)
        quirks.allow_only(body, _CHECK)
        point, cut = read_point(body.pop("pit", None), "pit", self._api.clock())
        body = {name: float(value) if isinstance(value, Decimal) else value for name, value in body.items()}
        keyspaces, merged = _keyspaces(body.get("keyspaces"))
        order = PointInTimeOrder(
            pit_micros=point,
            keyspaces=keyspaces,
            destination=_place(body.get("destination"), "destination"),
            pit_destination=_place(body.get("pit_destination"), "pit_destination"),
            restart_pause=quirks.as_seconds(body.get("restart_pause"), "restart_pause", most=MOST_PAUSE),
            throttle_bytes_per_second=quirks.as_bytes_per_second(body.get("throttle"), "throttle"),
            force=quirks.as_bool(body.get("force"), "force"),
            check=check,
        )
        return cluster, order, [warning for warning in (cut, _not_merged(merged)) if warning]


def _place(value: Any, field: str) -> str | None:
    """A destination's id, or None = on the nodes. Whether there is such a one is asked later: a job that has fetched
    all goes on without, at a coordinator that lost its state."""
    return None if value is None or value == ON_SERVER else quirks.as_destination_id(value, field)


def _keyspaces(value: Any) -> tuple[dict[str, list[str]] | None, list[str]]:
    """Absent = all. A list of names, or an object: keyspace → {"column-families", "truncate"}. Then the keyspaces that
    say truncate: false."""
    if not value or not isinstance(value, dict):
        return {name: [] for name in quirks.as_chosen(value, "keyspaces", quirks.EITHER)} or None, []
    chosen: dict[str, list[str]] = {}
    merged: list[str] = []
    for name, given in quirks.as_object(value, "keyspaces").items():
        keyspace = quirks.as_name(name, "keyspaces")
        inside = f"keyspaces.{keyspace}."
        options = quirks.canonical(quirks.as_object(given, inside.rstrip(".")), inside)
        quirks.allow_only(options, ("column_families", "truncate"), inside)
        if not quirks.as_bool(options.get("truncate"), f"{inside}truncate", default=True):
            merged.append(keyspace)
        chosen[keyspace] = quirks.as_chosen(options.get("column_families"), f"{inside}column-families")
    return chosen, merged


def _not_merged(keyspaces: list[str]) -> str:
    """What is said of them; "" of none."""
    if not keyspaces:
        return ""
    return (
        f"«truncate»: false is not followed for {', '.join(sorted(keyspaces))}: what came into the tables after the "
        "point can't stay in them, it is set aside on every node and kept as the snapshot helenus-before-… of its table"
    )


def _error(checked: Request) -> dict[str, Any]:
    """What ended the check, with the id under which it can be looked at."""
    error = checked.error or {"code": "request_cancelled", "message": checked.message, "todo": "", "fields": {}}
    return {**error, "fields": {**error.get("fields", {}), "request": checked.id}}
