"""Restores. In: POST /{cluster}/backups/restore/{tag}[/{keyspace}[/{table}]]. Out: the request's id."""

from typing import Any

from aiohttp import web

from coordinator.model.orders import RestoreOrder, RestoreTables
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import answer

_EVERYWHERE = ("throttle", "excluded_nodes", "force", "force_schema", "destination", "truncate")


class Restore:
    """Options of all three paths: throttle (MB/s), excluded-nodes, force, force_schema, destination, truncate; of the
    whole backup also keyspaces, of a keyspace also column-families."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def backup(self, request: web.Request) -> web.Response:
        """POST /{cluster}/backups/restore/{tag}"""
        quirks.no_query(request)
        body = await quirks.read_body(request)
        quirks.allow_only(body, (*_EVERYWHERE, "keyspaces"))
        quirks.no_empty_end(request, "ksname", "restore the whole backup")
        truncate = quirks.as_bool(body.get("truncate"), "truncate")
        return await self._start(request, body, _keyspaces(body.get("keyspaces"), truncate), truncate)

    async def keyspace(self, request: web.Request) -> web.Response:
        """POST /{cluster}/backups/restore/{tag}/{keyspace}"""
        quirks.no_query(request)
        body = await quirks.read_body(request)
        quirks.allow_only(body, (*_EVERYWHERE, "column_families"))
        quirks.no_empty_end(request, "cfname", "restore the whole keyspace")
        keyspace = quirks.as_name(request.match_info["keyspace"], "ksname")
        truncate = quirks.as_bool(body.get("truncate"), "truncate")
        tables = quirks.as_chosen(body.get("column_families"), "column-families")
        return await self._start(request, body, {keyspace: RestoreTables(tables, truncate)}, truncate)

    async def table(self, request: web.Request) -> web.Response:
        """POST /{cluster}/backups/restore/{tag}/{keyspace}/{table}"""
        quirks.no_query(request)
        body = await quirks.read_body(request)
        quirks.allow_only(body, _EVERYWHERE)
        keyspace = quirks.as_name(request.match_info["keyspace"], "ksname")
        table = quirks.as_name(request.match_info["table"], "cfname")
        truncate = quirks.as_bool(body.get("truncate"), "truncate")
        return await self._start(request, body, {keyspace: RestoreTables([table], truncate)}, truncate)

    async def _start(
        self,
        request: web.Request,
        body: dict[str, Any],
        keyspaces: dict[str, RestoreTables] | None,
        truncate: bool,
    ) -> web.Response:
        cluster = self._api.cluster(request)
        order = RestoreOrder(
            tag=quirks.as_tag(request.match_info["tag"]),
            destination=await self._api.place(cluster, body.get("destination")),
            keyspaces=keyspaces,
            truncate=truncate,
            throttle_bytes_per_second=quirks.as_bytes_per_second(body.get("throttle"), "throttle"),
            excluded_nodes=quirks.as_texts(body.get("excluded_nodes"), "excluded-nodes"),
            force=quirks.as_bool(body.get("force"), "force"),
            force_schema=quirks.as_bool(body.get("force_schema"), "force_schema"),
        )
        return answer(await self._api.orchestrator.start_restore(cluster, order))


def _keyspaces(value: Any, truncate: bool) -> dict[str, RestoreTables] | None:
    """Absent = all. An object's options win over the body's truncate."""
    if not value or not isinstance(value, dict):
        return {
            name: RestoreTables([], truncate) for name in quirks.as_chosen(value, "keyspaces", quirks.EITHER)
        } or None
    chosen: dict[str, RestoreTables] = {}
    for name, given in quirks.as_object(value, "keyspaces").items():
        keyspace = quirks.as_name(name, "keyspaces")
        inside = f"keyspaces.{keyspace}."
        options = quirks.canonical(quirks.as_object(given, inside.rstrip(".")), inside)
        quirks.allow_only(options, ("column_families", "truncate"), inside)
        chosen[keyspace] = RestoreTables(
            quirks.as_chosen(options.get("column_families"), f"{inside}column-families"),
            quirks.as_bool(options.get("truncate"), f"{inside}truncate", default=truncate),
        )
    return chosen
