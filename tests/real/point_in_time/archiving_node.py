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
from agent.cassandra.commit_log.archive_directory import have
from agent.cassandra.commit_log.archiving_properties import Archiving, put
from agent.cassandra.settings import CqlSettings, NodetoolSettings, ServiceSettings
from agent.cassandra.staging import StagingRoot, make_directory, make_root, staging_root
from agent.jobs.point_in_time.node_facts import segments_of
from agent.jobs.point_in_time.phases import stopping_jobs
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.restart import nothing
from agent.jobs.restore.notes import Fetched, RestoreNotes
from agent.model.job import Outcome
from agent.model.snapshot import SnapshotTable
from agent.plan.segment_names import segment_id
from agent.wire.commands import Kind
from agent.wire.node import Tables
from agent.wire.point_in_time import PitArguments
from tests.cluster import sessions
from tests.cluster.node_files import JMX_USER
from tests.cluster.processes import run
from tests.cluster.scratch import ScratchCluster
from tests.fast.point_in_time.noted_point import MICROS, note_covered
from tests.fast.restore.context import Context
from tests.real.cassandra.rig import Rig, settings_for


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
            service=ServiceSettings(
                start=(str(self.node.launchers / "start"),),
                stop=(str(self.node.launchers / "stop"),),
                jvm_options_file=str(self.options),
                log_file=str(self.node.log),
            ),
        )
        self.state = directory / "state"
        self.rig = Rig(settings, self.state)
        own = self.rig.node
        self.service = own.service
        self.tools = PlaceTools(
            node=own,
            service=own.service,
            jvm=own.jvm,
            orders=own.orders,
            state=self.state,
            properties_file=self.properties,
            program=self.program,
            archive=self._archive,
            log_file=self.node.log,
        )
        self.jobs = stopping_jobs(self.tools, nothing)

    async def begin(self) -> None:
        """Start it, archiving from the first segment on."""
        await asyncio.to_thread(have, str(self.archive), ["archived"], [], marked=False, group=None)
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
        """What PIT_FETCH does of SSTables: they stand in held/, but for those of the directories `without`."""
        info = await self.rig.node.snapshots.info(tag)
        assert info is not None
        found = await self.rig.node.snapshots.inventory(tag, tables)
        roots = [await asyncio.to_thread(staging_root, path, job) for path in info.data_directories]
        for root in roots:
            make_root(root)
        counts: dict[str, dict[str, list[int]]] = {}
        for table in found:
            counts.setdefault(table.keyspace, {})[table.table] = _hold(table, roots, without)
        fetched = RestoreNotes(self.state, job)
        await fetched.put_staging(roots)
        await fetched.put_fetched(Fetched(tag, "", counts))

    async def cover(self, arguments: PitArguments, job: str) -> None:
        """What PIT_FETCH and PIT_COVER do of segments: archived ones and the node's own are in one directory."""
        facts = await PlaceNotes(self.state, job).must_facts()
        info = await self.rig.node.snapshots.info(arguments.tag)
        assert info is not None
        assert info.commitlog_floor is not None
        make_root(facts.commitlog)
        segments = make_directory(facts.commitlog, (segments_of(facts).name,))
        for place in (Path(facts.commitlog.data_directory), self.archive):
            for path in place.glob("CommitLog-*.log"):
                if segment_id(path.name) > segment_id(info.commitlog_floor) and not (segments / path.name).exists():
                    os.link(path, segments / path.name)

        await note_covered(self.state, job, arguments)

    async def run(self, kind: Kind, arguments: PitArguments, job: str) -> Outcome:
        """Run a phase as the agent would."""
        self.cluster.close_sessions()
        return await self.jobs[kind](Context(arguments, job))

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


def _hold(table: SnapshotTable, roots: Sequence[StagingRoot], without: Sequence[str]) -> list[int]:
    """Link a table's snapshot files into held/: files, bytes, SSTables, those of its legacy indexes among them."""
    files = size = sstables = 0
    for file in table.files:
        directory, _, name = file.name.rpartition("/")
        if name in ("manifest.json", "schema.cql") or directory in without:
            continue
        root = roots[file.volume]
        held = make_directory(root, ("held", table.keyspace, table.table, *([directory] if directory else [])))
        os.link(file.path, held / name)
        files, size = files + 1, size + file.size
        sstables += name.endswith("-Data.db")
    return [files, size, sstables]
