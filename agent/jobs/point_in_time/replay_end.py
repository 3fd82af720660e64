"""The end of the replay. In: the job's notes, what the restore command left, Cassandra's log. Out: what was seen, and
a node whose next start is an ordinary one, still without clients.

While Cassandra is told to replay only the asked tables, a start of it drops what its own new commit log holds of all
others. So the order goes as soon as the replay has ended, whole or not: what it brought is in SSTables by then [X:
CommitLogReplayer.blockForWrites], and doing it again would bring no more. What was seen is noted first, for Cassandra's
log and `restored/` tell it of the latest start alone. Cut anywhere, both are called again.
"""

import asyncio
from collections.abc import Collection
from pathlib import Path

from agent.cassandra.live_directories import NodeFacts
from agent.cassandra.replay_log import LogEnd, ReplayTold, replay_told, since
from agent.jobs.point_in_time.given_back import names_in
from agent.jobs.point_in_time.node_facts import restored_of, segments_of
from agent.jobs.point_in_time.place_notes import KeptSettings, PlaceNotes, Replayed
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.point_in_time.restore_settings import settle_after_replay
from agent.jobs.point_in_time.unflushed import holds_write


async def note_ended_before(tools: PlaceTools, notes: PlaceNotes, facts: NodeFacts) -> bool:
    """Cassandra is down: note whether an earlier start was through with the whole replay, as its log says, and ended
    later; nothing is replayed once more then. Whether that, or more, is noted."""
    if await notes.replayed() is None and await notes.started():
        told, seen = await _look(tools, notes, facts)
        if told is not None and told.mutations is not None and seen.whole:
            await notes.put_replayed(seen)
    return await notes.replayed() is not None


async def settle_replay(tools: PlaceTools, notes: PlaceNotes, facts: NodeFacts) -> None:
    """Cassandra is NORMAL, or all is noted: note what was seen of the replay, and let the next start be an ordinary
    one without clients. Raises OSError."""
    if await notes.replayed() is None:
        _, seen = await _look(tools, notes, facts)
        await notes.put_replayed(seen)
    await settle_after_replay(tools, notes, facts)


async def _look(tools: PlaceTools, notes: PlaceNotes, facts: NodeFacts) -> tuple[ReplayTold | None, Replayed]:
    given, expected = await asyncio.to_thread(_given_back, facts)
    told = await asyncio.to_thread(_told, tools.log_file, await notes.settings())
    passed_over = await asyncio.to_thread(_passed_over, told, expected & given, segments_of(facts))
    return told, Replayed(
        segments=len((expected & given) - set(passed_over)),
        mutations=None if told is None else told.mutations,
        missing=tuple(sorted(expected - given)),
        passed_over=tuple(passed_over),
        errors=() if told is None else (*told.cut, *told.errors, *_left_out(told, facts)),
        warnings=tuple(_warnings(told)),
    )


def _given_back(facts: NodeFacts) -> tuple[set[str], set[str]]:
    return names_in(restored_of(facts)), names_in(segments_of(facts))


def _told(path: Path | None, kept: KeptSettings | None) -> ReplayTold | None:
    if path is None or kept is None:
        return None
    text = since(path, LogEnd(kept.log_inode, kept.log_size))
    return None if text is None else replay_told(text)


def _passed_over(told: ReplayTold | None, given: Collection[str], segments: Path) -> list[str]:
    """Segments that Cassandra was given back and did not replay, as its log says; one that it took for empty, and that
    is, needs no replay. Reads those that it took for empty."""
    if told is None or not told.begun:
        return []
    return sorted(
        name
        for name in given
        if name not in told.segments and not (name in told.empty and not holds_write(segments / name))
    )


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


def _warnings(told: ReplayTold | None) -> list[str]:
    if told is None:
        return ["Cassandra's log was not read: `cassandra.service.log_file` names none that can be read"]
    warnings = [f"a segment ends in the middle of a write: {line}" for line in told.cut]
    return (
        warnings if told.mutations is not None else [*warnings, "Cassandra's log does not tell how much was replayed"]
    )
