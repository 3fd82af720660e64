"""Archiving as a real Cassandra does it: its commit log's segments, the program it calls for them, what it makes of the
program's failures, and what it leaves as it ends."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cassandra.cluster import Session

from agent.cassandra.commit_log import archive_command, archiving_properties
from agent.cassandra.commit_log.archive_directory import have
from agent.cassandra.commit_log.archiving_properties import Archiving, Restoring
from agent.cassandra.commit_log.restore_properties import with_restore
from agent.cassandra.commit_log.sections import SegmentState, segment_state
from agent.cassandra.node_directories import newest_closed_segment
from agent.cassandra.sstable_statistics import SstableStatistics, statistics_of
from agent.plan.segment_names import parse_segment, segment_id
from tests.cluster.cassandra import CassandraNode
from tests.cluster.scratch import ScratchCluster, with_other_spec
from tests.cluster.small_volume import SmallVolume

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPTIONS: dict[str, Any] = {"commitlog_segment_size": "1MiB", "storage_compatibility_mode": "NONE"}
SEGMENT = 1 << 20
ROWS_OF_A_SEGMENT = 1_200
DEADLINE = 60.0


@dataclass
class Archived:
    """A node, its archive directory and the volume that is another file system."""

    cluster: ScratchCluster
    program: Path
    linked: Path
    volume: SmallVolume
    written: int = 0

    @property
    def node(self) -> CassandraNode:
        """The node."""
        return self.cluster.nodes[0]

    @property
    def log(self) -> Path:
        """Its commit-log directory."""
        return self.node.directory / "commitlog"

    @property
    def properties(self) -> Path:
        """What it is told of archiving."""
        return self.node.directory / "conf" / "commitlog_archiving.properties"

    async def session(self) -> Session:
        """A session to the node as it runs now."""
        self.cluster.close_sessions()
        return await self.cluster.session_one(self.node)

    async def write(self, session: Session, segments: float = 1.0) -> None:
        """Rows that fill so many segments."""

        def insert(first: int, rows: int) -> None:
            statement = session.prepare("INSERT INTO a.t (k, v) VALUES (?, ?)")
            for number in range(first, first + rows):
                session.execute(statement, (number, "x" * 900))

        rows = round(segments * ROWS_OF_A_SEGMENT)
        await asyncio.to_thread(insert, self.written, rows)
        self.written += rows

    async def until(self, what: str, true: Callable[[], bool]) -> None:
        """Wait for it."""

        async def holds() -> bool:
            return true()

        await self.node.child.until(what, holds, DEADLINE)


def segments(directory: Path) -> list[str]:
    """The names of segments in a directory, in order."""
    return [one.file_name for one in sorted(filter(None, map(parse_segment, os.listdir(directory))))]


def states(directory: Path) -> list[SegmentState]:
    """What each of them says of itself."""
    return [segment_state(directory / name) for name in segments(directory)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def archived(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Archived]:
    """A node that archives into a directory of its own file system from its first start on."""
    root = tmp_path_factory.mktemp("archived")
    program, linked = root / "archive-commitlog", root / "archive"
    have(str(linked), ["archived"], [], marked=False, group=None)
    archive_command.install(program)
    cluster = ScratchCluster(root / "cluster", nodes=1, name="archived", options=OPTIONS)
    async with SmallVolume(root / "volume", megabytes=12) as volume:
        made = Archived(cluster, program, linked, volume)
        made.properties.parent.mkdir(parents=True)
        archiving_properties.put(made.properties, Archiving(str(program), str(linked)))
        async with cluster:
            session = await made.session()
            session.execute("CREATE KEYSPACE a WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
            session.execute("CREATE TABLE a.t (k int PRIMARY KEY, v text)")
            yield made


def statistics(table: Path) -> dict[str, SstableStatistics]:
    """Version of the SSTable → what its Statistics.db says."""
    return {path.name[:2]: statistics_of(path.name, path.read_bytes()) for path in table.glob("*-Statistics.db")}


async def test_closed_segments_are_linked_and_whole(archived: Archived) -> None:
    """Promise: each segment that Cassandra closed is in the archive as a link, ids without a hole; the header and the
    sections are read as Cassandra wrote them, and the floor of a snapshot is below what isn't closed."""
    session = await archived.session()
    await archived.write(session, 2.5)
    await archived.until("two archived", lambda: len(segments(archived.linked)) >= 2)
    there = segments(archived.linked)
    ids = [segment_id(name) for name in there]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    for name, state in zip(there, states(archived.linked), strict=True):
        assert (state.damage, state.all_synced, state.size, state.descriptor.plain) == ("", True, SEGMENT, True)
        assert state.held_data
        assert (archived.log / name).samefile(archived.linked / name)
    active, ahead = segments(archived.log)[-2:]
    assert not segment_state(archived.log / ahead).held_data
    assert segment_id(newest_closed_segment(str(archived.log)) or "") == segment_id(active) - 1
    await archived.node.nodetool("flush")
    await archived.until("archived ones deleted", lambda: segments(archived.log) == [active, ahead])
    assert archive_command.failures(archived.program) == []


async def test_a_live_segment_is_synced_soon_after_a_write(archived: Archived) -> None:
    """Promise: a copy of the live segment's whole sections holds what was written a moment before, long before the log
    is synced (every ten seconds here): its tail can be copied."""
    session = await archived.session()
    active = segments(archived.log)[-2]
    before = segment_state(archived.log / active)
    await archived.write(session, 0.01)
    written = segment_state(archived.log / active).written
    assert written > before.written

    def synced() -> bool:
        return segment_state(archived.log / active).synced >= written

    await archived.until("synced", synced)


async def test_a_name_that_is_taken_stays_and_the_segment_too(archived: Archived) -> None:
    """Promise: nothing in the archive is overwritten; Cassandra goes on and keeps the segment; the failure is noted."""
    session = await archived.session()
    active = segments(archived.log)[-2]
    (archived.linked / active).write_bytes(b"something else")
    await archived.write(session, 2.0)
    await archived.node.nodetool("flush")
    await archived.until("noted", lambda: archive_command.failures(archived.program) == [active])
    await archived.until("others deleted", lambda: len(segments(archived.log)) == 3)
    assert segments(archived.log)[0] == active
    assert (archived.linked / active).read_bytes() == b"something else"
    (archived.linked / active).unlink()
    os.link(archived.log / active, archived.linked / active)  # what the agent does
    archive_command.forget_failure(archived.program, active)


async def test_the_last_segment_of_a_life_is_archived_at_the_next_start_and_empty(archived: Archived) -> None:
    """Promise: after a stop and after a kill the archive's last segment of that life holds nothing: the life is known
    to have ended there; and no id was skipped before it."""
    await archived.write(await archived.session(), 0.2)
    archived.cluster.close_sessions()
    await archived.node.stop()
    await archived.node.start()
    first_life = states(archived.linked)
    assert [state.held_data for state in first_life] == [True] * (len(first_life) - 1) + [False]
    await archived.write(await archived.session(), 1.2)
    archived.cluster.close_sessions()
    await archived.node.kill()
    await archived.node.start()
    second_life = states(archived.linked)[len(first_life) :]
    assert [state.held_data for state in second_life] == [True] * (len(second_life) - 1) + [False]
    ids = [state.descriptor.id for state in second_life]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert segments(archived.log)[0] not in segments(archived.linked)


async def test_another_file_system_gets_copies_until_it_is_full(archived: Archived) -> None:
    """Promise: copies are whole and under their own names; when the archive is full Cassandra goes on, the segment
    stays in the commit-log directory and the failure is noted; with room again the next segments are archived."""
    session = await archived.session()
    session.execute("CREATE TABLE a.timed (k int PRIMARY KEY)")
    session.execute("INSERT INTO a.timed (k) VALUES (1) USING TIMESTAMP 1700000000000001")
    session.execute("DELETE FROM a.timed USING TIMESTAMP 1700000000000007 WHERE k = 2")
    await archived.node.nodetool("flush", "a", "timed")
    archived.cluster.close_sessions()
    await archived.node.stop()
    with_other_spec(archived.node, archived.cluster, bti=True)
    directory = archived.volume.path
    have(str(directory), ["archived"], [], marked=False, group=None)
    assert archiving_properties.put(archived.properties, Archiving(str(archived.program), str(directory)))
    await archived.node.start()
    session = await archived.session()
    await archived.write(session, 2.2)
    await archived.until("copied", lambda: len(segments(directory)) >= 3)
    for name in segments(directory):
        state = segment_state(directory / name)
        assert (state.damage, state.size) == ("", SEGMENT)
        if (archived.log / name).exists():
            assert (directory / name).stat().st_mtime == (archived.log / name).stat().st_mtime
    archived.volume.fill(leave=SEGMENT // 2)
    copied = segments(directory)
    await archived.write(session, 2.2)
    await archived.node.nodetool("flush")
    await archived.until("noted", lambda: len(archive_command.failures(archived.program)) >= 2)
    failed = archive_command.failures(archived.program)
    await archived.until("kept", lambda: segments(archived.log)[: len(failed)] == failed)
    assert segments(directory) == copied
    assert archive_command.unfinished_copies(directory) == []
    archived.volume.empty()
    await archived.write(session, 1.2)
    await archived.until("archived again", lambda: len(segments(directory)) > len(copied))
    assert segments(archived.log)[: len(failed)] == failed


async def test_each_format_tells_its_newest_write(archived: Archived) -> None:
    """Promise: also a delete counts, in SSTables of both formats that 5.0 has of its own; and how far the commit log
    was in them."""
    session = await archived.session()
    session.execute("INSERT INTO a.timed (k) VALUES (3) USING TIMESTAMP 1700000000000003")
    await archived.node.nodetool("flush", "a", "timed")
    (table,) = archived.node.table_directories("a", "timed")
    found = statistics(table)
    times = {version: (one.oldest_write, one.newest_write) for version, one in found.items()}
    assert times == {
        "oa": (1_700_000_000_000_001, 1_700_000_000_000_007),
        "da": (1_700_000_000_000_003, 1_700_000_000_000_003),
    }
    assert found["da"].log_segment == segment_id(segments(archived.log)[-2])
    assert 0 < found["oa"].log_segment < found["da"].log_segment


async def test_leftovers_are_offered_once_more_and_then_lost(archived: Archived) -> None:
    """Promise (of Cassandra, on which the agent's order rests): what could not be archived is offered to the program
    at the next start; if that fails too, Cassandra replays and deletes it, and only the note is left."""
    left = archive_command.failures(archived.program)
    assert left
    archived.cluster.close_sessions()
    await archived.node.stop()
    archived.volume.fill()
    await archived.node.start()
    assert not set(left) & set(segments(archived.log))
    assert not set(left) & set(segments(archived.volume.path))
    assert set(left) <= set(archive_command.failures(archived.program))
    archived.volume.empty()


async def test_segments_are_given_back_and_replayed_up_to_the_point(archived: Archived) -> None:
    """Promise: the same program links them back before the replay, and the point holds to the microsecond."""
    session = await archived.session()
    session.execute("CREATE TABLE a.marked (k int PRIMARY KEY)")
    point = 1_700_000_000_123_456
    for number, at in enumerate((point - 1, point, point + 1)):
        session.execute(f"INSERT INTO a.marked (k) VALUES ({number}) USING TIMESTAMP {at}")
    archived.cluster.close_sessions()
    await archived.node.stop()
    restored = archived.log.parent / "restored"
    restored.mkdir()
    for name in segments(archived.volume.path):
        (restored / name).write_bytes((archived.volume.path / name).read_bytes())
    (table,) = archived.node.table_directories("a", "marked")
    for path in list(table.glob("*-*-*.*")):
        path.unlink()
    told = archived.properties.read_text()
    archived.properties.write_text(with_restore(told, str(archived.program), Restoring(str(restored), point)))
    await archived.node.start()
    rows = (await archived.session()).execute("SELECT k FROM a.marked")
    assert sorted(row.k for row in rows) == [0, 1]
    assert not set(segments(restored)) & set(segments(archived.log))
