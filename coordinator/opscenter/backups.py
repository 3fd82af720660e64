"""Listings of backups. In: GET /{cluster}/backups[/{keyspace}]. Out: tag → record, newest first."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from aiohttp import web

from coordinator.model.cluster import Backup
from coordinator.model.errors import UnknownKeyspace
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import NoSuchPath
from coordinator.opscenter.log_times import Times, complete_in, log_since
from coordinator.opscenter.streamed import send

RESTORABLE = frozenset({"success", "partial"})


class Backups:
    """Parameters: match, last_seen, amount, destination, list_all."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def all(self, request: web.Request) -> web.StreamResponse:
        """GET /{cluster}/backups"""
        backups, times = await self._listing(request, None)
        return await send(request, _records(backups, None, times))

    async def of_keyspace(self, request: web.Request) -> web.StreamResponse:
        """GET /{cluster}/backups/{keyspace}"""
        if request.match_info["keyspace"] in quirks.RESERVED_KEYSPACES:
            raise NoSuchPath("what is archived of the commit log stands at /{cluster}/backups/pit")
        cluster = self._api.cluster(request)
        keyspace = quirks.as_name(request.match_info["keyspace"], "ks_name")
        backups, times = await self._listing(request, keyspace)
        # A dropped keyspace has backups still; one that has none must at least be alive.
        if not backups and keyspace not in await self._api.orchestrator.keyspaces(cluster):
            order = quirks.ORDERS.get(keyspace)
            hint = f"; {order} send a POST to this path" if order else ""
            raise UnknownKeyspace(f"there is no keyspace '{keyspace}' and no backup of one here{hint}", field="ks_name")
        return await send(request, _records(backups, keyspace, times))

    async def _listing(self, request: web.Request, keyspace: str | None) -> tuple[list[Backup], Times]:
        """Those that are asked for, and how far the commit log goes in each place."""
        cluster = self._api.cluster(request)
        query = request.query
        place = await self._api.place(cluster, query.get("destination"))
        amount = quirks.as_int(query.get("amount"), "amount")
        everything = quirks.as_bool(query.get("list_all"), "list_all")
        found = await self._api.orchestrator.list_backups(cluster, place)
        newest_first = sorted(found, key=_age, reverse=True)
        chosen = _seen(newest_first, quirks.as_filter(query.get("last_seen"), "last_seen"))
        match = quirks.as_filter(query.get("match"), "match")
        if match is not None:
            chosen = [backup for backup in chosen if backup.backup_id == match]
        if not everything:
            # What failed or is under way can't be restored; the activity tells of it, and list_all=1.
            chosen = [backup for backup in chosen if backup.state in RESTORABLE]
        if keyspace is not None:
            chosen = [backup for backup in chosen if keyspace in backup.keyspaces]
        nodes = self._api.archiving.seen(cluster)
        every_node = all(node.safe for node in nodes)
        times = complete_in(nodes) if every_node else {place: None for node in nodes for place in node.safe}
        return chosen[:amount], times


def _age(backup: Backup) -> tuple[float, str]:
    return int(backup.time), backup.tag


def _seen(newest_first: list[Backup], last_seen: str | None) -> list[Backup]:
    """A number is a time, inclusive as in the contract's example; a tag is the last of the page before, exclusive."""
    if last_seen is None:
        return newest_first
    if last_seen.strip().isdecimal():
        limit = quirks.as_int(last_seen, "last_seen") or 0
        return [backup for backup in newest_first if int(backup.time) <= limit]
    known = [backup for backup in newest_first if backup.tag == last_seen]
    if not known:
        raise quirks.refuse("last_seen", f"must be unix seconds or the tag of a backup: {quirks.shown(last_seen)}")
    return [backup for backup in newest_first if _age(backup) < _age(known[0])]


def _records(backups: Iterable[Backup], keyspace: str | None, times: Times) -> Iterator[bytes]:
    """Tag → record as JSON, in pieces: of a thousand nodes a record has 150 KB."""
    yield b"{"
    comma = b""
    for backup in backups:
        record = msgspec.json.encode(_record(backup, keyspace, times))
        yield comma + msgspec.json.encode(backup.tag) + b":" + record
        comma = b","
    yield b"}"


def _record(backup: Backup, keyspace: str | None, times: Times) -> dict[str, Any]:
    record: dict[str, Any] = {
        "id": backup.backup_id,
        "keyspaces": {
            name: {"cfs": sorted(part.tables), "nodes": sorted(part.nodes), "size": part.bytes}
            for name, part in sorted(backup.keyspaces.items())
            if keyspace in (None, name)
        },
        "time": int(backup.time),
        "status": backup.state,
    }
    if times:
        record["commit_log"] = log_since(backup.time, times)
    if backup.missing:
        record["missing_nodes"] = backup.missing
    if backup.damaged:
        record["damaged_nodes"] = backup.damaged
    return record
