"""Schedules in Cassandra (`protocol.Schedules`). A cluster's stand in one record: they are few, and read together.

It is that of its places (`places`), so that a schedule changes in one step with its rules of retention.
"""

from collections.abc import Sequence

import msgspec

from coordinator.model.retention import KeptRule
from coordinator.model.schedules import Schedule
from coordinator.store.cassandra.index import PLACES
from coordinator.store.cassandra.partitions import Change, Partitions
from coordinator.store.cassandra.places import Places
from coordinator.store.cassandra.rule_rows import RULE, drops_of, puts_of, ruling_of
from coordinator.store.cassandra.tables import Drop, Key, Row, Snapshot
from coordinator.store.cassandra.ticks import Ticks

_SCHEDULE = "schedule"


class CassandraSchedules:
    """See `protocol.Schedules`."""

    def __init__(self, partitions: Partitions, places: Places, ticks: Ticks) -> None:
        self._partitions = partitions
        self._places = places
        self._ticks = ticks

    async def of(self, cluster: str) -> list[Schedule]:
        found = await self._partitions.read(Key(PLACES, cluster), (_SCHEDULE,))
        return [_decoded(row) for row in sorted(found.rows, key=lambda row: row.position)]

    async def get(self, cluster: str, schedule_id: str) -> Schedule | None:
        found = await self._partitions.read(Key(PLACES, cluster), (_SCHEDULE,), (schedule_id,))
        return _decoded(found.rows[0]) if found.rows else None

    async def put(self, schedule: Schedule, rules: Sequence[KeptRule] = ()) -> bool:
        if any(kept.cluster != schedule.cluster for kept in rules):
            raise ValueError("rules of another cluster can't be kept with a schedule")
        return await self._partitions.whole(self._put(schedule, rules))

    async def remove(self, cluster: str, schedule_id: str) -> bool:
        return await self._partitions.whole(self._remove(cluster, schedule_id))

    async def _put(self, schedule: Schedule, rules: Sequence[KeptRule]) -> bool:
        row = Row(_SCHEDULE, schedule.id, msgspec.json.encode(schedule), self._ticks.next())
        kept = [False]

        def decide(found: Snapshot) -> Change | None:
            known = _named(found, schedule.id)
            kept[0] = schedule.version == (1 if known is None else _decoded(known).version + 1)
            if not kept[0]:
                return None
            mine = row if known is None else msgspec.structs.replace(row, position=known.position)
            ruling = ruling_of(schedule.cluster, found.rows)
            ruling.put(rules)
            return Change([mine, *puts_of(ruling)], drops_of(ruling))

        key = Key(PLACES, schedule.cluster)
        if rules:
            await self._places.tidy(schedule.cluster)
            await self._partitions.change(key, (_SCHEDULE, RULE), decide)
        else:  # as each run does: without reading what else there is
            await self._partitions.change(key, (_SCHEDULE,), decide, (schedule.id,))
        return kept[0]

    async def _remove(self, cluster: str, schedule_id: str) -> bool:
        there = [False]

        def decide(found: Snapshot) -> Change | None:
            known = _named(found, schedule_id)
            there[0] = known is not None
            if known is None:
                return None
            ruling = ruling_of(cluster, found.rows)
            ruling.retain_all_of(schedule_id, _decoded(known).job.places)
            return Change(puts_of(ruling), [Drop(_SCHEDULE, schedule_id), *drops_of(ruling)])

        await self._places.tidy(cluster)
        await self._partitions.change(Key(PLACES, cluster), (_SCHEDULE, RULE), decide)
        return there[0]


def _named(found: Snapshot, schedule_id: str) -> Row | None:
    return next((row for row in found.rows if (row.part, row.name) == (_SCHEDULE, schedule_id)), None)


def _decoded(row: Row) -> Schedule:
    return msgspec.json.decode(row.data, type=Schedule)
