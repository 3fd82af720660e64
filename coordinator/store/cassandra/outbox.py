"""Notices that wait to be told, in Cassandra (`protocol.Outbox`).

All are one record, so that those of one call are kept all or nothing; a call reads the rows that it names and no
others. What waits has an entry in its hook's scope, in the order of a number that is counted in the record: no clock
decides which notice comes first. What is done keeps its name alone, with the time at which it was put.
"""

from collections.abc import Collection, Sequence

import msgspec

from coordinator.model.notices import Waiting
from coordinator.store.cassandra.index import OUTBOX, WAITING, waiting_name
from coordinator.store.cassandra.partitions import Change, Partitions
from coordinator.store.cassandra.tables import Drop, Kept, Key, Row, Snapshot

_DONE, _HOOK, _COUNT = "done", "hook", "count"
_KEY = Key(OUTBOX, "")
_AT_ONCE = 1_000
"""Rows that are dropped, or become done, in one change."""


class CassandraOutbox:
    """See `protocol.Outbox`. Of a waiting row the position is its number and the mark the second it was put in; of a
    done one the position is that second."""

    def __init__(self, partitions: Partitions) -> None:
        self._partitions = partitions

    async def put(self, waiting: Sequence[Waiting]) -> None:
        if not waiting:
            return
        wanted: dict[str, Waiting] = {}
        for one in waiting:
            wanted.setdefault(waiting_name(one.hook, one.notice.id), one)
        hooks = {one.hook for one in waiting}

        def decide(found: Snapshot) -> Change | None:
            known = {row.name for row in found.rows if row.part in (WAITING, _DONE)}
            new = [(name, one) for name, one in wanted.items() if name not in known]
            if not new:
                return None
            last = next((row.position for row in found.rows if row.part == _COUNT), 0)
            rows = [
                Row(WAITING, name, msgspec.json.encode(one), last + number, str(int(one.put)))
                for number, (name, one) in enumerate(new, 1)
            ]
            told = {row.name for row in found.rows if row.part == _HOOK}
            count = Row(_COUNT, "", b"{}", last + len(rows))
            return Change([*rows, count, *(Row(_HOOK, hook, b"{}") for hook in sorted(hooks - told))])

        parts = (WAITING, _DONE, _HOOK, _COUNT)
        names = [*wanted, *sorted(hooks), ""]
        await self._partitions.whole(self._partitions.change(_KEY, parts, decide, names, bare=True))

    async def first(self, hook: str) -> Waiting | None:
        async for page in self._partitions.tables.scan(OUTBOX, hook):
            for kept in page:
                found = await self._partitions.read(_KEY, (WAITING,), (waiting_name(hook, kept.entry.name),))
                if found.rows and found.rows[0].position == kept.entry.position:
                    return msgspec.json.decode(found.rows[0].data, type=Waiting)
                await self._partitions.repair(_KEY, kept.entry, found)
        return None

    async def done(self, hook: str, notice_id: str) -> None:
        await self._finish([waiting_name(hook, notice_id)])

    async def postpone(self, hook: str, notice_id: str, tries: int, next_try: float) -> None:
        def decide(found: Snapshot) -> Change | None:
            if not found.rows:
                return None
            known = msgspec.json.decode(found.rows[0].data, type=Waiting)
            later = msgspec.structs.replace(known, tries=tries, next_try=next_try)
            return Change([msgspec.structs.replace(found.rows[0], data=msgspec.json.encode(later))])

        name = waiting_name(hook, notice_id)
        await self._partitions.whole(self._partitions.change(_KEY, (WAITING,), decide, (name,)))

    async def waiting(self) -> dict[str, int]:
        """Counted by entries: of a death between two steps one may be left that counts until it is its turn."""
        hooks = (await self._partitions.read(_KEY, (_HOOK,))).rows
        counted = {row.name: len(await self._entries(row.name)) for row in hooks}
        return {hook: count for hook, count in counted.items() if count}

    async def keep_newest(self, hook: str, count: int) -> int:
        entries = await self._entries(hook)
        older = [waiting_name(hook, kept.entry.name) for kept in entries[: max(0, len(entries) - count)]]
        dropped = 0
        for start in range(0, len(older), _AT_ONCE):
            dropped += await self._finish(older[start : start + _AT_ONCE])
        return dropped

    async def prune(self, before: float, hooks: Collection[str]) -> None:
        left = True

        def decide(found: Snapshot) -> Change | None:
            nonlocal left
            old = [row for row in found.rows if _is_over(row, before, hooks)]
            left = len(old) > _AT_ONCE
            return Change(drops=[Drop(row.part, row.name) for row in old[:_AT_ONCE]]) if old else None

        while left:
            await self._partitions.change(_KEY, (WAITING, _DONE), decide, bare=True)

    async def _finish(self, names: Sequence[str]) -> int:
        """They become done; how many waited."""
        finished = [0]

        def decide(found: Snapshot) -> Change | None:
            finished[0] = len(found.rows)
            rows = [Row(_DONE, row.name, b"{}", int(row.mark)) for row in found.rows]
            return Change(rows, [Drop(WAITING, row.name) for row in found.rows]) if rows else None

        await self._partitions.whole(self._partitions.change(_KEY, (WAITING,), decide, names, bare=True))
        return finished[0]

    async def _entries(self, hook: str) -> list[Kept]:
        return [kept async for page in self._partitions.tables.scan(OUTBOX, hook) for kept in page]


def _is_over(row: Row, before: float, hooks: Collection[str]) -> bool:
    if row.part == _DONE:
        return row.position < before
    return int(row.mark) < before and row.name.partition("/")[0] not in hooks
