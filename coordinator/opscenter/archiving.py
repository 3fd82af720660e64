"""Archiving of the commit log. In: GET, POST, DELETE /{cluster}/backups/pit, GET …/pit/logs. Out: how it stands,
request ids, and up to when each node's writes are safe."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from agent.wire.destinations import ON_SERVER
from coordinator.model.archiving import ArchivingStatus, NodeArchiving
from coordinator.model.orders import ArchivingOrder, LogCopy
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import answer
from coordinator.opscenter.log_times import complete_in

_DIRECTORY = re.compile(r"/[A-Za-z0-9._+=@:~/-]+", re.ASCII)
"""What Cassandra's command line and properties file take as they are: it splits its archive command at spaces."""
MOST_SECONDS = 86_400.0
SHORTEST_TAIL = 1.0


class Archiving:
    """Fields of POST: destinations (id → compressed, throttle in MB/s), backup_directory, sleep, drain_first; ours:
    tail_seconds, enroll, force. Of DELETE: sleep, drain_first, force, in its body or query."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def status(self, request: web.Request) -> web.Response:
        """GET …/pit"""
        return answer(_shown(await self._api.archiving.status(self._api.cluster(request))))

    async def enable(self, request: web.Request) -> web.Response:
        """POST …/pit"""
        cluster = self._api.cluster(request)
        quirks.no_query(request)
        body = await quirks.read_body(request)
        quirks.allow_only(
            body,
            ("destinations", "backup_directory", "sleep", "drain_first", "tail_seconds", "enroll", "force"),
        )
        copies, keep = await self._places(cluster, body.get("destinations"))
        tail = quirks.as_seconds(body.get("tail_seconds"), "tail_seconds", most=MOST_SECONDS)
        if 0 < tail < SHORTEST_TAIL:
            raise quirks.refuse("tail_seconds", "must be 0 (never) or 1 at least")
        order = ArchivingOrder(
            enabled=True,
            copies=copies,
            keep=keep or not copies,
            directory=_directory(body.get("backup_directory")),
            sleep=quirks.as_seconds(body.get("sleep"), "sleep", most=MOST_SECONDS),
            drain=quirks.as_bool(body.get("drain_first"), "drain_first"),
            tail_seconds=tail,
            enroll=quirks.as_bool(body.get("enroll"), "enroll"),
            partial=quirks.as_bool(body.get("force"), "force"),
        )
        return answer(await self._api.archiving.start(cluster, order))

    async def disable(self, request: web.Request) -> web.Response:
        """DELETE …/pit"""
        cluster = self._api.cluster(request)
        body, query = await quirks.read_body(request), quirks.canonical(dict(request.query))
        for name in sorted(body.keys() & query.keys()):
            raise quirks.refuse(quirks.shown(name), "is given twice, in the query and in the body")
        options = {**body, **query}
        quirks.allow_only(options, ("sleep", "drain_first", "force"))
        order = ArchivingOrder(
            enabled=False,
            sleep=quirks.as_seconds(options.get("sleep"), "sleep", most=MOST_SECONDS),
            drain=quirks.as_bool(options.get("drain_first"), "drain_first"),
            partial=quirks.as_bool(options.get("force"), "force"),
        )
        return answer(await self._api.archiving.start(cluster, order))

    async def logs(self, request: web.Request) -> web.Response:
        """GET …/pit/logs; `destination` (ours): of that one alone, else of every place that is archived to."""
        cluster = self._api.cluster(request)
        named = request.query.get("destination")
        if named is not None and named != ON_SERVER:
            named = (await self._api.destination(cluster, quirks.as_destination_id(named))).id
        return answer(await self._api.archiving.logs(cluster, named))

    async def _places(self, cluster: str, value: object) -> tuple[list[LogCopy], bool]:
        """What is archived to, and whether segments stay on the nodes. `value`: {id: options}, [id] or one id."""
        if isinstance(value, (list, str)):
            value = {quirks.as_destination_id(one, "destinations"): {} for one in quirks.as_list(value, "destinations")}
        copies: list[LogCopy] = []
        keep = False
        for name, given in quirks.as_object(value, "destinations", quirks.EITHER).items():
            inside = f"destinations.{quirks.shown(name)}."
            options = quirks.canonical(quirks.as_object(given, inside.rstrip(".")), inside)
            quirks.allow_only(options, ("compressed", "throttle"), inside)
            compressed = quirks.as_bool(options.get("compressed"), f"{inside}compressed")
            throttle = quirks.as_bytes_per_second(options.get("throttle"), f"{inside}throttle")
            if name == ON_SERVER:
                if compressed:
                    raise quirks.refuse(f"{inside}compressed", "can't be: on the nodes segments stay as they are")
                keep = True
                continue
            found = await self._api.destination(cluster, quirks.as_destination_id(name, "destinations"))
            copies.append(LogCopy(found.id, compressed, throttle))
        return copies, keep


def _directory(value: object) -> str:
    """A directory on the nodes; absent or null = "", the one in force, else the agents' setting."""
    if value is None:
        return ""
    text = quirks.as_text(value, "backup_directory", most=512)
    if not _DIRECTORY.fullmatch(text) or ".." in text.split("/") or not text.strip("/"):
        raise quirks.refuse(
            "backup_directory",
            "must be an absolute path of letters, digits and . _ - + = @ : ~ / alone, without .. and not / itself, as "
            f"Cassandra splits its archive command at spaces: {quirks.shown(text)}",
        )
    return text.rstrip("/")


def _shown(status: ArchivingStatus) -> dict[str, Any]:
    """OpsCenter's `enabled` and `destinations`; the rest is ours."""
    order = status.order
    destinations: dict[str, Any] = {}
    told: dict[str, Any] = {"enabled": status.enabled, "destinations": destinations}
    if order is not None and status.enabled:
        for copy in order.copies:
            destinations[copy.destination] = {"compressed": copy.compressed}
            if copy.throttle_bytes_per_second:
                destinations[copy.destination]["throttle"] = copy.throttle_bytes_per_second / quirks.MEGABYTE
        if order.keep:
            destinations[ON_SERVER] = {"compressed": False}
        told |= {"backup_directory": order.directory or None, "tail_seconds": order.tail_seconds}
        told |= {"enroll": order.enroll}
    told["complete"] = {
        place: None if times is None else {"since": times[0], "until": times[1]}
        for place, times in complete_in(status.nodes).items()
    }
    if status.request:
        told["request_id"] = status.request
    without = [node for node in status.nodes if node.without]
    told["nodes_without" if status.enabled else "nodes_with"] = [
        {"address": node.address, "host_id": node.host_id, "why": node.without} for node in without
    ]
    told["nodes"] = {node.address: _node(node) for node in status.nodes}
    return told


def _node(node: NodeArchiving) -> Mapping[str, Any]:
    shown: dict[str, Any] = {
        "host_id": node.host_id,
        "state": node.state,
        "safe": node.safe,
        "waiting_bytes": node.waiting_bytes,
        "unarchived_bytes": node.unarchived_bytes,
        "gaps": msgspec.to_builtins(node.gaps),
        "errors": node.errors,
    }
    if node.tail_refused:
        shown["tail_refused"] = node.tail_refused
    return shown
