"""Schedules in Cassandra (`protocol.Schedules`). A cluster's are one record: they are few, and read together."""

import msgspec

from coordinator.model.schedules import Schedule
from coordinator.store.cassandra.index import SCHEDULES
from coordinator.store.cassandra.partitions import Change, Partitions
from coordinator.store.cassandra.tables import Drop, Key, Row, Snapshot
from coordinator.store.cassandra.ticks import Ticks

_SCHEDULE = "schedule"


class CassandraSchedules:
    """See `protocol.Schedules`."""

    def __init__(self, partitions: Partitions, ticks: Ticks) -> None:
        self._partitions = partitions
        self._ticks = ticks

    async def of(self, cluster: str) -> list[Schedule]:
        found = await self._partitions.read(Key(SCHEDULES, cluster), (_SCHEDULE,))
        return [_decoded(row) for row in sorted(found.rows, key=lambda row: row.position)]

    async def get(self, cluster: str, schedule_id: str) -> Schedule | None:
        found = await self._partitions.read(Key(SCHEDULES, cluster), (_SCHEDULE,), (schedule_id,))
        return _decoded(found.rows[0]) if found.rows else None

    async def put(self, schedule: Schedule) -> bool:
        row = Row(_SCHEDULE, schedule.id, msgspec.json.encode(schedule), self._ticks.next())
        kept = [False]

        def decide(found: Snapshot) -> Change | None:
            known = found.rows[0] if found.rows else None
            kept[0] = schedule.version == (1 if known is None else _decoded(known).version + 1)
            if not kept[0]:
                return None
            return Change([row if known is None else msgspec.structs.replace(row, position=known.position)])

        key = Key(SCHEDULES, schedule.cluster)
        await self._partitions.whole(self._partitions.change(key, (_SCHEDULE,), decide, (schedule.id,)))
        return kept[0]

    async def remove(self, cluster: str, schedule_id: str) -> bool:
        there = [False]

        def decide(found: Snapshot) -> Change | None:
            there[0] = bool(found.rows)
            return Change(drops=[Drop(_SCHEDULE, schedule_id)]) if found.rows else None

        key = Key(SCHEDULES, cluster)
        await self._partitions.whole(self._partitions.change(key, (_SCHEDULE,), decide, (schedule_id,)))
        return there[0]


def _decoded(row: Row) -> Schedule:
    return msgspec.json.decode(row.data, type=Schedule)
