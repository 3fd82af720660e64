"""PIT_VERIFY: Cassandra is up with native transport off; was everything replayed? Repeatable.

Two proofs, of which the first needs no log file: the restore command leaves an empty file for each segment that it gave
back, Cassandra asks for all of them before it replays any, and it does not come up unless it has replayed all that it
found without an error (`ignorereplayerrors`, set with `force` alone, lifts that). The second is Cassandra's own log,
where `[cassandra.service] log_file` names it: counts, errors, and mutations of tables that are not there.

Once that is seen, the next start is told not to replay any more, only to keep clients out: should the node crash before
PIT_OPEN, its own log is replayed for every table. Indexes whose files the backup did not hold are rebuilt here.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agent.cassandra.errors import CassandraUnavailable
from agent.cassandra.live_directories import IndexFact, NodeFacts
from agent.cassandra.replay_log import LogEnd, ReplayTold, replay_told, since
from agent.jobs.point_in_time.given_back import names_in
from agent.jobs.point_in_time.node_facts import restored_of, segments_of
from agent.jobs.point_in_time.place_errors import NotPlaced, ReplayFailed
from agent.jobs.point_in_time.place_notes import KeptSettings
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.point_in_time.restore_settings import settle_after_replay
from agent.model.job import JobContext, Outcome
from agent.wire.point_in_time import PitArguments, PitVerifyResult

_SHOWN = 20


class PitVerifyJob:
    """See the module."""

    def __init__(self, tools: PlaceTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Raises `NotPlaced`, `CassandraUnavailable`, `ReplayFailed` (unless `force`), and what rebuilding an index
        raises."""
        arguments: PitArguments = context.arguments
        notes = self._tools.notes(context)
        placed, kept = await notes.placed(), await notes.settings()
        if placed is None or kept is None:
            raise NotPlaced(f"nothing is placed for the job {notes.job}", job=notes.job)
        facts = await notes.must_facts()
        if not await self._tools.service.alive():
            raise CassandraUnavailable("Cassandra does not run: nothing can be said of the replay")
        result = await notes.verified()
        if result is None:
            await context.stages.enter("reading the log")
            result = await self._looked(facts, kept, force=arguments.force)
            await notes.put_verified(result)
        await settle_after_replay(self._tools, notes, facts)
        rebuilt = await self._rebuild(context, placed.rebuild)
        return Outcome(msgspec.structs.replace(result, indexes_rebuilt=rebuilt))

    async def _looked(self, facts: NodeFacts, kept: KeptSettings, *, force: bool) -> PitVerifyResult:
        given, expected = await asyncio.to_thread(_given_back, facts)
        missing = sorted(expected - given)
        told = await asyncio.to_thread(_told, self._tools.log_file, kept)
        errors = [] if told is None else [*told.cut, *told.errors, *_left_out(told, facts)]
        if (missing or errors) and not force:
            raise ReplayFailed(_sentence(missing, errors), missing=missing[:_SHOWN], errors=errors[:_SHOWN])
        return PitVerifyResult(
            replayed_segments=len(expected & given),
            replayed_mutations=None if told is None else told.mutations,
            errors=errors,
            indexes_rebuilt=[],
            warnings=_warnings(told) + [f"{name} was not replayed" for name in missing],
        )

    async def _rebuild(self, context: JobContext, indexes: Sequence[IndexFact]) -> list[str]:
        rebuilt: list[str] = []
        for index in indexes:
            await context.stages.enter(f"rebuilding {index.keyspace}.{index.name}")
            await self._tools.orders.rebuild_index(index.keyspace, index.table, [index.name])
            rebuilt.append(f"{index.keyspace}.{index.name}")
        return rebuilt


def _given_back(facts: NodeFacts) -> tuple[set[str], set[str]]:
    return names_in(restored_of(facts)), names_in(segments_of(facts))


def _told(path: Path | None, kept: KeptSettings) -> ReplayTold | None:
    text = None if path is None else since(path, LogEnd(kept.log_inode, kept.log_size))
    return None if text is None else replay_told(text)


def _left_out(told: ReplayTold, facts: NodeFacts) -> list[str]:
    """Mutations of the asked tables that Cassandra knew no table for: it was started without them."""
    names = {
        table_id: f"{keyspace}.{table}"
        for keyspace, tables in facts.tables.items()
        for table, table_id in tables.items()
    }
    return [
        f"{count} mutations of {names[table_id]} were left out: Cassandra did not know its id"
        for table_id, count in told.unknown.items()
        if table_id in names
    ]


def _sentence(missing: Sequence[str], errors: Sequence[str]) -> str:
    parts = [f"{len(missing)} segments were not given back ({missing[0]}, …)"] if missing else []
    parts += [f"Cassandra told {len(errors)} errors: {errors[0]}"] if errors else []
    return "; ".join(parts)


def _warnings(told: ReplayTold | None) -> list[str]:
    if told is None:
        return ["Cassandra's log was not read: `cassandra.service.log_file` names none that can be read"]
    warnings = [f"a segment ends in the middle of a write: {line}" for line in told.cut]
    return (
        warnings if told.mutations is not None else [*warnings, "Cassandra's log does not tell how much was replayed"]
    )
