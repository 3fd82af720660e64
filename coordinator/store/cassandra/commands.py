"""Posted commands, fences and named values in Cassandra (`protocol.Commands`, `protocol.Values`)."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from coordinator.model.commands import PostedCommand
from coordinator.store.cassandra.index import COMMAND, FENCE, OWED, REQUEST, VALUE, command_entry, entries_of
from coordinator.store.cassandra.partitions import Change, Partitions
from coordinator.store.cassandra.tables import Kept, Key, Row, Snapshot
from coordinator.store.cassandra.ticks import Ticks
from kit.together import together

_Put = tuple[Sequence[PostedCommand], "asyncio.Future[None]"]

_ONLY = "only"
"""The one part of a record that has one row."""


class CassandraCommands:
    """See `protocol.Commands`. A command is a row of its request's record."""

    def __init__(self, partitions: Partitions, ticks: Ticks) -> None:
        self._partitions = partitions
        self._ticks = ticks
        self._waiting: dict[str, list[_Put]] = {}
        self._writing: dict[str, asyncio.Task[None]] = {}

    async def put(self, commands: Sequence[PostedCommand]) -> None:
        requests = {command.request for command in commands}
        if len(requests) > 1:
            raise ValueError("commands of several requests can't be kept all or nothing")
        for request in requests:
            kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(request, []).append((commands, kept))
            if request not in self._writing:
                self._writing[request] = asyncio.create_task(self._write(request))
            await asyncio.shield(kept)

    async def get(self, command_id: str) -> PostedCommand | None:
        kept = await self._partitions.look(command_entry(command_id))
        if kept is None:
            return None
        found = await self._partitions.read(Key(REQUEST, kept.owner), (COMMAND,), (command_id,))
        return _decoded(found.rows[0]) if found.rows else None

    async def of(self, request_id: str) -> list[PostedCommand]:
        found = await self._partitions.read(Key(REQUEST, request_id), (COMMAND,))
        return [_decoded(row) for row in sorted(found.rows, key=lambda row: row.position)]

    async def cancels_owed(self) -> list[PostedCommand]:
        owed: list[PostedCommand] = []
        async for page in self._partitions.tables.scan(OWED, ""):
            owed += [command for command in await together(*map(self._owed, page)) if command is not None]
        return owed

    async def next_fence(self, job: str, above: int = 0) -> int:
        given = [0]

        def decide(found: Snapshot) -> Change:
            last = int(msgspec.json.decode(found.rows[0].data)) if found.rows else 0
            given[0] = max(last, above) + 1
            return Change([Row(_ONLY, "", msgspec.json.encode(given[0]))])

        await self._partitions.whole(self._partitions.change(Key(FENCE, job), (_ONLY,), decide))
        return given[0]

    async def _write(self, request: str) -> None:
        """Keep what waits, and what came meanwhile, until none does: a thousand agents report at the same time, and
        their commands are one record. All that waits is one change."""
        while waiting := self._waiting.pop(request, []):
            merged = {command.id: command for commands, _ in waiting for command in commands}
            try:
                await self._partitions.whole(self._change(request, [*merged.values()]))
            except BaseException as error:  # noqa: BLE001 each of those who wait is told
                for _, kept in waiting:
                    _settle(kept, error)
            else:
                for _, kept in waiting:
                    _settle(kept, None)
        del self._writing[request]

    async def _change(self, request: str, commands: Sequence[PostedCommand]) -> None:
        first = self._ticks.next(len(commands))
        new = [
            Row(COMMAND, each.id, msgspec.json.encode(each), first + number, OWED if each.cancel_owed else "")
            for number, each in enumerate(commands)
        ]

        def decide(found: Snapshot) -> Change | None:
            known = {row.name: row.position for row in found.rows}
            return Change([msgspec.structs.replace(row, position=known.get(row.name, row.position)) for row in new])

        names = [command.id for command in commands]
        await self._partitions.change(Key(REQUEST, request), (COMMAND,), decide, names, bare=True)

    async def _owed(self, kept: Kept) -> PostedCommand | None:
        key, name = Key(REQUEST, kept.owner), kept.entry.name.partition("/")[2]
        found = await self._partitions.read(key, (COMMAND,), (name,))
        if any(right.entry == kept.entry for row in found.rows for right in entries_of(key, row)):
            return _decoded(found.rows[0])
        await self._partitions.repair(key, kept.entry, found)
        return None


class CassandraValues:
    """See `protocol.Values`."""

    def __init__(self, partitions: Partitions) -> None:
        self._partitions = partitions

    async def get(self, name: str) -> Any:
        found = await self._partitions.read(Key(VALUE, name), (_ONLY,))
        return msgspec.json.decode(found.rows[0].data) if found.rows else None

    async def put(self, name: str, value: Any) -> None:
        rows = [Row(_ONLY, "", msgspec.json.encode(value))]
        await self._partitions.whole(self._partitions.change(Key(VALUE, name), (_ONLY,), lambda _: Change(rows)))


def _decoded(row: Row) -> PostedCommand:
    return msgspec.json.decode(row.data, type=PostedCommand)


def _settle(kept: "asyncio.Future[None]", error: BaseException | None) -> None:
    if kept.cancelled():
        return
    if error is None:
        kept.set_result(None)
    else:
        kept.set_exception(error)
        kept.exception()  # whoever put it may be gone: then nobody asks
