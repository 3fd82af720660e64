"""A node of real files whose Cassandra is down, with a restore that was fetched for it."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agent.cassandra.live_directories import IndexFact, NodeFacts
from agent.cassandra.node import CassandraNode
from agent.cassandra.settings import CassandraSettings
from agent.cassandra.staging import StagingRoot, make_directory, make_root
from agent.cassandra.waits import NOBODY, Watch
from agent.jobs.point_in_time.given_back import ready_for_start
from agent.jobs.point_in_time.node_facts import restored_of, segments_of
from agent.jobs.point_in_time.place import PitPlaceJob
from agent.jobs.point_in_time.place_notes import PlaceNotes
from agent.jobs.point_in_time.place_tools import PlaceTools
from agent.jobs.point_in_time.undo import PitUndoJob
from agent.jobs.restore.notes import Fetched, RestoreNotes
from agent.model.job import Outcome
from agent.plan.segment_names import parse_segment
from agent.wire.point_in_time import PitArguments
from tests.cluster.log_segments import header
from tests.fast.point_in_time.noted_point import note_covered
from tests.fast.restore.context import Context

JOB = "job-1"
ORDERS, STOCK = "0" * 31 + "1", "0" * 31 + "2"
T = 1_700_000_000_123_456
HELD = {"": ["nb-1-big-Data.db", "nb-1-big-TOC.txt"], ".by_state": ["nb-1-big-Data.db"]}
OWN_PROPERTIES = "# theirs\narchive_command=/bin/own %path \\\n    /a/%name\nrestore_command=\nprecision=MILLISECONDS\n"

Tree = dict[str, tuple[int, bytes]]


class Service:
    """Cassandra's process: `starts` counts; `begins` is what a start does to the node."""

    def __init__(self) -> None:
        self.running = False
        self.starts = 0
        self.begins: Callable[[], None] = lambda: None

    def refuse_unconfigured(self) -> None:
        return None

    async def alive(self) -> bool:
        return self.running

    async def stop(self, watch: Watch = NOBODY) -> None:
        watch.waiting("Cassandra is to be gone", "process gone", 1.0)
        watch.refuse_given_up("is being stopped")
        self.running = False
        watch.tell(None)

    async def keep_down(self, watch: Watch = NOBODY) -> None:
        await self.stop(watch)

    async def start(self, watch: Watch = NOBODY) -> None:
        if not self.running:
            self.starts += 1
            self.begins()
        self.running = True


class Options:
    """The lines of the JVM options' file."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}

    async def put(self, job: str, lines: Sequence[str]) -> None:
        self.lines[job] = list(lines)

    async def remove(self, job: str) -> None:
        self.lines.pop(job, None)


class NodeOnDisk:
    """Two data directories, hints and commit log below `directory`; the job restores shop.orders."""

    def __init__(self, directory: Path) -> None:
        self.base = directory / "cassandra"
        self.data = [self.base / "data0", self.base / "data1"]
        self.commitlog, self.hints = self.base / "commitlog", self.base / "hints"
        self.properties = directory / "conf" / "commitlog_archiving.properties"
        self.service, self.options = Service(), Options()
        self.archived: list[str] = []
        self.rebuilt: list[str] = []
        self.clients = False
        state = directory / "state"
        self.tools = PlaceTools(
            node=CassandraNode(CassandraSettings(), state),
            service=self.service,
            jvm=self.options,
            orders=self,
            state=state,
            properties_file=self.properties,
            program=directory / "archive-commitlog",
            archive=self._archive,
        )
        self.notes = PlaceNotes(state, JOB)
        self.fetched = RestoreNotes(state, JOB)
        self.arguments = PitArguments("tag", T, {"shop": ["orders"]})
        self._make()
        roots = [
            StagingRoot(str(path), str(self.base), (".helenus", path.name, JOB))
            for path in (*self.data, self.commitlog, self.hints)
        ]
        index = IndexFact("shop", "orders", "by_state", legacy=True)
        self.facts = NodeFacts("5.0.9", {"shop": {"orders": ORDERS}}, (index,), tuple(roots[:-2]), roots[-2], roots[-1])

    async def rebuild_index(self, keyspace: str, table: str, names: Sequence[str]) -> None:
        """See `Orders`."""
        self.rebuilt += [f"{keyspace}.{table}.{name}" for name in names]

    async def native_running(self) -> bool:
        """See `Orders`."""
        return self.clients

    async def enable_native(self) -> None:
        """See `Orders`."""
        self.clients = True

    async def prepare(self) -> None:
        """What the phases before PIT_PLACE do."""
        for root in self.facts.roots:
            make_root(root)
        for below, names in HELD.items():
            place = make_directory(self.facts.data[0], ("held", "shop", "orders", *([below] if below else [])))
            for name in names:
                (place / name).write_bytes(f"of the backup {below}/{name}".encode())
        segments = make_directory(self.facts.commitlog, (segments_of(self.facts).name,))
        (segments / "CommitLog-7-11.log").write_bytes(header(11))
        os.link(self.commitlog / "CommitLog-7-12.log", segments / "CommitLog-7-12.log")  # the node's own log
        await self.fetched.put_fetched(Fetched("tag", "host", {"shop": {"orders": [5, 50, 2]}}))
        await self.notes.put_facts(self.facts)
        await self.notes.put_drained()
        await note_covered(self.tools.state, JOB, self.arguments)

    async def stop_again(self) -> None:
        """What PIT_STOP and PIT_COVER do after an undo."""
        await self.service.stop()
        await self.notes.put_drained()
        await note_covered(self.tools.state, JOB, self.arguments)

    async def place(self) -> Outcome:
        return await self.place_job().run(self.context())

    def place_job(self) -> PitPlaceJob:
        return PitPlaceJob(self.tools)

    async def undo(self) -> Outcome:
        return await PitUndoJob(self.tools).run(self.context())

    def context(self) -> Any:
        return Context(self.arguments, JOB)

    async def cassandra_ran(self, *, replayed: bool) -> None:
        """What a start with what was placed leaves, killed before the replay ended or after."""
        self.clients = False
        await self.notes.put_started()
        ready_for_start(self.facts, await self.notes.plan() or [])
        for segment_file in segments_of(self.facts).iterdir():
            if not replayed:
                os.link(segment_file, self.commitlog / segment_file.name)
            (restored_of(self.facts) / segment_file.name).touch()
        (self.commitlog / "CommitLog-7-90.log").write_bytes(b"the only copy of other tables' writes")
        if replayed:
            self.orders(0, "nb-1-big-Data.db").unlink()  # compacted away
            self.orders(0, "nb-2-big-Data.db").write_bytes(b"replayed and compacted")
            self.orders(1, "nb-3-big-Data.db").write_bytes(b"replayed")
            (self.hints / "b-9-2.hints").write_bytes(b"new hints")

    def orders(self, number: int, *below: str) -> Path:
        return self.data[number].joinpath("shop", f"orders-{ORDERS}", *below)

    def tree(self) -> Tree:
        """Every file of the node outside of staging: path → inode, content."""
        return {
            str(path.relative_to(self.base)): (path.stat().st_ino, path.read_bytes())
            for path in sorted(self.base.rglob("*"))
            if path.is_file() and ".helenus" not in path.parts
        }

    def all_inodes(self) -> set[int]:
        """Those of every file of the node, wherever it is."""
        return {path.stat().st_ino for path in self.base.rglob("*") if path.is_file()}

    async def _archive(self, path: Path) -> None:
        self.archived.append(path.name)

    def _make(self) -> None:
        for number, data in enumerate(self.data):
            for directory in (f"orders-{ORDERS}", f"stock-{STOCK}"):
                table = data / "shop" / directory
                for below in ("", "snapshots/old/.by_state", "backups", ".by_state"):
                    (table / below).mkdir(parents=True, exist_ok=True)
                    for name in (f"nb-{number + 1}-big-{kind}" for kind in ("Data.db", "TOC.txt")[: 1 + (not below)]):
                        (table / below / name).write_bytes(f"{number} {directory} {below} {name}".encode())
                (table / "nb_txn_flush_8d1.log").write_bytes(b"log")
        for place, files in (
            (self.hints, ["a-1-2.hints", "a-1-2.crc32"]),
            (self.commitlog, ["CommitLog-7-12.log", "CommitLog-7-13.log", "CommitLog-7-13_cdc.idx"]),
        ):
            place.mkdir()
            for name in files:
                parsed = parse_segment(name)
                content = f"own {name}".encode() if parsed is None else header(parsed.id)
                (place / name).write_bytes(content)
        self.properties.parent.mkdir()
        self.properties.write_text(OWN_PROPERTIES)
