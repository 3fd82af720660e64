"""What fetching and covering the commit log note of a restore to a point in time: `<state>/restores/<job>/`, where
PlaceNotes are too. What is noted of held/ is in RestoreNotes, as for any restore.

point.json      what was asked, and from where the log must reach, before anything is fetched
segments.json   records of the segments that stand verified in `segments/` (PIT_FETCH, PIT_COVER), known losses
covered.json    PIT_COVER's result: with the node's own log, Cassandra being down
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from agent.cassandra.staging import StagingRoot
from agent.jobs.point_in_time.point import pit_seconds
from agent.jobs.point_in_time.point_errors import NotCovered
from agent.jobs.restore.errors import JobDiffers, JobMissing, NotFetched
from agent.model.commit_log import LossRecord, SegmentRecord
from agent.model.own_state import own_state
from agent.plan.segment_names import parse_segment
from agent.wire.names import check_name
from agent.wire.point_in_time import PitArguments, PitCoverResult
from kit.atomic_files import remove_durably, write_into

_POINT, _SEGMENTS, _COVERED = "point.json", "segments.json", "covered.json"
SEGMENTS = "segments"
"""The directory below the commit log's staging root in which the segments stand that Cassandra is to replay."""
_Document = TypeVar("_Document")


class NotedPoint(msgspec.Struct, frozen=True):
    """What the job restores, and to when. `host_id`: whose part. `floor`, `taken_at`, `flushed`: the snapshot's, see
    SnapshotInfo. `root`: where the segments stand, on the commit log's volume. `empty`: tables that
    begin without the snapshot's SSTables. Repositories None: on the node."""

    tag: str
    pit_micros: int
    late_seconds: float
    repository_id: str | None
    logs_repository_id: str | None
    tables: dict[str, list[str]]
    host_id: str
    floor: str | None
    taken_at: float
    root: StagingRoot
    empty: dict[str, list[str]]
    flushed: dict[str, int] = {}

    @property
    def segments(self) -> Path:
        """The directory of the segments."""
        return self.root.path / SEGMENTS

    @property
    def since(self) -> int:
        """The id of the first segment that may be of use."""
        named = parse_segment(self.floor) if self.floor else None
        return 0 if named is None else named.id

    def is_as(self, arguments: PitArguments) -> bool:
        """Whether the arguments ask for the same."""
        return (
            self.tag == arguments.tag
            and self.pit_micros == arguments.pit_micros
            and self.late_seconds == arguments.late_seconds
            and self.repository_id == (arguments.source.repository_id if arguments.source else None)
            and self.logs_repository_id == (arguments.logs.repository_id if arguments.logs else None)
            and self.tables == sorted_tables(arguments)
        )


class Standing(msgspec.Struct, frozen=True):
    """Segments that stand verified in their directory, and the losses that were known."""

    records: tuple[SegmentRecord, ...]
    losses: tuple[LossRecord, ...]


class FetchNotes:
    """One job's notes. Every write is durable when it returns, or raises `StateFailed`."""

    def __init__(self, state: Path, job: str | None) -> None:
        if job is None:
            raise JobMissing("a phase of a restore needs a job")
        self.job = check_name("job", job)
        self._directory = state / "restores" / self.job

    async def put_point(self, point: NotedPoint) -> None:
        """Note what is about to be fetched; what an earlier question had fetched is forgotten first."""
        await self._remove(_COVERED)
        await self._remove(_SEGMENTS)
        await self._write(_POINT, point)

    async def point(self) -> NotedPoint | None:
        """What was asked, None before PIT_FETCH."""
        return await self._read(_POINT, NotedPoint)

    async def must_point(self, arguments: PitArguments) -> NotedPoint:
        """As `point`. Raises `NotFetched`, and `JobDiffers` when other things are asked now."""
        point = await self.point()
        if point is None:
            raise NotFetched(f"nothing is fetched for the job {self.job}", job=self.job)
        if not point.is_as(arguments):
            raise JobDiffers(
                f"the job {self.job} restores {point.tag} to {point.pit_micros} µs, of other tables or from elsewhere",
                before=msgspec.to_builtins(point),
                now=msgspec.to_builtins(arguments),
            )
        return point

    async def put_segments(self, records: Iterable[SegmentRecord], losses: Iterable[LossRecord]) -> None:
        """Note the segments that stand verified, without the objects they came from, and what is known to be lost."""
        await self._write(_SEGMENTS, Standing(tuple(map(without_objects, records)), tuple(losses)))

    async def segments(self) -> Standing | None:
        """What stands; None before all that PIT_FETCH wanted did."""
        return await self._read(_SEGMENTS, Standing)

    async def put_covered(self, result: PitCoverResult) -> None:
        """Note how far the log reaches."""
        await self._write(_COVERED, result)

    async def forget_covered(self) -> None:
        """Cassandra ran again, or the set of segments changes: its own log is another one."""
        await self._remove(_COVERED)

    async def covered(self) -> PitCoverResult | None:
        """PIT_COVER's result, None before."""
        return await self._read(_COVERED, PitCoverResult)

    async def must_covered(self, arguments: PitArguments) -> PitCoverResult:
        """As `covered`. Raises `NotCovered` also when the log doesn't reach the point, unless `force` is asked for."""
        await self.must_point(arguments)
        covered = await self.covered()
        until = covered.covered_until if covered is not None else None
        if covered is None or not (arguments.force or (until is not None and until >= pit_seconds(arguments))):
            told = f"the commit log is not known to reach the point of the job {self.job}"
            raise NotCovered(told, job=self.job, covered_until=until)
        return covered

    async def _write(self, name: str, document: object) -> None:
        with own_state():
            await asyncio.to_thread(write_into, self._directory, name, msgspec.json.encode(document))

    async def _remove(self, name: str) -> None:
        if (self._directory / name).exists():
            with own_state():
                await asyncio.to_thread(remove_durably, self._directory / name)

    async def _read(self, name: str, kind: type[_Document]) -> _Document | None:
        def read() -> bytes | None:
            try:
                return (self._directory / name).read_bytes()
            except FileNotFoundError:
                return None

        with own_state():
            text = await asyncio.to_thread(read)
        return None if text is None else msgspec.json.decode(text, type=kind)


def without_objects(record: SegmentRecord) -> SegmentRecord:
    """The record, without where its bytes came from."""
    return msgspec.structs.replace(record, pieces=(), objects={}, codecs={})


def sorted_tables(arguments: PitArguments) -> dict[str, list[str]]:
    """The asked tables, in one order."""
    return {keyspace: sorted(tables) for keyspace, tables in sorted(arguments.tables.items())}
