"""What PIT_FETCH and PIT_COVER note of a job, for tests of the phases that come after them."""

from pathlib import Path

from agent.jobs.point_in_time.notes import FetchNotes, NotedPoint, sorted_tables
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.wire.point_in_time import PitArguments, PitCoverResult

MICROS = 1_000_000


async def note_covered(state: Path, job: str, arguments: PitArguments) -> None:
    """Note that the log reaches the point: where its segments stand is known since PIT_QUIESCE."""
    facts = await PlaceNotes(state, job).must_facts()
    notes = FetchNotes(state, job)
    point = NotedPoint(
        tag=arguments.tag,
        pit_micros=arguments.pit_micros,
        late_seconds=arguments.late_seconds,
        repository_id=None,
        logs_repository_id=None,
        tables=sorted_tables(arguments),
        host_id="",
        floor=None,
        taken_at=0.0,
        root=facts.commitlog,
        empty={},
    )
    if await notes.point() is None:
        await notes.put_point(point)
    await notes.put_covered(PitCoverResult(arguments.pit_micros / MICROS, [], 0))
