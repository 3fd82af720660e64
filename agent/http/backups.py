"""/v1/backups: listings of a destination or of the on-server backups, and the coordinator's plan and records."""

from typing import Any, TypeVar

import msgspec
from aiohttp import web

from agent.http.bodies import json_list, json_response, path_name, query_of, read_json
from agent.http.services import services_of
from agent.wire.backups import NodeRecord, Plan, PlannedNode, Record
from agent.wire.destinations import ON_SERVER
from agent.wire.names import check_name, check_tables
from kit.errors import InvalidInput

MAX_PLAN_BYTES = 16_000_000
"""The largest plan or record, whatever `max_body_bytes` says of other bodies: both grow with the cluster. A plan of
1,000 nodes with 256 tokens each and 1,000 tables has 5.9 MB, a record of 1,000 nodes with 100 keyspaces 3.6 MB."""

Plain = TypeVar("Plain", bound=msgspec.Struct)


# What a store holds is read tolerantly, for a later release may have written it. What a coordinator sends is not: an
# agent that left out what it doesn't know would put another plan, or record, than it was told.


class _NodeAsSent(PlannedNode, frozen=True, forbid_unknown_fields=True):
    """A node of a plan."""


class _PlanAsSent(Plan, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A plan."""

    nodes: list[_NodeAsSent]  # type: ignore[assignment]


class _NodeRecordAsSent(NodeRecord, frozen=True, forbid_unknown_fields=True):
    """A node of a record."""


class _RecordAsSent(Record, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A record."""

    nodes: list[_NodeRecordAsSent]  # type: ignore[assignment]


async def list_all(request: web.Request) -> web.StreamResponse:
    """All backups that this agent sees there."""
    return await json_list(request, await services_of(request).backups.list(_destination(request)))


async def get(request: web.Request) -> web.Response:
    """One backup with plan, manifests and completeness."""
    tag = path_name(request, "tag", "tag")
    return json_response(await services_of(request).backups.get(tag, _destination(request)))


async def put_plan(request: web.Request) -> web.Response:
    """Put plan.json: the same again is fine, another is refused."""
    tag = path_name(request, "tag", "tag")
    destination = _destination(request)
    sent = await read_json(request, _PlanAsSent)
    plan = _plain(Plan, sent, nodes=[_plain(PlannedNode, node) for node in sent.nodes])
    _check_head(tag, plan.tag, plan.backup_id)
    check_name("cluster_id", plan.cluster_id)
    check_name("made_by", plan.made_by)
    check_tables(plan.keyspaces, "keyspaces")
    for node in plan.nodes:
        check_name("host_id", node.host_id, "nodes.host_id")
    await services_of(request).backups.put_plan(tag, destination, plan)
    return web.Response(status=204)


async def put_record(request: web.Request) -> web.Response:
    """Put the next listing record."""
    tag = path_name(request, "tag", "tag")
    destination = _destination(request)
    sent = await read_json(request, _RecordAsSent)
    record = _plain(Record, sent, nodes=[_plain(NodeRecord, node) for node in sent.nodes])
    _check_head(tag, record.tag, record.backup_id)
    check_tables(record.keyspaces, "keyspaces")
    await services_of(request).backups.put_record(tag, destination, record)
    return web.Response(status=204)


def _plain(kind: type[Plain], sent: msgspec.Struct, **changes: Any) -> Plain:
    return kind(**{**msgspec.structs.asdict(sent), **changes})


def _destination(request: web.Request) -> str | None:
    destination = query_of(request, ("destination",)).get("destination")
    if destination is None or destination == ON_SERVER:
        return None
    return check_name("destination", destination)


def _check_head(asked: str, tag: str, backup_id: str) -> None:
    if tag != asked:
        raise InvalidInput("the body is of another backup than the path", field="tag")
    check_name("backup_id", backup_id)
