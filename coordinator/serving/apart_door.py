"""The API's part for jobs that are carried out apart from the state. In: a request that its doors let in. Out: the
answer from what is known here, or from the agents; None where the state is asked, or the leader.

What runs here is told, and cancelled, from here. While the state is away that also holds for what ended here, and of a
success until the state has it too; the same restore sent again goes on with what stopped half-way; and of what another
coordinator carries out the agents tell.
"""

import time
import uuid
from collections.abc import Mapping

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from coordinator.model.requests import JOB, RequestState
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api, ClusterEntry
from coordinator.opscenter.errors import error_answer
from coordinator.opscenter.point_in_time import PointInTime
from coordinator.opscenter.requests import Requests
from coordinator.opscenter.shapes import shown_parts
from coordinator.opscenter.streamed import send, status_pieces
from coordinator.opscenter.turns import Whole
from coordinator.opscenter.wanted import Wanted
from coordinator.orchestrate.apart_jobs import ApartJobs, Site
from coordinator.orchestrate.archiving.archiving import Archiving
from coordinator.orchestrate.point_in_time.documents import was_taken_over
from coordinator.orchestrate.point_in_time.errors import StateAway
from coordinator.orchestrate.point_in_time.found_jobs import Found
from coordinator.orchestrate.retention.retention import Retention
from coordinator.orchestrate.schedules.schedules import JobSchedules
from coordinator.store.cassandra.errors import StoreUnreachable
from coordinator.store.protocol import Store
from kit.logs import Redactor

STATUS = ("GET", "/request/{request}/status")
CANCEL = ("POST", "/request/{request}/cancel")
RUN = ("POST", "/{cluster}/backups/pit/run")
SITE: web.RequestKey[Site] = web.RequestKey("site", Site)
"""Where what is asked for is carried out, or was."""


class ApartDoor:
    """`door` stands inside of those that judge who asks. `state`: the shared one."""

    def __init__(self, jobs: ApartJobs, state: Store, clusters: Mapping[str, ClusterEntry], redactor: Redactor) -> None:
        self._jobs = jobs
        self._state = state
        self._clusters = clusters
        self._redactor = redactor
        # Made once: the turns are all askers'.
        self._status = Whole(lambda request: not Wanted(request).whole).of(self._status_there)

    def door(self) -> Middleware:
        """The middleware."""

        @web.middleware
        async def first_apart(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                answer = await self._answer(request)
                return await handler(request) if answer is None else answer
            except (StateAway, StoreUnreachable) as away:
                return error_answer(away)

        return first_apart

    async def _answer(self, request: web.Request) -> web.StreamResponse | None:
        resource = request.match_info.route.resource
        asked = (request.method, "" if resource is None else resource.canonical.rstrip("/"))
        if asked == RUN and self._jobs.away():
            cluster = quirks.find_cluster(
                {cluster: entry.name for cluster, entry in self._clusters.items()}, request.match_info["cluster"]
            )

            async def run(site: Site) -> web.StreamResponse:
                return await PointInTime(self._api(site)).run(request)

            return await self._jobs.in_a_site(cluster, run)
        if asked not in (STATUS, CANCEL):
            return None
        site = await self._site_of(request.match_info["request"])
        if site is not None:
            request[SITE] = site
            return await (self._status if asked == STATUS else self._cancel_there)(request)
        if not self._jobs.away():
            return None
        found = await self._jobs.elsewhere(request.match_info["request"])
        if found is None:
            raise StateAway("the coordinator's state can't be asked, and the agents know no such restore")
        if asked == CANCEL:
            raise StateAway("another coordinator carries the restore out: ask that one; the state can't be asked")
        return await _told(request, found)

    async def _site_of(self, request_id: str) -> Site | None:
        for site in self._jobs.sites:
            found = await site.store.requests.get(request_id)
            if found is None or was_taken_over(found):
                continue
            if found.state is RequestState.RUNNING or self._jobs.away():
                return site
            if found.state is RequestState.SUCCESS and not await self._is_kept_ended(request_id):
                return site
        return None

    async def _is_kept_ended(self, request_id: str) -> bool:
        """Whether the state has its end. A leader that has just begun looks for it first: until then nobody who was
        told of the success is told that it runs. Another end says nothing: the leader may go on with the job."""
        try:
            kept = await self._state.requests.get(request_id)
        except StoreUnreachable:
            return False
        return kept is not None and kept.finished is not None

    async def _status_there(self, request: web.Request) -> web.StreamResponse:
        return await Requests(self._api(request[SITE])).status(request)

    async def _cancel_there(self, request: web.Request) -> web.StreamResponse:
        return await Requests(self._api(request[SITE])).cancel(request)

    def _api(self, site: Site) -> Api:
        """Of what it holds only what requests and restores to a point need is used."""
        around, orchestrator = site.around, site.orchestrator
        return Api(
            self._clusters,
            site.store,
            orchestrator,
            Retention(around, orchestrator.list_backups, orchestrator.start_delete),
            Archiving(around, orchestrator.make),
            JobSchedules(site.store, orchestrator, list(self._clusters), time.time),
            time.time,
            lambda: uuid.uuid4().hex,
            self._redactor,
        )


async def _told(request: web.Request, found: Found) -> web.StreamResponse:
    """The status of what another coordinator carries out, as its document has it: of its nodes nothing is known."""
    document = found.document
    how = "has ended, or stopped half-way; how is told when the state is back" if document.ended else "goes on"
    message = f"another coordinator carries it out: {document.phase}; it {how}"
    told = {**found.request.result, JOB: document.id}
    shown = shown_parts([], None)
    return await send(
        request,
        status_pieces(
            msgspec.structs.replace(found.request, message=message, result=told), shown, Wanted(request).of(shown)
        ),
    )
