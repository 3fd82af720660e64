"""Requests that get into each other's way. In: what is about to be made. Out: nothing, or the error that names the
running request. Call it in the cluster's turn."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.wire.node import Tables
from coordinator.model.errors import TagInUse
from coordinator.model.orders import Order, places_of, reads_of
from coordinator.model.requests import Request, RequestKind, RequestState, order_of
from coordinator.orchestrate.archiving.errors import ArchivingChanging
from coordinator.orchestrate.archiving.setting import changing
from coordinator.orchestrate.errors import MissingNodes, RestoreRunning
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.run import Surroundings
from coordinator.orchestrate.scope import common_tables


class Conflicts:
    """Looks at what runs."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    async def refuse_while(self, cluster: str, order: Order, tag: str, kinds: set[RequestKind]) -> None:
        """Raise `TagInUse` while a request of these kinds works on the backup at a place of the order."""
        places = Places(self._around, cluster)
        wanted, read = [await places.repositories(one) for one in (places_of(order), reads_of(order))]
        for request in await self._around.store.requests.find(cluster=cluster, state=RequestState.RUNNING, tag=tag):
            if request.kind not in kinds:
                continue
            other = order_of(request)
            shared = wanted & await places.repositories(places_of(other))
            shared -= read & await places.repositories(reads_of(other))
            if shared:
                raise TagInUse(f"a running {request.kind} works on {tag}", request=request.id, tag=tag)

    async def refuse_overlapping(self, cluster: str, tables: Tables) -> None:
        """Raise `RestoreRunning` while a restore changes any of the tables, or one to a point in time stops nodes, and
        `ArchivingChanging` while nodes are restarted for archiving."""
        await self.refuse_restarts(cluster)
        for request in await self._running(cluster, RequestKind.POINT_IN_TIME):
            raise RestoreRunning(
                f"the running restore to a point in time {request.id} stops the nodes", request=request.id, tables=[]
            )
        for request, shared in await self.overlapping(cluster, tables):
            raise RestoreRunning(
                f"the running restore {request.id} changes {', '.join(shared)}",
                request=request.id,
                tag=request.tag,
                tables=shared,
            )

    async def overlapping(self, cluster: str, tables: Tables) -> list[tuple[Request, list[str]]]:
        """The running restores that change any of the tables, each with what both have."""
        running = [
            *await self._running(cluster, RequestKind.RESTORE),
            *await self._running(cluster, RequestKind.POINT_IN_TIME),
        ]
        found = [(request, common_tables(request.keyspaces, tables)) for request in running]
        return [(request, shared) for request, shared in found if shared]

    async def refuse_restarts(self, cluster: str) -> None:
        """Raise `ArchivingChanging` while nodes are restarted for archiving."""
        request = await changing(self._around.store, cluster)
        if request is not None:
            raise ArchivingChanging(_restarts(request), request=request.id)

    @asynccontextmanager
    async def missing_by_restarts(self, cluster: str) -> AsyncIterator[None]:
        """What is missing is looked at within. While nodes are restarted for archiving, one of them may be what is:
        `ArchivingChanging` is raised instead of `MissingNodes` then, for nobody is to start it by hand."""
        try:
            yield
        except MissingNodes as missing:
            request = await changing(self._around.store, cluster)
            if request is None:
                raise
            told = f"{_restarts(request)}. {missing.message}"
            raise ArchivingChanging(told, **{**missing.fields, "request": request.id}) from missing

    async def refuse_stopping(self, cluster: str, but: str = "") -> None:
        """Raise `RestoreRunning` while any restore runs, but the request `but`: what stops nodes breaks it."""
        for kind in (RequestKind.RESTORE, RequestKind.POINT_IN_TIME):
            for request in await self._running(cluster, kind):
                if request.id != but:
                    raise RestoreRunning(
                        f"the restore {request.id} runs: no node can be stopped meanwhile",
                        request=request.id,
                        tables=[],
                    )

    async def _running(self, cluster: str, kind: RequestKind) -> list[Request]:
        return await self._around.store.requests.find(cluster=cluster, kind=kind, state=RequestState.RUNNING)


def _restarts(request: Request) -> str:
    return f"the request {request.id} switches archiving and restarts nodes"
