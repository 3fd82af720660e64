"""Destinations and rules of retention in Cassandra. In: settings with secrets. Out: the same, sealed where they stand.

All of a cluster's are one record, so that a destination goes together with its rules. Its schedules stand there too
(`schedules`), so that one changes together with its own.

A destination that a request forgets at its end (`protocol.Requests.finish`) is two records' matter: the place is marked
as leaving with the request, then the request ends, naming it, then the place goes. The request decides: whoever reads a
marked place asks it, so that the place is gone for everybody from the moment when the request has ended, and stays if
the request ended otherwise.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from coordinator.model.destinations import Destination
from coordinator.model.requests import RequestState
from coordinator.model.retention import KeptRule
from coordinator.store.cassandra.finding import Finding
from coordinator.store.cassandra.index import PLACES
from coordinator.store.cassandra.partitions import Change, Partitions
from coordinator.store.cassandra.rule_rows import RULE, drops_of, puts_of, rule_of, ruling_of
from coordinator.store.cassandra.tables import Drop, Key, Row, Snapshot
from coordinator.store.cassandra.ticks import Ticks
from coordinator.store.ruling import FORGOTTEN
from coordinator.store.sealing import Seal

DESTINATION, LEAVING = "destination", "leaving"
_PARTS = (DESTINATION, RULE, LEAVING)


class Sealed(msgspec.Struct, frozen=True):
    """A destination as its row holds it. `repository_id` is no secret: what its rules leave is named by
    it. It is authenticated with the sealed text."""

    revision: int
    repository_id: str
    sealed: bytes


class Verdict(NamedTuple):
    """Of marked places: which are gone, and which marks say nothing any more."""

    gone: set[str]
    marks: set[str]


class Places:
    """A cluster's record of destinations and rules."""

    def __init__(self, partitions: Partitions, finding: Finding) -> None:
        self._partitions = partitions
        self._finding = finding

    async def rows(self, cluster: str) -> list[Row]:
        """Its destinations and rules, without what went with a request's end."""
        found = await self._partitions.read(Key(PLACES, cluster), _PARTS)
        verdict = await self._judged(found)
        return [row for row in found.rows if row.part != LEAVING and _place(row) not in verdict.gone]

    async def mark_leaving(self, cluster: str, request_id: str, leaving: Mapping[str, str]) -> None:
        """They (id → a name of this attempt to end the request) go with the end of the request, if it says so."""

        def decide(found: Snapshot) -> Change | None:
            known = {row.name for row in found.rows if row.part == DESTINATION}
            marks = [Row(LEAVING, f"{request_id}/{by}/{each}", b"{}") for each, by in leaving.items() if each in known]
            return Change(marks) if marks else None

        await self._partitions.change(Key(PLACES, cluster), _PARTS, decide)

    async def tidy(self, cluster: str) -> None:
        """Remove what went with a request's end, and marks that say nothing any more."""
        key = Key(PLACES, cluster)
        verdict = await self._judged(await self._partitions.read(key, _PARTS))
        if not verdict.marks:
            return

        def decide(found: Snapshot) -> Change | None:
            # A place goes only while its mark is there: without it the place was put anew since.
            marks = [row for row in found.rows if row.part == LEAVING and row.name in verdict.marks]
            going = {_place(mark) for mark in marks} & verdict.gone
            return _without(cluster, found, sorted(going), marks) if marks else None

        await self._partitions.change(key, _PARTS, decide)

    async def _judged(self, found: Snapshot) -> Verdict:
        verdict = Verdict(set(), set())
        for mark in (row for row in found.rows if row.part == LEAVING):
            request_id, by, place = mark.name.split("/")
            head = await self._finding.head(request_id)
            if head is not None and head.request.state is RequestState.RUNNING:
                continue
            verdict.marks.add(mark.name)
            # By name: the same request, ended twice, takes nothing away that was put since.
            if head is not None and head.forget.get(place) == by:
                verdict.gone.add(place)
        return verdict


class CassandraDestinations:
    """See `protocol.Destinations`."""

    def __init__(self, partitions: Partitions, places: Places, seal: Seal, ticks: Ticks) -> None:
        self._partitions = partitions
        self._places = places
        self._seal = seal
        self._ticks = ticks

    async def get(self, cluster: str, destination_id: str) -> Destination | None:
        return next((each for each in await self.all(cluster) if each.id == destination_id), None)

    async def all(self, cluster: str) -> list[Destination]:
        rows = [row for row in await self._places.rows(cluster) if row.part == DESTINATION]
        return [self._opened(cluster, row) for row in sorted(rows, key=lambda row: row.position)]

    async def put(self, destination: Destination) -> None:
        await self._partitions.whole(self._put(destination))

    async def remove(self, cluster: str, destination_id: str) -> bool:
        return await self._partitions.whole(self._remove(cluster, destination_id))

    async def _put(self, destination: Destination) -> None:
        sealed = self._seal.sealed(msgspec.json.encode(destination), _what(destination.cluster, destination))
        data = msgspec.json.encode(Sealed(destination.revision, destination.repository_id, sealed))
        new = Row(DESTINATION, destination.id, data, self._ticks.next())

        def decide(found: Snapshot) -> Change | None:
            known = _kept(found, destination.id)
            former = None if known is None else _sealed(known)
            if former is not None and former.revision > destination.revision:
                return None
            row = new if known is None else msgspec.structs.replace(known, data=data)
            ruling = ruling_of(destination.cluster, found.rows)
            ruling.remember(destination.id, destination.repository_id, None if former is None else former.repository_id)
            return Change([row, *puts_of(ruling)], drops_of(ruling))

        await self._places.tidy(destination.cluster)
        await self._partitions.change(Key(PLACES, destination.cluster), _PARTS, decide)

    async def _remove(self, cluster: str, destination_id: str) -> bool:
        there = [False]

        def decide(found: Snapshot) -> Change | None:
            there[0] = _kept(found, destination_id) is not None
            change = _without(cluster, found, [destination_id])
            return change if change.puts or change.drops else None

        await self._places.tidy(cluster)
        await self._partitions.change(Key(PLACES, cluster), _PARTS, decide)
        return there[0]

    def _opened(self, cluster: str, row: Row) -> Destination:
        kept = _sealed(row)
        plain = self._seal.opened(kept.sealed, [cluster, row.name, kept.revision, kept.repository_id])
        return msgspec.json.decode(plain, type=Destination)


class CassandraRetention:
    """See `protocol.Retention`."""

    def __init__(self, partitions: Partitions, places: Places) -> None:
        self._partitions = partitions
        self._places = places

    async def of(self, cluster: str, destination: str | None = None) -> list[KeptRule]:
        rows = [row for row in await self._places.rows(cluster) if row.part == RULE]
        found = [kept for row in rows if not (kept := rule_of(row)).destination.startswith(FORGOTTEN)]
        wanted = [kept for kept in found if destination in (None, kept.destination)]
        return sorted(wanted, key=lambda kept: (kept.destination, kept.backup_id))

    async def put(self, rules: Sequence[KeptRule]) -> None:
        clusters = {kept.cluster for kept in rules}
        if len(clusters) > 1:
            raise ValueError("rules of several clusters can't be kept all or nothing")
        for cluster in clusters:
            await self._partitions.whole(self._put(cluster, rules))

    async def _put(self, cluster: str, rules: Sequence[KeptRule]) -> None:
        def decide(found: Snapshot) -> Change | None:
            ruling = ruling_of(cluster, found.rows)
            ruling.put(rules)
            puts, drops = puts_of(ruling), drops_of(ruling)
            return Change(puts, drops) if puts or drops else None

        await self._places.tidy(cluster)
        await self._partitions.change(Key(PLACES, cluster), _PARTS, decide)


def _what(cluster: str, destination: Destination) -> list[str | int]:
    return [cluster, destination.id, destination.revision, destination.repository_id]


def _without(cluster: str, found: Snapshot, places: Sequence[str], marks: Sequence[Row] = ()) -> Change:
    """The record without the marks, and the places with their rules, but for what these leave for the repositories.
    Safe because it is one change: a place that is there has its rules, and of one that is gone they are left."""
    ruling = ruling_of(cluster, found.rows)
    rows = list(marks)
    for place in places:
        known = _kept(found, place)
        ruling.forget(place, None if known is None else _sealed(known).repository_id)
        rows += [] if known is None else [known]
    return Change(puts_of(ruling), [*(Drop(row.part, row.name) for row in rows), *drops_of(ruling)])


def _kept(found: Snapshot, destination_id: str) -> Row | None:
    return next((row for row in found.rows if (row.part, row.name) == (DESTINATION, destination_id)), None)


def _sealed(row: Row) -> Sealed:
    return msgspec.json.decode(row.data, type=Sealed)


def _place(row: Row) -> str:
    """The destination that a row of any part is about."""
    return row.name.split("/")[2] if row.part == LEAVING else row.name.partition("/")[0]
