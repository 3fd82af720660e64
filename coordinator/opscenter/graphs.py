"""Graphs of a backup. In: GET /{cluster}/backups/graphs/{tag}/{destination}. Out: graph → keyspaces, always none."""

from aiohttp import web

from coordinator.model.errors import NoSuchBackup
from coordinator.opscenter import quirks
from coordinator.opscenter.context import Api
from coordinator.opscenter.errors import answer


class Graphs:
    """Graphs are a part of DSE that open-source Cassandra doesn't have, so a backup that is there has none."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def of_backup(self, request: web.Request) -> web.Response:
        """GET /{cluster}/backups/graphs/{tag}/{destination}. Raises `NoSuchBackup` of a tag that isn't there."""
        cluster = self._api.cluster(request)
        tag = quirks.as_tag(request.match_info["tag"])
        place = await self._api.place(cluster, request.match_info["destination"])
        if all(backup.tag != tag for backup in await self._api.orchestrator.list_backups(cluster, place)):
            raise NoSuchBackup(f"there is no backup '{tag}' there", tag=tag)
        return answer({})
