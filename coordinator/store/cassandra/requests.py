"""Requests, steps and parts in Cassandra (`protocol.Requests`). In: requests. Out: changes of their records.

A request is one record: its own form, its events, steps, commands and parts, so that whatever belongs together is one
swap. Its destinations are another record (`places`): see `finish`.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from coordinator.model.activity import ActivityEvent, ActivityQuery
from coordinator.model.requests import NodePart, Request, RequestKind, RequestState
from coordinator.model.table_counts import Layouts
from coordinator.model.tags import tag_of
from coordinator.store.cassandra.activity import Activity
from coordinator.store.cassandra.finding import Finding
from coordinator.store.cassandra.index import EVENT, HEAD, PARTS, REQUEST, STEP, TAG, TAGS, Head
from coordinator.store.cassandra.partitions import Change, Partitions
from coordinator.store.cassandra.places import Places
from coordinator.store.cassandra.tables import Key, Row, Snapshot
from coordinator.store.cassandra.ticks import Ticks
from coordinator.store.kept_parts import packed_in_turns, unpacked_in_turns
from coordinator.store.protocol import EVERYTHING

_HEAD = (HEAD,)
_CLAIMED = "claimed"


class CassandraRequests:
    """See `protocol.Requests`."""

    def __init__(self, partitions: Partitions, finding: Finding, places: Places, ticks: Ticks) -> None:
        self._partitions = partitions
        self._finding = finding
        self._places = places
        self._ticks = ticks
        self._activity = Activity(partitions)

    async def claim_tag(self, cluster: str, backup_id: str, at: int) -> tuple[str, int]:
        second = at
        while True:
            tag = tag_of(backup_id, second)
            if await self._partitions.whole(self._claimed(cluster, tag)):
                return tag, second
            second += 1

    async def create(self, request: Request, events: Sequence[ActivityEvent] = ()) -> None:
        made, first = self._ticks.next(), self._ticks.next(len(events) + 1)

        def decide(found: Snapshot) -> Change | None:
            if head_in(found) is not None:
                return None
            return Change([_row_of(Head(request, made)), *_event_rows(found, events, first)])

        await self._partitions.whole(self._partitions.change(Key(REQUEST, request.id), _HEAD, decide))

    async def get(self, request_id: str) -> Request | None:
        head = await self._finding.head(request_id)
        return None if head is None else head.request

    async def find(
        self,
        *,
        cluster: str | None = None,
        kind: RequestKind | None = None,
        state: RequestState | None = None,
        tag: str | None = None,
    ) -> list[Request]:
        heads = await self._finding.heads(cluster=cluster, kind=kind, state=state, tag=tag)
        return [head.request for head in heads]

    async def ended_since(self, since: float) -> list[Request]:
        return [head.request for head in await self._finding.ended_since(since)]

    async def update(self, request: Request) -> None:
        def decide(found: Snapshot) -> Change | None:
            head = _running(found)
            return None if head is None else Change([_row_of(_with_form(head, request))])

        await self._partitions.whole(self._partitions.change(Key(REQUEST, request.id), _HEAD, decide))

    async def finish(
        self,
        request: Request,
        parts: Sequence[NodePart] = (),
        events: Sequence[ActivityEvent] = (),
        forget: Sequence[str] = (),
    ) -> None:
        """The end of the request decides for its destinations too. They are marked first as going with it, and removed
        after it; whoever reads a marked one in between asks the request (`places`)."""
        await self._partitions.whole(self._finished(request, parts, events, forget))

    async def ask_cancel(self, request_id: str, *, force: bool) -> Request | None:
        wanted = "force" if force else "asked"
        stands: list[Request | None] = [None]

        def decide(found: Snapshot) -> Change | None:
            head = head_in(found)
            stands[0] = None if head is None else head.request
            if head is None or head.request.state is not RequestState.RUNNING:
                return None
            if head.request.cancel in ("force", wanted):
                return None
            stands[0] = msgspec.structs.replace(head.request, cancel=wanted)
            return Change([_row_of(msgspec.structs.replace(head, request=stands[0]))])

        await self._partitions.whole(self._partitions.change(Key(REQUEST, request_id), _HEAD, decide))
        return stands[0]

    async def drop_cancel(self, request_id: str, cancel: str) -> None:
        def decide(found: Snapshot) -> Change | None:
            head = _running(found)
            if head is None or not cancel or head.request.cancel != cancel:
                return None
            dropped = msgspec.structs.replace(head.request, cancel="")
            return Change([_row_of(msgspec.structs.replace(head, request=dropped))])

        await self._partitions.whole(self._partitions.change(Key(REQUEST, request_id), _HEAD, decide))

    async def parts(self, request_id: str) -> list[NodePart]:
        return await unpacked_in_turns(await self.kept_parts(request_id), Layouts())

    async def kept_parts(self, request_id: str) -> list[bytes]:
        data = await self._data(request_id, PARTS, "")
        return [] if data is None else msgspec.json.decode(data, type=list[bytes])

    async def step(self, request_id: str, name: str) -> dict[str, Any] | None:
        data = await self._data(request_id, STEP, name)
        return None if data is None else msgspec.json.decode(data, type=dict[str, Any])

    async def record_step(self, request_id: str, name: str, data: dict[str, Any]) -> None:
        await self.record_steps(request_id, {name: data})

    async def record_steps(self, request_id: str, steps: Mapping[str, dict[str, Any]]) -> None:
        rows = [Row(STEP, name, msgspec.json.encode(data)) for name, data in steps.items()]

        def decide(found: Snapshot) -> Change | None:
            return Change(rows) if rows else None

        work = self._partitions.change(Key(REQUEST, request_id), (STEP,), decide, [*steps], bare=True)
        await self._partitions.whole(work)

    async def events(self, cluster: str, query: ActivityQuery = EVERYTHING) -> list[ActivityEvent]:
        return await self._activity.events(cluster, query)

    async def events_of(self, request_id: str) -> list[ActivityEvent]:
        return await self._activity.events_of(request_id)

    async def mark_deleted(self, cluster: str, tag: str, destination: str, at: int) -> None:
        await self._partitions.whole(self._activity.mark_deleted(cluster, tag, destination, at))

    async def _claimed(self, cluster: str, tag: str) -> bool:
        """Whether it was free, and is now given for good. A request that came with a tag that nobody claimed has it
        too."""
        scope = f"{cluster}/{tag}"
        async for page in self._partitions.tables.scan(TAGS, scope):
            if page:
                return False
        done = [False]

        def decide(found: Snapshot) -> Change | None:
            done[0] = not found.rows
            return Change([Row(_CLAIMED, "", b"{}")]) if done[0] else None

        await self._partitions.change(Key(TAG, scope), (_CLAIMED,), decide)
        return done[0]

    async def _finished(
        self, request: Request, parts: Sequence[NodePart], events: Sequence[ActivityEvent], forget: Sequence[str]
    ) -> None:
        encoded = msgspec.json.encode(await packed_in_turns(parts, Layouts()))
        first = self._ticks.next(len(events) + 1)
        leaving = {destination: uuid.uuid4().hex for destination in forget}

        def decide(found: Snapshot) -> Change | None:
            head = _running(found)
            if head is None:
                return None
            ended = msgspec.structs.replace(_with_form(head, request), forget=leaving)
            return Change([_row_of(ended), Row(PARTS, "", encoded), *_event_rows(found, events, first)])

        if leaving:
            await self._places.mark_leaving(request.cluster, request.id, leaving)
        await self._partitions.change(Key(REQUEST, request.id), (HEAD, EVENT), decide)
        if leaving:
            await self._places.tidy(request.cluster)

    async def _data(self, request_id: str, part: str, name: str) -> bytes | None:
        found = await self._partitions.read(Key(REQUEST, request_id), (part,), (name,))
        return found.rows[0].data if found.rows else None


def head_in(found: Snapshot) -> Head | None:
    """The request's own row among those that were read."""
    row = next((row for row in found.rows if row.part == HEAD), None)
    return None if row is None else msgspec.json.decode(row.data, type=Head)


def _running(found: Snapshot) -> Head | None:
    head = head_in(found)
    return head if head is not None and head.request.state is RequestState.RUNNING else None


def _with_form(head: Head, request: Request) -> Head:
    """The new form; a cancel that is kept stays."""
    cancel = head.request.cancel or request.cancel
    return msgspec.structs.replace(head, request=msgspec.structs.replace(request, cancel=cancel))


def _row_of(head: Head) -> Row:
    return Row(HEAD, "", msgspec.json.encode(head))


def _event_rows(found: Snapshot, events: Sequence[ActivityEvent], first: int) -> list[Row]:
    """New events, or in the place of former ones; a deletion once noted stays."""
    former = {row.name: row for row in found.rows if row.part == EVENT}
    rows = []
    for number, event in enumerate(events):
        name, position, stays = str(event.destination["id"]), first + number, None
        if name in former:
            position = former[name].position
            stays = msgspec.json.decode(former[name].data, type=ActivityEvent).deleted_at
        kept = event if stays is None else msgspec.structs.replace(event, deleted_at=stays)
        rows.append(Row(EVENT, name, msgspec.json.encode(kept), position))
    return rows
