"""PIT_VERIFY: Cassandra is up with native transport off; was everything replayed? Repeatable. One that ended since its
start is started as PIT_START does it, for nobody else may, and no client is let in anywhere meanwhile. It isn't fenced:
taken up by an agent that was restarted, it starts nothing of a job that is being undone, and nothing that another one
keeps down.

Two proofs, of which the first needs no log file: the restore command leaves an empty file for each segment that it gave
back, Cassandra asks for all of them before it replays any, and it does not come up unless it has replayed all that it
found without an error (`ignorereplayerrors`, set with `force` alone, lifts that). The second is Cassandra's own log,
where `[cassandra.service] log_file` names it: which segments it replayed of those that it was given (some it passes
over without an error), counts, errors, and mutations of tables that are not there.

PIT_START has noted both when the replay ended; here it is judged. Indexes whose files the backup did not hold are
rebuilt here.
"""

from collections.abc import Sequence

import msgspec

from agent.cassandra.live_directories import IndexFact
from agent.jobs.point_in_time.place_errors import NotPlaced, ReplayFailed
from agent.jobs.point_in_time.place_notes import Replayed
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.point_in_time.start import PitStartJob
from agent.model.job import JobContext, Outcome
from agent.wire.point_in_time import PitArguments, PitVerifyResult

_SHOWN = 20


class PitVerifyJob:
    """See the module."""

    def __init__(self, tools: PlaceTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Raises `NotPlaced`, `ReplayFailed` (unless `force`), what PIT_START of a node that went down raises, and what
        rebuilding an index does."""
        arguments: PitArguments = context.arguments
        notes = self._tools.notes(context)
        placed = await notes.placed()
        if placed is None:
            raise NotPlaced(f"nothing is placed for the job {notes.job}", job=notes.job)
        if await notes.started():  # waits for one that its service manager starts
            await PitStartJob(self._tools).run(context)
        seen = await notes.replayed()
        if seen is None:
            raise NotPlaced(f"PIT_START of the job {notes.job} has not seen the end of the replay", job=notes.job)
        result = await notes.verified()
        if result is None:
            result = _judged(seen, force=arguments.force)
            await notes.put_verified(result)
        rebuilt = await self._rebuild(context, placed.rebuild)
        return Outcome(msgspec.structs.replace(result, indexes_rebuilt=rebuilt))

    async def _rebuild(self, context: JobContext, indexes: Sequence[IndexFact]) -> list[str]:
        rebuilt: list[str] = []
        for index in indexes:
            await context.stages.enter(f"rebuilding {index.keyspace}.{index.name}")
            await self._tools.orders.rebuild_index(index.keyspace, index.table, [index.name])
            rebuilt.append(f"{index.keyspace}.{index.name}")
        return rebuilt


def _judged(seen: Replayed, *, force: bool) -> PitVerifyResult:
    missing = [*seen.missing, *seen.passed_over]
    if not (seen.whole or force):
        raise ReplayFailed(_sentence(seen), missing=missing[:_SHOWN], errors=list(seen.errors[:_SHOWN]))
    return PitVerifyResult(
        replayed_segments=seen.segments,
        replayed_mutations=seen.mutations,
        errors=list(seen.errors),
        indexes_rebuilt=[],
        warnings=[*seen.warnings, *(f"{name} was not replayed" for name in missing)],
    )


def _sentence(seen: Replayed) -> str:
    parts = [f"not given back to Cassandra: {_named(seen.missing)}"] if seen.missing else []
    parts += [f"given back to Cassandra and passed over: {_named(seen.passed_over)}"] if seen.passed_over else []
    parts += [f"Cassandra told {len(seen.errors)} errors: {seen.errors[0]}"] if seen.errors else []
    return "; ".join(parts)


def _named(segments: Sequence[str]) -> str:
    left = len(segments) - _SHOWN
    return ", ".join(segments[:_SHOWN]) + (f" and {left} more" if left > 0 else "")
