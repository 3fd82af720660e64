"""Backups by hand. In: POST /{cluster}/backups/run, /sync and /scrub. Out: the request's id."""

from aiohttp import web

from coordinator.model.access import Role
from coordinator.model.orders import ScrubOrder, SyncOrder
from coordinator.opscenter import quirks
from coordinator.opscenter.backup_options import OPTIONS, read_backup
from coordinator.opscenter.context import Api
from coordinator.opscenter.copies import read_copies
from coordinator.opscenter.errors import answer
from coordinator.opscenter.roles import need, who_asks
from coordinator.opscenter.rules import keep_rules

ADHOC = "adhoc"


class Run:
    """Fields of run: keyspaces, destinations, throttle (MB/s per node), force (ours: go on without the nodes whose
    agent doesn't answer), pre_snapshot_script, post_snapshot_script, and a rule of retention for the backups by hand at
    its places; of sync: tag, destinations, throttle, force, source (ours: the destination to copy from, none = the
    nodes); of scrub (ours): destination, whole.
    """

    def __init__(self, api: Api) -> None:
        self._api = api

    async def run(self, request: web.Request) -> web.Response:
        """POST /{cluster}/backups/run"""
        cluster = self._api.cluster(request)
        quirks.no_query(request)
        body = await quirks.read_body(request)
        quirks.allow_only(body, ("type", *OPTIONS))
        if body.get("type") not in (None, "backup"):
            raise quirks.refuse("type", "must be backup")
        options = await read_backup(self._api, cluster, body)
        if any(options.rules.values()):
            need(who_asks(request), Role.ADMIN, "a rule of retention, which deletes backups,")
        tag, time = await self._api.store.requests.claim_tag(cluster, ADHOC, int(self._api.clock()))
        request_id = await self._api.orchestrator.start_backup(cluster, options.job.order(tag, time, ADHOC))
        await keep_rules(self._api, cluster, ADHOC, options.rules)
        return answer(request_id)

    async def sync(self, request: web.Request) -> web.Response:
        """POST /{cluster}/backups/sync"""
        cluster = self._api.cluster(request)
        quirks.no_query(request)
        body = await quirks.read_body(request)
        quirks.allow_only(body, ("tag", "destinations", "throttle", "force", "source"))
        tag = quirks.as_tag(body.get("tag"))
        source = await self._api.place(cluster, body.get("source"), "source")
        chosen = await read_copies(self._api, cluster, body.get("destinations"))
        for place, said in chosen.rules.items():
            if said:
                raise quirks.refuse(
                    f"destinations.{place}",
                    "names a rule of retention, which a sync doesn't take: a run or a destination does",
                )
        if chosen.on_server:
            raise quirks.refuse("destinations", "can't name OPSC_ON_SERVER: a sync copies to destinations")
        if not chosen.copies:
            raise quirks.refuse("destinations", "must name at least one destination to copy to")
        if source in {copy.destination for copy in chosen.copies}:
            raise quirks.refuse("destinations", "can't name the source, which is copied from")
        order = SyncOrder(
            tag=tag,
            copies=chosen.copies,
            throttle_bytes_per_second=quirks.as_bytes_per_second(body.get("throttle"), "throttle"),
            partial=quirks.as_bool(body.get("force"), "force"),
            source=source,
        )
        return answer(await self._api.orchestrator.start_sync(cluster, order))

    async def scrub(self, request: web.Request) -> web.Response:
        """POST /{cluster}/backups/scrub"""
        cluster = self._api.cluster(request)
        quirks.no_query(request)
        body = await quirks.read_body(request)
        quirks.allow_only(body, ("destination", "whole"))
        place = await self._api.place(cluster, body.get("destination"))
        if place is None:
            raise quirks.refuse("destination", "must be named: what is kept on the nodes is not scrubbed")
        order = ScrubOrder(place, quirks.as_bool(body.get("whole"), "whole"))
        return answer(await self._api.orchestrator.start_scrub(cluster, order))
