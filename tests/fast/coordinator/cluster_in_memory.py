"""An orchestrator over a cluster that is only data. In: orders. Out: requests in the real store, ended when the test
says so; backups, nodes and keyspaces as the test put them."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import msgspec

from agent.wire.commands import Counts, Progress
from agent.wire.destinations import ON_SERVER, S3Settings
from coordinator.model.activity import ActivityEvent
from coordinator.model.asking import asked_by
from coordinator.model.cluster import Backup, BackupKeyspace, ClusterNode
from coordinator.model.destinations import Destination, description
from coordinator.model.errors import (
    DestinationInUse,
    InvalidArguments,
    NoSuchBackup,
    NoSuchDestination,
    NoSuchRequest,
    RequestFinished,
    TagInUse,
    UnknownKeyspace,
    UnknownTable,
)
from coordinator.model.orders import (
    BackupOrder,
    DeleteOrder,
    DestinationOrder,
    Order,
    PointInTimeOrder,
    RestoreOrder,
    ScrubOrder,
    SyncOrder,
    places_of,
)
from coordinator.model.requests import NodePart, Request, RequestKind, RequestState, spec_of
from coordinator.model.retention import RetentionNote, Verdict
from coordinator.orchestrate.protocol import DestinationChange, Orchestrator
from coordinator.orchestrate.retention.rules import judge
from coordinator.orchestrate.retention.scene import ListBackups
from coordinator.store.protocol import Store

WRONG_SECRET = "wrong"
"""A destination with this secret is refused as the agents' check would."""


class CheckFailed(InvalidArguments):
    """What the agents say of a store that can't be used."""

    code = "destination_check_failed"


class PointsInMemory:
    """Implements `Points`: a check ends as the test says, `cluster.checked`."""

    def __init__(self, cluster: "ClusterInMemory") -> None:
        self._cluster = cluster

    async def check(self, cluster: str, order: PointInTimeOrder) -> Request:
        request_id = await self.start(cluster, order)
        request = await self._cluster.store.requests.get(request_id)
        assert request is not None
        return msgspec.structs.replace(request, **self._cluster.checked)

    async def start(self, cluster: str, order: PointInTimeOrder, warnings: Sequence[str] = ()) -> str:
        self._cluster.warned = list(warnings)
        kind = RequestKind.PIT_CHECK if order.check else RequestKind.POINT_IN_TIME
        return await self._cluster.begin(cluster, kind, order, None, places_of(order), order.keyspaces or {})


class ClusterInMemory:
    """Implements `Orchestrator`. `orders` holds what was ordered; `end` ends a request."""

    def __init__(self, store: Store, clock: int) -> None:
        self.store = store
        self.clock = clock
        self.orders: list[Order] = []
        self.tables: dict[str, list[str]] = {"shop": ["orders", "users"], "Mixed": ["Case"]}
        self.members: list[ClusterNode] = []
        self.backups: dict[str, list[Backup]] = {ON_SERVER: []}
        self.parts: dict[str, list[NodePart]] = {}
        self.running: set[str] = set()
        self.warned: list[str] = []
        """what the newest restore to a point was to tell"""
        self.checked: dict[str, Any] = {"state": RequestState.SUCCESS}
        """how checks of a point end"""
        self._ids = (f"00000000-0000-4000-8000-{number:012d}" for number in count(1))

    @property
    def points(self) -> PointsInMemory:
        return PointsInMemory(self)

    async def start_backup(
        self, cluster: str, order: BackupOrder, *, request_id: str | None = None, warnings: Sequence[str] = ()
    ) -> str:
        chosen = self._chosen(order.keyspaces, self.tables)
        places = [*([ON_SERVER] if order.keep else []), *(copy.destination for copy in order.copies)]
        return await self.begin(cluster, RequestKind.BACKUP, order, order.tag, places, chosen, request_id)

    async def start_sync(
        self, cluster: str, order: SyncOrder, *, request_id: str | None = None, warnings: Sequence[str] = ()
    ) -> str:
        backup = self._backup(order.source or ON_SERVER, order.tag)
        chosen = {name: part.tables for name, part in backup.keyspaces.items()}
        places = [copy.destination for copy in order.copies]
        return await self.begin(cluster, RequestKind.SYNC, order, order.tag, places, chosen, request_id)

    async def start_delete(self, cluster: str, order: DeleteOrder) -> str:
        for request in await self.store.requests.find(cluster=cluster, state=RequestState.RUNNING, tag=order.tag):
            if request.kind is RequestKind.DELETE and request.spec == spec_of(order):
                return request.id
        place = order.destination or ON_SERVER
        backup = self._backup(place, order.tag)
        for request in await self.store.requests.find(cluster=cluster, state=RequestState.RUNNING, tag=order.tag):
            raise TagInUse(f"{request.kind.value} {request.id} needs the backup", request=request.id)
        self.backups[place].remove(backup)
        return await self.begin(cluster, RequestKind.DELETE, order, order.tag, [place], {})

    async def start_scrub(self, cluster: str, order: ScrubOrder) -> str:
        return await self.begin(cluster, RequestKind.SCRUB, order, "", [order.destination], {})

    async def start_restore(self, cluster: str, order: RestoreOrder) -> str:
        place = order.destination or ON_SERVER
        kept = {name: part.tables for name, part in self._backup(place, order.tag).keyspaces.items()}
        asked = None if order.keyspaces is None else {name: part.tables for name, part in order.keyspaces.items()}
        return await self.begin(cluster, RequestKind.RESTORE, order, order.tag, [place], self._chosen(asked, kept))

    @asynccontextmanager
    async def staying(self, cluster: str, destinations: Collection[str]) -> AsyncIterator[None]:
        for each in destinations:
            if await self.store.destinations.get(cluster, each) is None:
                raise NoSuchDestination(each)
        yield

    async def start_destination_change(self, cluster: str, order: DestinationOrder) -> DestinationChange:
        known = await self.store.destinations.get(cluster, order.id)
        if order.settings is None:
            for request in await self.store.requests.find(cluster=cluster, state=RequestState.RUNNING):
                if order.id in request.destinations and request.kind is not RequestKind.DESTINATION:
                    raise DestinationInUse(f"request {request.id} needs the destination", request=request.id)
            await self.store.destinations.remove(cluster, order.id)
            changed = None
        else:
            if isinstance(order.settings, S3Settings) and order.settings.access_secret == WRONG_SECRET:
                raise CheckFailed("the store refused the credentials", destination=order.id)
            revision = 1 if known is None else known.revision + 1
            changed = Destination(
                order.id, cluster, order.settings, revision, "repository", "cluster", order.one_shot, self.clock
            )
            await self.store.destinations.put(changed)
            self.backups.setdefault(order.id, [])
        moved = known is not None and order.settings is not None and order.settings.path != known.settings.path
        request_id = await self.begin(cluster, RequestKind.DESTINATION, order, None, [order.id], {})
        return DestinationChange(request_id, changed, ["backups stay at the former place"] if moved else [])

    async def cancel(self, request_id: str, *, force: bool) -> None:
        found = await self.store.requests.ask_cancel(request_id, force=force)
        if found is None:
            raise NoSuchRequest(request_id)
        if found.state is not RequestState.RUNNING:
            raise RequestFinished(f"the request has ended: {found.state.value}", request=request_id)

    async def list_backups(self, cluster: str, destination: str | None) -> list[Backup]:
        return list(self.backups[destination or ON_SERVER])

    async def nodes(self, cluster: str) -> list[ClusterNode]:
        return self.members

    async def keyspaces(self, cluster: str) -> dict[str, list[str]]:
        return self.tables

    async def progress(self, request_id: str) -> list[NodePart]:
        return self.parts.get(request_id) or await self.store.requests.parts(request_id)

    async def end(
        self,
        request_id: str,
        state: RequestState = RequestState.SUCCESS,
        *,
        partial: bool = False,
        result: dict[str, object] | None = None,
    ) -> None:
        """End a running request: its events follow, its parts are kept, a backup is listed from now on."""
        request = await self.store.requests.get(request_id)
        assert request is not None
        ended = msgspec.structs.replace(
            request, state=state, partial=partial, finished=self.clock + 5.0, result=result or {}
        )
        events = [
            msgspec.structs.replace(event, status=state.value, partial=partial)
            for event in await self.store.requests.events_of(request_id)
        ]
        await self.store.requests.finish(ended, self.parts.pop(request_id, []), events)
        if request.kind in (RequestKind.BACKUP, RequestKind.SYNC) and request.tag is not None:
            for place in request.destinations:
                self.backups[place].append(backup(request.tag, self.clock, request.keyspaces))
        if request.kind is RequestKind.DELETE and request.tag is not None:
            await self.store.requests.mark_deleted(
                request.cluster, request.tag, request.destinations[0], self.clock + 5
            )

    def tell(self, request_id: str, progress: Progress, address: str = "127.0.70.1") -> None:
        """Let a node report its progress on a running request."""
        self.parts[request_id] = [
            NodePart(address, "host-1", f"command of {request_id}", RequestState.RUNNING, self.clock, progress=progress)
        ]

    async def begin(
        self,
        cluster: str,
        kind: RequestKind,
        order: Order,
        tag: str | None,
        places: Sequence[str],
        keyspaces: dict[str, list[str]],
        request_id: str | None = None,
    ) -> str:
        if request_id is not None and await self.store.requests.get(request_id) is not None:
            return request_id
        self.orders.append(order)
        request = Request(
            request_id or next(self._ids),
            kind,
            cluster,
            RequestState.RUNNING,
            self.clock,
            spec_of(order),
            tag=tag,
            destinations=list(places),
            keyspaces=keyspaces,
            asked_by=asked_by(),
        )
        events = []
        for place in places if tag is not None else ():
            destination = None if place == ON_SERVER else await self.store.destinations.get(cluster, place)
            kind_of_event = "backup" if kind is RequestKind.SYNC else kind.value
            events.append(
                msgspec.convert(
                    {
                        "cluster": cluster,
                        "request": request.id,
                        "type": kind_of_event,
                        "tag": tag,
                        "destination": description(destination),
                        "event_time": self.clock,
                        "status": "running",
                        "keyspaces": keyspaces,
                    },
                    ActivityEvent,
                )
            )
        await self.store.requests.create(request, events)
        return request.id

    def _backup(self, place: str, tag: str) -> Backup:
        for kept in self.backups[place]:
            if kept.tag == tag:
                return kept
        raise NoSuchBackup(f"there is no backup '{tag}' there", tag=tag)

    def _chosen(self, asked: dict[str, list[str]] | None, known: dict[str, list[str]]) -> dict[str, list[str]]:
        if asked is None:
            return known
        for keyspace, tables in asked.items():
            if keyspace not in known:
                raise UnknownKeyspace(f"there is no keyspace '{keyspace}'", field="keyspaces")
            for table in tables:
                if table not in known[keyspace]:
                    raise UnknownTable(f"there is no table '{keyspace}.{table}'", field="column-families")
        return {keyspace: tables or known[keyspace] for keyspace, tables in asked.items()}


class RetentionInMemory:
    """Implements `RetentionRuns`: judges as the real one does, and only notes what is asked for."""

    def __init__(self, store: Store, list_backups: ListBackups) -> None:
        self._store = store
        self._list_backups = list_backups
        self._notes: dict[str, RetentionNote] = {}

    async def preview(self, cluster: str, place: str) -> list[Verdict]:
        rules = {kept.backup_id: kept.rule for kept in await self._store.retention.of(cluster, place)}
        return judge(await self._list_backups(cluster, None if place == ON_SERVER else place), rules, float("inf"))

    async def ask(self, cluster: str, place: str) -> None:
        self._notes[place] = RetentionNote(asked=True)

    async def notes(self, cluster: str) -> dict[str, RetentionNote]:
        return self._notes


def backup(tag: str, time: float, keyspaces: dict[str, list[str]], state: str = "success", by: str = "adhoc") -> Backup:
    """A backup of one node as a listing knows it."""
    return Backup(
        tag,
        by,
        time,
        state,
        {name: BackupKeyspace(tables, ["127.0.70.1"], 1000 * len(tables)) for name, tables in keyspaces.items()},
    )


def counts(done: int, total: int) -> Counts:
    """Files done and in all, of 10 bytes each."""
    return Counts(done, total, done * 10, total * 10)


def implements(cluster: ClusterInMemory) -> Orchestrator:
    """The same; the type checker proves that it fits."""
    return cluster
