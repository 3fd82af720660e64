"""What Cassandra is told for the one start that replays, and how that is taken back. In: the job's notes. Out: the
properties file and the JVM options.

What makes it safe: the properties file's text is durable in the notes before the restore's takes its place (a rename);
put back is what was there, byte for byte. If somebody else has written the file meanwhile, only what says what to
restore is taken out of it. Both ways may be cut anywhere and called again.
"""

import asyncio
import stat
from pathlib import Path

from agent.cassandra.commit_log.archive_command import install
from agent.cassandra.commit_log.archiving_properties import Restoring
from agent.cassandra.commit_log.restore_properties import restores, with_restore, without_restore
from agent.cassandra.live_directories import NodeFacts
from agent.cassandra.replay_log import LogEnd, log_end
from agent.jobs.point_in_time.node_facts import segments_of
from agent.jobs.point_in_time.place_notes import KeptSettings, PlaceNotes
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.point_in_time.start_settings import NO_CLIENTS, jvm_lines
from agent.wire.point_in_time import PitArguments
from kit.atomic_files import remove_durably, write_atomically

_MODE = 0o644
_ENCODING = "latin-1"
"""Of properties files; every byte is a character."""


async def put_restore_settings(
    tools: PlaceTools, notes: PlaceNotes, facts: NodeFacts, arguments: PitArguments, digits: int
) -> None:
    """Let the next start replay the job's segments, up to the point: that start can't be before `let_replay`.
    `digits`: of the second's fraction that this Cassandra understands. Raises `ArchivingRefused` and OSError."""
    path = tools.properties_file
    before = await notes.settings()
    if before is None:
        text, mode = await asyncio.to_thread(_as_it_is, path)
        end = await asyncio.to_thread(log_end, tools.log_file) if tools.log_file is not None else LogEnd()
    else:
        text, mode, end = before.properties, before.mode, LogEnd(before.log_inode, before.log_size)
    restoring = Restoring(str(segments_of(facts)), arguments.pit_micros, digits)
    written = with_restore(text or "", str(tools.program), restoring)
    await notes.put_settings(KeptSettings(text, mode, written, end.inode, end.size))
    await asyncio.to_thread(install, tools.program, facts.commitlog.group)
    await asyncio.to_thread(write_atomically, path, written.encode(_ENCODING), mode=mode)


async def let_replay(tools: PlaceTools, notes: PlaceNotes, arguments: PitArguments) -> None:
    """Let Cassandra start again, with native transport off, and replay into the job's tables alone. Raises OSError."""
    await tools.jvm.put(notes.job, jvm_lines(arguments.tables, force=arguments.force))


async def put_back_properties(tools: PlaceTools, notes: PlaceNotes, facts: NodeFacts) -> None:
    """Let the next start restore nothing. Nothing to put back is fine. Raises OSError."""
    kept = await notes.settings()
    if kept is not None:
        await asyncio.to_thread(_put_back, tools.properties_file, kept, str(segments_of(facts)))


async def put_back_settings(tools: PlaceTools, notes: PlaceNotes, facts: NodeFacts) -> None:
    """Let Cassandra's next start be an ordinary one. Nothing to put back is fine. Raises OSError."""
    await put_back_properties(tools, notes, facts)
    await tools.jvm.remove(notes.job)


async def settle_after_replay(tools: PlaceTools, notes: PlaceNotes, facts: NodeFacts) -> None:
    """Let the next start replay nothing but the node's own log, for every table, still without clients."""
    await put_back_properties(tools, notes, facts)
    await tools.jvm.put(notes.job, [NO_CLIENTS])


def _as_it_is(path: Path) -> tuple[str | None, int]:
    text = _read(path)
    return text, _MODE if text is None else stat.S_IMODE(path.stat().st_mode)


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode(_ENCODING)
    except FileNotFoundError:
        return None


def _put_back(path: Path, kept: KeptSettings, segments: str) -> None:
    found = _read(path)
    if found == kept.properties:
        return
    if found == kept.written:
        if kept.properties is None:
            remove_durably(path)
        else:
            write_atomically(path, kept.properties.encode(_ENCODING), mode=kept.mode)
    elif found is not None and restores(found, segments):
        write_atomically(path, without_restore(found).encode(_ENCODING), mode=kept.mode)
