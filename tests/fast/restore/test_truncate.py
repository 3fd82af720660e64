"""What is looked at before the first TRUNCATE or DROP: the ring stands still, no view is there that nobody noted."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.cassandra.errors import ControlOfAnotherNode
from agent.cassandra.node import CassandraNode
from agent.cassandra.node_view import NodeView
from agent.cassandra.protocol import MemberState
from agent.cassandra.settings import CassandraSettings
from agent.jobs.restore.drop_views import DropViewsJob
from agent.jobs.restore.errors import NodesDown, NodesMoving, ViewsChanged
from agent.jobs.restore.notes import RestoreNotes
from agent.jobs.restore.tools import RestoreTools
from agent.jobs.restore.truncate import TruncateJob
from agent.model.job import JobContext
from agent.model.refusals import TooLate
from agent.wire.commands import RestoreArguments
from agent.wire.node import KeyspaceView
from agent.wire.results import PhaseResult, ViewCql
from tests.fast.cassandra.directory_control import DirectoryControl
from tests.fast.cassandra.proven_control import OTHER, proven
from tests.fast.restore.backup_in_memory import HOST, BackupInMemory
from tests.fast.restore.context import Context

NORMAL = MemberState(True, "NORMAL")


class ViewInMemory(NodeView):
    """One keyspace with two tables; `views`: view → its table."""

    views: dict[str, str]

    async def keyspaces(self) -> dict[str, KeyspaceView]:
        return {"ks": KeyspaceView({}, True, {"t": "1", "u": "2"}, self.views)}


@dataclass(frozen=True)
class ToolsInMemory(RestoreTools):
    """A ring of `ring`; statements are only written down."""

    ring: dict[str, MemberState] = field(default_factory=dict)
    statements: list[str] = field(default_factory=list)
    time_for: list[int] = field(default_factory=list)
    """After how many statements in all the time of each command has passed."""

    async def members(self) -> dict[str, MemberState]:
        return self.ring

    async def change(self, context: JobContext, notes: RestoreNotes, label: str, statement: str) -> None:
        if self.time_for and len(self.statements) >= self.time_for[0]:
            self.time_for.pop(0)
            raise TooLate("the command's time has passed")
        self.statements.append(statement)


@pytest.fixture
async def tools(tmp_path: Path) -> AsyncIterator[ToolsInMemory]:
    node = CassandraNode(CassandraSettings(), tmp_path)
    node.control = DirectoryControl(tmp_path / "data")
    node.view = view = ViewInMemory(node.cql)
    view.views = {}
    yield ToolsInMemory(node, BackupInMemory([]), tmp_path, ring={"127.0.0.1": NORMAL})
    await node.close()


def _has(tools: ToolsInMemory, views: dict[str, str]) -> None:
    assert isinstance(tools.node.view, ViewInMemory)
    tools.node.view.views = views


def _context(views: dict[str, list[str]] | None = None) -> Context:
    return Context(RestoreArguments("tag", HOST, {"ks": ["t"]}, truncate=True, views=views or {}))


async def test_what_another_node_says_of_the_ring_allows_no_truncate(tools: ToolsInMemory, tmp_path: Path) -> None:
    """Promise: a nodetool of another node, which may be of another cluster, is refused before the first statement."""
    tools.node.control = proven(DirectoryControl(tmp_path / "data"), behind=OTHER)
    with pytest.raises(ControlOfAnotherNode):
        await TruncateJob(tools).run(_context())
    assert tools.statements == []


@pytest.mark.parametrize("state", ["LEAVING", "JOINING", "MOVING"])
async def test_a_ring_that_changes_is_not_truncated(tools: ToolsInMemory, state: str) -> None:
    """Every member is up, and still its ranges would be another's by the time of the import."""
    tools.ring["127.0.0.2"] = MemberState(True, state)
    with pytest.raises(NodesMoving) as caught:
        await TruncateJob(tools).run(_context())
    assert caught.value.fields["nodes"] == {"127.0.0.2": state}
    tools.ring["127.0.0.2"] = MemberState(False, "NORMAL")
    with pytest.raises(NodesDown):
        await TruncateJob(tools).run(_context())
    assert tools.statements == []


async def test_a_table_with_a_view_that_nobody_noted_is_not_truncated(tools: ToolsInMemory) -> None:
    """It would be emptied and never filled; one on another table stands in nobody's way, nor does one that is noted."""
    _has(tools, {"new": "t", "elsewhere": "u"})
    with pytest.raises(ViewsChanged, match=r"ks\.new$"):
        await TruncateJob(tools).run(_context())
    assert tools.statements == []
    await RestoreNotes(tools.state, "job-1").put_views([ViewCql("ks", "new", "t", "CREATE …")])
    await TruncateJob(tools).run(_context())
    assert tools.statements == ['TRUNCATE TABLE "ks"."t"']


async def test_no_view_is_dropped_beside_one_that_was_not_named(tools: ToolsInMemory) -> None:
    """The first DROP waits until all of the views are known."""
    _has(tools, {"old": "t", "new": "t"})
    with pytest.raises(ViewsChanged, match=r"ks\.new$"):
        await DropViewsJob(tools).run(_context({"ks": ["old"]}))
    assert tools.statements == []


async def test_more_tables_than_the_time_allows_are_emptied_by_several_commands(tools: ToolsInMemory) -> None:
    """Each goes on behind the last table that was emptied; none is emptied twice."""
    arguments = RestoreArguments("tag", HOST, {"ks": ["t", "u"]}, truncate=True)
    tools.time_for.append(1)
    with pytest.raises(TooLate):
        await TruncateJob(tools).run(Context(arguments))
    result = (await TruncateJob(tools).run(Context(arguments))).result
    assert isinstance(result, PhaseResult)
    assert result.done == ["ks.t", "ks.u"]
    assert tools.statements == ['TRUNCATE TABLE "ks"."t"', 'TRUNCATE TABLE "ks"."u"']


async def test_a_note_that_a_crash_cut_empties_its_table_again(tools: ToolsInMemory) -> None:
    """Before any import that is harmless; to pass over a table that may be full would not be."""
    notes = RestoreNotes(tools.state, "job-1")
    await notes.put_truncated("ks", "t", "1")
    await notes.put_truncated("ks", "u", "2")
    path = tools.state / "jobs" / "job-1" / "truncated.jsonl"
    path.write_bytes(path.read_bytes()[:-2])
    assert await notes.truncated() == {("ks", "t", "1")}
    await notes.put_truncated("ks", "u", "2")
    assert await notes.truncated() == {("ks", "t", "1"), ("ks", "u", "2")}


async def test_a_table_that_was_made_anew_since_is_emptied_again(tools: ToolsInMemory) -> None:
    """Promise: a name alone is no proof of an empty table: dropped and made anew it has another id, and rows. A note
    of an earlier release has no id, and proves nothing."""
    notes = RestoreNotes(tools.state, "job-1")
    await notes.put_truncated("ks", "t", "of the table that was dropped")
    path = tools.state / "jobs" / "job-1" / "truncated.jsonl"
    path.write_bytes(path.read_bytes() + b'["ks","u"]\n')
    arguments = RestoreArguments("tag", HOST, {"ks": ["t", "u"]}, truncate=True)
    await TruncateJob(tools).run(Context(arguments))
    assert tools.statements == ['TRUNCATE TABLE "ks"."t"', 'TRUNCATE TABLE "ks"."u"']
    await TruncateJob(tools).run(Context(arguments))
    assert len(tools.statements) == 2
