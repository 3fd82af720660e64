"""PIT_TABLES that is killed before any statement: the next run of the job goes on from what was noted before the first
drop, whatever the schema looks like by then."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from agent.cassandra.cql_text import quote, statements
from agent.cassandra.node import CassandraNode
from agent.cassandra.settings import CassandraSettings
from agent.cassandra.staging import StagingRoot
from agent.jobs.point_in_time.notes import FetchNotes, NotedPoint
from agent.jobs.point_in_time.point_errors import NameTaken
from agent.jobs.point_in_time.point_tools import PointTools
from agent.jobs.point_in_time.tables import NotedSchema, PitTablesJob
from agent.jobs.restore.notes import RestoreNotes
from agent.jobs.restore.tools import RestoreTools
from agent.model.job import JobContext
from agent.model.snapshot import Column, KeyspaceSchema, SchemaObject
from agent.wire.commands import RestoreArguments
from agent.wire.point_in_time import PitArguments
from kit.atomic_files import write_into
from tests.fast.restore.context import Context

ID, OTHER = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"
CREATE = f"CREATE TABLE ks.t (k int PRIMARY KEY, old int, v text) WITH ID = {ID}"
FORGOTTEN = "ALTER TABLE ks.t DROP old USING TIMESTAMP 5"
INDEX = "CREATE INDEX i ON ks.t (v)"
TABLE = f"{quote('ks')}.{quote('t')}"
ALL = [
    f"DROP TABLE IF EXISTS {TABLE}",
    CREATE,
    FORGOTTEN,
    INDEX,
    f'ALTER TABLE {TABLE} ADD "w" int',
    f'ALTER TABLE {TABLE} DROP "w"',
]


class Cut(BaseException):
    """The process is gone."""


@dataclass
class Cluster:
    """What Cassandra holds; it lives on when the agent dies. At first a table made again with another id."""

    table_id: str | None = OTHER
    columns: dict[str, str] = field(default_factory=lambda: {"k": "int", "x": "int"})
    forgotten: list[str] = field(default_factory=list)
    has_index: bool = False
    sent: list[str] = field(default_factory=list)

    def execute(self, statement: str) -> None:
        """Carry a statement out, as strictly as Cassandra does."""
        self.sent.append(statement)
        if statement == ALL[0]:
            self.table_id, self.columns, self.forgotten, self.has_index = None, {}, [], False
        elif statement == CREATE:
            assert self.table_id is None, "there is a table of that name"
            self.table_id, self.columns = ID, {"k": "int", "old": "int", "v": "text"}
        elif statement == INDEX:
            assert not self.has_index, "there is an index of that name"
            self.has_index = True
        elif statement == ALL[4]:
            self.columns["w"] = "int"
        else:
            name = "old" if statement == FORGOTTEN else "w"
            assert statement in (FORGOTTEN, ALL[5])
            del self.columns[name]  # Cassandra refuses to drop what is not there
            self.forgotten.append(name)

    def schema(self) -> dict[str, KeyspaceSchema]:
        """As DESCRIBE would tell it."""
        if self.table_id is None:
            return {"ks": KeyspaceSchema("ks", {}, True, (), {}, {})}
        drops = [f"ALTER TABLE ks.t DROP {name} USING TIMESTAMP 5" for name in self.forgotten]
        text = ";\n".join([CREATE.replace(ID, self.table_id), *drops]) + ";"
        objects = [SchemaObject("table", "ks", "t", text)]
        if self.has_index:
            objects.append(SchemaObject("index", "ks", "i", f"{INDEX};", "t"))
        columns = tuple(Column(name, type_, "regular", -1, "none") for name, type_ in sorted(self.columns.items()))
        return {"ks": KeyspaceSchema("ks", {}, True, tuple(objects), {"t": columns}, {}, {}, {"t": self.table_id})}


@dataclass(frozen=True)
class MortalTools(RestoreTools):
    """Over the cluster; `lives`: so many statements are carried out, then the agent dies."""

    cluster: Cluster = field(default_factory=Cluster)
    lives: int = 100

    async def live(self, keyspaces: Sequence[str]) -> dict[str, KeyspaceSchema]:
        return self.cluster.schema()

    async def settled(self) -> None:
        return None

    async def refuse_when_down_or_moving(self, what: str) -> None:
        return None

    async def refuse_new_views(self, arguments: RestoreArguments, notes: RestoreNotes) -> None:
        return None

    async def change(self, context: JobContext, notes: RestoreNotes, label: str, statement: str) -> None:
        if len(self.cluster.sent) == self.lives:
            raise Cut
        self.cluster.execute(statement)


def wanted() -> KeyspaceSchema:
    """The keyspace at the point."""
    then = Cluster(ID, {"k": "int", "v": "text"}, ["old"], has_index=True)
    return then.schema()["ks"]


async def begun(state: Path, cluster: Cluster) -> Context:
    """A job that has fetched, and noted what it is going to make."""
    arguments = PitArguments("tag", 1_000_000, {"ks": ["t"]})
    root = StagingRoot("/d", "/d", ("x",))
    point = NotedPoint("tag", 1_000_000, arguments.late_seconds, None, None, {"ks": ["t"]}, "h", None, 0.5, root, {})
    await FetchNotes(state, "job-1").put_point(point)
    noted = NotedSchema((wanted(),), tuple(cluster.schema().values()), {ID: {"w": "int"}})
    write_into(state / "restores" / "job-1", "schema.json", msgspec.json.encode(noted))
    return Context(arguments)


async def run(state: Path, cluster: Cluster, asked: Context, lives: int = 100) -> None:
    nothing = cast(Any, None)
    node = CassandraNode(CassandraSettings(), state)
    restore = MortalTools(node, nothing, state, cluster=cluster, lives=lives)
    await PitTablesJob(PointTools(node, nothing, nothing, nothing, nothing, state), restore).run(asked)


@pytest.mark.parametrize("lives", range(len(ALL)))
async def test_a_cut_run_is_gone_on_with(tmp_path: Path, lives: int) -> None:
    """Promise: wherever it died, the table has the id, columns and index of the point afterwards, and knows the column
    that came later as dropped; a run that was not cut sends each statement once, another one nothing."""
    cluster = Cluster()
    asked = await begun(tmp_path, cluster)
    with pytest.raises(Cut):
        await run(tmp_path, cluster, asked, lives)
    assert cluster.sent == ALL[:lives]
    await run(tmp_path, cluster, asked)
    found, then = cluster.schema()["ks"], wanted()
    assert (found.table_ids, found.columns) == (then.table_ids, then.columns)
    assert [one for one in found.objects if one.kind == "index"] == [one for one in then.objects if one.kind == "index"]
    assert cluster.forgotten == ["old", "w"]
    assert statements(found.objects[0].statement)[0] == CREATE
    sent = list(cluster.sent)
    await run(tmp_path, cluster, asked)
    assert cluster.sent == sent


async def test_a_table_that_somebody_made_meanwhile_is_not_taken_for_the_points(tmp_path: Path) -> None:
    """Promise: a table that was missing when the statements were noted, and has another id as they are sent, ends the
    phase: the log's rows would not reach it."""
    cluster = Cluster(None, {})
    asked = await begun(tmp_path, cluster)
    cluster.table_id, cluster.columns = OTHER, {"k": "int", "v": "text"}
    with pytest.raises(NameTaken, match=r"ks\.t was changed while"):
        await run(tmp_path, cluster, asked)
    assert cluster.table_id == OTHER
