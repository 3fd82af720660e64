"""One real node whose commit log is archived, with passwords, and what a restore to a point in time does to it, step by
step, as the phases that are not tried here would.

In: a directory. Out: a node that can be killed, started as the agent starts it, and restored by the jobs.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.cassandra.commit_log.archive_command import install
from agent.cassandra.commit_log.archiving_properties import Archiving, put
from agent.cassandra.live_directories import NodeFacts
from agent.cassandra.settings import CqlSettings, NodetoolSettings
from agent.cassandra.staging import make_directory, make_root
from agent.jobs.point_in_time.clean import PitCleanJob
from agent.jobs.point_in_time.given_back import ready_for_start
from agent.jobs.point_in_time.node_facts import note_facts, segments_of
from agent.jobs.point_in_time.place import PitPlaceJob
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.point_in_time.restore_settings import put_back_settings
from agent.jobs.point_in_time.undo import PitUndoJob
from agent.jobs.point_in_time.verify import PitVerifyJob
from agent.jobs.restore.notes import Fetched, RestoreNotes
from agent.model.job import Outcome
from agent.model.snapshot import SnapshotTable
from agent.plan.segment_names import segment_id
from agent.wire.node import Tables
from agent.wire.point_in_time import PitArguments
from tests.cluster import node_launchers, sessions
from tests.cluster.cassandra import CassandraNode
from tests.cluster.node_files import JMX_USER
from tests.cluster.processes import run
from tests.cluster.scratch import ScratchCluster
from tests.fast.restore.context import Context
from tests.real.cassandra.rig import Rig, settings_for

MICROS = 1_000_000


class LaunchedNode:
    """The node's process by its launchers; `start` ends when it is up, with or without CQL."""

    def __init__(self, node: CassandraNode) -> None:
        self._node = node

    async def alive(self) -> bool:
        last = node_launchers.last_run(self._node.directory)
        return last is not None and last.alive

    async def stop(self) -> None:
        await run([self._node.launchers / "stop"])

    async def start(self) -> None:
        await run([self._node.launchers / "start"])
        await self._node.child.until("up", self._up, 120.0)

    async def _up(self) -> bool:
        return "Startup complete" in self._node.printed()


class OptionsFile:
    """conf/jvm-server.options, with a block for one job."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def put(self, job: str, lines: Sequence[str]) -> None:
        await self.remove(job)
        block = "".join(f"{line}\n" for line in (f"# helenus begin {job}", *lines, f"# helenus end {job}"))
        self._path.write_text(self._path.read_text() + block)

    async def remove(self, job: str) -> None:
        before, begin, rest = self._path.read_text().partition(f"# helenus begin {job}\n")
        self._path.write_text(before + (rest.partition(f"# helenus end {job}\n")[2] if begin else ""))


class ArchivingNode:
    """The node with the agent's parts for it."""

    def __init__(self, cluster: ScratchCluster, directory: Path) -> None:
        self.cluster, self.node = cluster, cluster.nodes[0]
        self.archive, self.program = directory / "archive", directory / "archive-commitlog"
        self.properties = self.node.directory / "conf" / "commitlog_archiving.properties"
        self.options = self.node.directory / "conf" / "jvm-server.options"
        secret = directory / "cql.password"
        secret.write_text(sessions.SUPERUSER[1])
        secret.chmod(0o600)
        spec = self.node.spec
        command = str(self.node.launchers / "nodetool")
        settings = settings_for(
            self.node,
            nodetool=NodetoolSettings(
                (command,), port=spec.jmx_port, username=JMX_USER, password_file=str(self.node.jmx_password_file)
            ),
            cql=CqlSettings(self.node.address, spec.native_port, sessions.SUPERUSER[0], str(secret)),
        )
        self.state = directory / "state"
        self.rig = Rig(settings, self.state)
        self.service = LaunchedNode(self.node)
        self.tools = PlaceTools(
            node=self.rig.node,
            service=self.service,
            jvm=OptionsFile(self.options),
            orders=self,
            state=self.state,
            properties_file=self.properties,
            program=self.program,
            archive=self._archive,
            log_file=self.node.log,
        )

    async def begin(self) -> None:
        """Start it, archiving from the first segment on."""
        self.archive.mkdir()
        install(self.program)
        self.properties.parent.mkdir(parents=True)
        put(self.properties, Archiving(str(self.program), str(self.archive)))
        await self.cluster.start()

    async def session(self) -> Any:
        return await self.cluster.session_one(self.node)

    async def kill_and_start_once(self) -> None:
        """kill -9, half a second after the last write, and a start that replays the node's own log."""
        await asyncio.sleep(0.7)
        self.cluster.close_sessions()
        await self.node.kill()
        await self.service.start()
        await self.node.wait_until_ready()

    async def fetch(self, tag: str, tables: Tables, job: str, *, without: Sequence[str] = ()) -> None:
        """What PIT_FETCH, PIT_QUIESCE and PIT_STOP do: SSTables in held/ (but for the directories `without`), facts
        noted, Cassandra drained and gone, its own log added to the archived segments."""
        notes = PlaceNotes(self.state, job)
        info = await self.rig.node.snapshots.info(tag)
        assert info is not None
        found = await self.rig.node.snapshots.inventory(tag, tables)
        facts = await note_facts(self.rig.node, tables, notes)
        for root in facts.roots:
            make_root(root)
        counts: dict[str, dict[str, list[int]]] = {}
        for table in found:
            counts.setdefault(table.keyspace, {})[table.table] = _hold(table, facts, without)
        fetched = RestoreNotes(self.state, job)
        await fetched.put_staging(facts.data)
        await fetched.put_fetched(Fetched(tag, "", counts))
        await self.node.nodetool("drain")
        self.cluster.close_sessions()
        await self.service.stop()
        await notes.put_drained()
        segments = make_directory(facts.commitlog, (segments_of(facts).name,))
        floor = segment_id(info.commitlog_floor) if info.commitlog_floor else 0
        for place in (Path(facts.commitlog.data_directory), self.archive):
            for path in place.glob("CommitLog-*.log"):
                if segment_id(path.name) > floor and not (segments / path.name).exists():
                    os.link(path, segments / path.name)

    async def place(self, arguments: PitArguments, job: str) -> Outcome:
        return await PitPlaceJob(self.tools).run(Context(arguments, job))

    async def start_placed(self, job: str) -> None:
        """What PIT_START does."""
        notes = PlaceNotes(self.state, job)
        await asyncio.to_thread(ready_for_start, await notes.must_facts(), await notes.plan() or [])
        await notes.put_started()
        await self.service.start()

    async def rebuild_index(self, keyspace: str, table: str, names: Sequence[str]) -> None:
        await self.node.nodetool("rebuild_index", keyspace, table, *names)

    async def native_running(self) -> bool:
        return "not running" not in await self.node.nodetool("statusbinary")

    async def enable_native(self) -> None:
        await self.node.nodetool("enablebinary")

    async def verify(self, arguments: PitArguments, job: str) -> Outcome:
        return await PitVerifyJob(self.tools).run(Context(arguments, job))

    async def open(self, job: str) -> None:
        """What PIT_OPEN does."""
        notes = PlaceNotes(self.state, job)
        await put_back_settings(self.tools, notes, await notes.must_facts())
        await self.node.nodetool("enablebinary")
        await notes.put_opened()
        await self.node.wait_until_ready()

    async def undo(self, arguments: PitArguments, job: str) -> Outcome:
        outcome = await PitUndoJob(self.tools).run(Context(arguments, job))
        await self.node.wait_until_ready()
        return outcome

    async def clean(self, arguments: PitArguments, job: str) -> Outcome:
        return await PitCleanJob(self.tools).run(Context(arguments, job))

    async def restart(self) -> None:
        self.cluster.close_sessions()
        await self.service.stop()
        await self.service.start()
        await self.node.wait_until_ready()

    def staged(self) -> list[str]:
        """What is left below any staging directory."""
        return [str(path) for path in self.node.directory.rglob(".helenus/**/*") if path.is_file()]

    async def close(self) -> None:
        await self.rig.node.close()

    async def _archive(self, path: Path) -> None:
        await run([self.program, path, self.archive / path.name])


def now_micros() -> int:
    return int(time.time() * MICROS)


def _hold(table: SnapshotTable, facts: NodeFacts, without: Sequence[str]) -> list[int]:
    """Link a table's snapshot files into held/: files, bytes, SSTables."""
    files = size = sstables = 0
    for file in table.files:
        directory, _, name = file.name.rpartition("/")
        if name in ("manifest.json", "schema.cql") or directory in without:
            continue
        root = facts.data[file.volume]
        held = make_directory(root, ("held", table.keyspace, table.table, *([directory] if directory else [])))
        os.link(file.path, held / name)
        files, size = files + 1, size + file.size
        sstables += not directory and name.endswith("-Data.db")
    return [files, size, sstables]
