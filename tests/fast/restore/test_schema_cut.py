"""SCHEMA that is killed before or after any statement: the next run of the job makes what is left, and all of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from agent.cassandra.node import CassandraNode
from agent.cassandra.schema_compare import all_statements
from agent.cassandra.settings import CassandraSettings
from agent.jobs.restore.notes import RestoreNotes
from agent.jobs.restore.schema import SchemaJob
from agent.jobs.restore.tools import RestoreTools
from agent.model.job import JobContext
from agent.model.snapshot import Column, KeyspaceSchema, SchemaObject
from agent.wire.commands import RestoreArguments
from tests.fast.restore.backup_in_memory import HOST, BackupInMemory
from tests.fast.restore.context import Context

TABLE = "CREATE TABLE ks.t (k int PRIMARY KEY, old int, v text);\nALTER TABLE ks.t DROP old USING TIMESTAMP 5;"
OBJECTS = (
    SchemaObject("keyspace", "ks", "ks", "CREATE KEYSPACE ks;"),
    SchemaObject("table", "ks", "t", TABLE),
    SchemaObject("index", "ks", "i", "CREATE INDEX i ON ks.t (v);", "t"),
    SchemaObject("index", "ks", "j", "CREATE INDEX j ON ks.t (v);", "t"),
)
WHOLE = KeyspaceSchema(
    "ks", {"class": "x"}, True, OBJECTS, {"t": (Column("k", "int", "partition_key", 0, "none"),)}, {}
)
STATEMENTS = [statement for one in OBJECTS for statement in all_statements(one)]


class Cut(BaseException):
    """The process is gone."""


@dataclass
class Cluster:
    """What Cassandra has carried out; it lives on when the agent dies."""

    done: list[str] = field(default_factory=list)

    def schema(self) -> dict[str, KeyspaceSchema]:
        """As DESCRIBE would tell it."""
        objects = []
        for one in OBJECTS:
            told = [statement for statement in all_statements(one) if statement in self.done]
            if told:
                objects.append(msgspec.structs.replace(one, statement=";\n".join(told) + ";"))
        columns = WHOLE.columns if any(one.kind == "table" for one in objects) else {}
        return {"ks": msgspec.structs.replace(WHOLE, objects=tuple(objects), columns=columns)} if objects else {}


@dataclass(frozen=True)
class MortalTools(RestoreTools):
    """Over the cluster; `lives`: so many statements are carried out, then the agent dies."""

    cluster: Cluster = field(default_factory=Cluster)
    lives: int = 100

    async def live(self, keyspaces: Sequence[str]) -> dict[str, KeyspaceSchema]:
        return self.cluster.schema()

    async def settled(self) -> None:
        return None

    async def change(self, context: JobContext, notes: RestoreNotes, label: str, statement: str) -> None:
        if len(self.cluster.done) == self.lives:
            raise Cut
        assert statement not in self.cluster.done, "Cassandra refuses what is there already"
        self.cluster.done.append(statement)


@pytest.mark.parametrize("lives", range(len(STATEMENTS)))
async def test_what_a_cut_run_left_out_is_made_by_the_next(tmp_path: Path, lives: int) -> None:
    """Promise: keyspace, table, dropped column and every index are there, each made once, wherever it died."""
    cluster = Cluster()
    backup = BackupInMemory([], (WHOLE,))
    node = CassandraNode(CassandraSettings(), tmp_path)
    asked = Context(RestoreArguments("tag", HOST, {"ks": ["t"]}))
    with pytest.raises(Cut):
        await SchemaJob(MortalTools(node, backup, tmp_path, cluster=cluster, lives=lives)).run(asked)
    await SchemaJob(MortalTools(node, backup, tmp_path, cluster=cluster)).run(asked)
    assert cluster.done == STATEMENTS


async def test_another_jobs_table_keeps_what_a_person_made_of_it(tmp_path: Path) -> None:
    """Promise: an index that was dropped from a live table since the backup is not made again by a restore into it."""
    cluster = Cluster([*STATEMENTS[:-2]])
    backup = BackupInMemory([], (WHOLE,))
    node = CassandraNode(CassandraSettings(), tmp_path)
    asked = Context(RestoreArguments("tag", HOST, {"ks": ["t"]}))
    await SchemaJob(MortalTools(node, backup, tmp_path, cluster=cluster)).run(asked)
    assert cluster.done == STATEMENTS[:-2]
