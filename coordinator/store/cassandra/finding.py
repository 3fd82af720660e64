"""Requests by what is known of them. In: cluster, kind, state, tag. Out: heads, oldest first; of open entries records
are asked, and what a death left is put right."""

from collections.abc import AsyncIterator

import msgspec

from coordinator.model.requests import RequestKind, RequestState
from coordinator.store.cassandra.index import (
    ENDED,
    HEAD,
    PERIODS,
    REQUEST,
    REQUESTS,
    RUNNING,
    TAGS,
    Head,
    entries_of,
    scope_of,
    week_of,
)
from coordinator.store.cassandra.packing import unpacked_aside
from coordinator.store.cassandra.partitions import Partitions
from coordinator.store.cassandra.tables import Kept, Key
from kit.together import together


class Finding:
    """Reads; repairs what it reads."""

    def __init__(self, partitions: Partitions) -> None:
        self._partitions = partitions

    async def head(self, request_id: str) -> Head | None:
        """The request's own row."""
        found = await self._partitions.read(Key(REQUEST, request_id), (HEAD,))
        return msgspec.json.decode(found.rows[0].data, type=Head) if found.rows else None

    async def heads(
        self,
        *,
        cluster: str | None = None,
        kind: RequestKind | None = None,
        state: RequestState | None = None,
        tag: str | None = None,
    ) -> list[Head]:
        """Those that match, oldest first."""
        wanted = [
            head
            async for page in self.pages(cluster=cluster, kind=kind, state=state, tag=tag)
            for head in page
            if (cluster is None or head.request.cluster == cluster)
            and (kind is None or head.request.kind is kind)
            and (state is None or head.request.state is state)
            and (tag is None or head.request.tag == tag)
        ]
        return sorted(wanted, key=lambda head: (head.made, head.request.id))

    async def pages(
        self,
        *,
        cluster: str | None = None,
        kind: RequestKind | None = None,
        state: RequestState | None = None,
        tag: str | None = None,
    ) -> AsyncIterator[list[Head]]:
        """All that match and maybe others, in no order: of a year no more than some hundreds are held at a time."""
        async for log, scope in self._scopes(cluster, kind, state, tag):
            async for page in self._pages_of(log, scope):
                yield page

    async def ended_since(self, at: float) -> list[Head]:
        """Those that ended then or later (unix seconds), by their ends."""
        found = []
        async for page in self._partitions.tables.scan(PERIODS, ENDED):
            for kept in page:
                if kept.entry.position >= week_of(at):
                    found += [head async for heads in self._pages_of(ENDED, scope_of(kept.entry)) for head in heads]
        wanted = [(head.request.finished, head.made, head) for head in found if head.request.finished is not None]
        return [head for finished, _, head in sorted(wanted, key=lambda one: one[:2]) if finished >= at]

    async def _pages_of(self, log: str, scope: str) -> AsyncIterator[list[Head]]:
        async for page in self._partitions.tables.scan(log, scope):
            yield [head for head in await together(*map(self._head_of, page)) if head is not None]

    async def _scopes(
        self, cluster: str | None, kind: RequestKind | None, state: RequestState | None, tag: str | None
    ) -> AsyncIterator[tuple[str, str]]:
        """Where those can be, as few as possible."""
        if state is RequestState.RUNNING:
            yield RUNNING, ""
            return
        if cluster is not None and tag is not None:
            yield TAGS, f"{cluster}/{tag}"
            return
        async for page in self._partitions.tables.scan(PERIODS, REQUESTS):
            for kept in page:
                of_cluster, _, of_kind = kept.entry.name.partition("/")
                if cluster in (None, of_cluster) and kind in (None, of_kind):
                    yield REQUESTS, scope_of(kept.entry)

    async def _head_of(self, kept: Kept) -> Head | None:
        """What an entry tells of; None for one that nothing stands behind, or not there."""
        if kept.data is not None:
            return msgspec.json.decode(await unpacked_aside(kept.data), type=Head)
        key = Key(REQUEST, kept.owner)
        found = await self._partitions.read(key, (HEAD,))
        right = next((one for row in found.rows for one in entries_of(key, row) if one.entry == kept.entry), None)
        if right is None or right.data is not None:
            await self._partitions.repair(key, kept.entry, found)
        return None if right is None else msgspec.json.decode(found.rows[0].data, type=Head)
