"""Deleting a backup. In: DELETE /{cluster}/backups with tag, destination, remove_destination, dry_run. Out: the
request's id."""

from aiohttp import web

from coordinator.model.orders import DeleteOrder
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import answer

_OPTIONS = ("tag", "destination", "remove_destination", "dry_run")


class Delete:
    """The options come as query parameters, or in a JSON body. Without destination the on-server backup is deleted, so
    an option that is misspelt, empty or given twice is refused."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def backup(self, request: web.Request) -> web.Response:
        """DELETE /{cluster}/backups"""
        cluster = self._api.cluster(request)
        body, query = await quirks.read_body(request), quirks.canonical(dict(request.query))
        for name in sorted(body.keys() & query.keys()):
            raise quirks.refuse(quirks.shown(name), "is given twice, in the query and in the body")
        options = {**body, **query}
        quirks.allow_only(options, _OPTIONS)
        tag = quirks.as_tag(options.get("tag"))
        place = await self._api.place(cluster, options.get("destination"))
        remove = quirks.is_asked(str(options.get("remove_destination", "")))
        if remove and place is None:
            raise quirks.refuse("remove_destination", "needs a destination: what is on the nodes has no settings")
        if options.get("dry_run") == "":
            raise quirks.refuse("dry_run", "is empty: taken for no it would delete what was only to be counted")
        dry_run = quirks.as_bool(options.get("dry_run"), "dry_run")
        if dry_run and remove:
            raise quirks.refuse("remove_destination", "can't be asked for in a dry_run: it frees nothing")
        order = DeleteOrder(tag=tag, destination=place, remove_destination=remove, dry_run=dry_run)
        return answer(await self._api.orchestrator.start_delete(cluster, order))
