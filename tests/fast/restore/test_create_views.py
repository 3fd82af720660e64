"""CREATE VIEWS ends when every live node has built every view, and tells what those that are down owe."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.cassandra.cql import Cql, Row
from agent.cassandra.node import CassandraNode
from agent.cassandra.node_view import NodeView
from agent.cassandra.settings import CassandraSettings
from agent.jobs.restore.create_views import CreateViewsJob
from agent.jobs.restore.tools import RestoreTools
from agent.wire.commands import RestoreArguments
from agent.wire.node import KeyspaceView, RingMember
from agent.wire.results import PhaseResult
from tests.fast.restore.backup_in_memory import HOST, BackupInMemory
from tests.fast.restore.context import Context

STATEMENT = "CREATE MATERIALIZED VIEW ks.v AS SELECT * FROM ks.t WHERE a IS NOT NULL PRIMARY KEY (a);"
ADDRESSES = {"host-1": "127.0.0.1", "host-2": "127.0.0.2"}


class Builds(Cql):
    """`system_distributed.view_build_status`: host id → status."""

    status: dict[str, str]

    async def rows(self, statement: str, *, deadline: float | None = None) -> list[Row]:
        assert "view_name = 'v'" in statement
        return [{"host_id": host, "status": status} for host, status in self.status.items()]


class TwoNodes(NodeView):
    """A ring of two; the view is there already."""

    async def keyspaces(self) -> dict[str, KeyspaceView]:
        return {"ks": KeyspaceView({}, True, {"t": "1"}, {"v": "t"})}

    async def ring(self, members: object = None) -> list[RingMember]:
        return [RingMember(host, at, "dc1", "r1", "NORMAL", None, [], "5.0", None) for host, at in ADDRESSES.items()]


@dataclass(frozen=True)
class Tools(RestoreTools):
    """`away`: the addresses that are down."""

    away: list[str] = field(default_factory=list)

    async def down(self) -> list[str]:
        return self.away


@pytest.fixture
async def tools(tmp_path: Path) -> AsyncIterator[Tools]:
    node = CassandraNode(CassandraSettings(), tmp_path)
    builds = Builds(node.settings.cql)
    builds.status = {"host-1": "SUCCESS", "host-2": "STARTED"}
    node.cql, node.view = builds, TwoNodes(builds)
    yield Tools(node, BackupInMemory([]), tmp_path)
    await node.close()


async def run(tools: Tools, builds: Builds | None = None) -> tuple[PhaseResult, int]:
    """The result, and how often it paused; `builds` are done at the third pause."""
    pauses = 0

    async def sleep(seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        assert builds is not None, "it waits for a node that is down"
        if pauses == 3:
            builds.status["host-2"] = "SUCCESS"

    job = CreateViewsJob(tools, sleep)
    result = (await job.run(Context(RestoreArguments("tag", HOST, {"ks": ["t"]}, statements=[STATEMENT])))).result
    assert isinstance(result, PhaseResult)
    return result, pauses


async def test_views_are_waited_for_until_every_live_node_has_built_them(tools: Tools) -> None:
    """Promise: after a restore that ended well a view answers on each node that is up."""
    assert isinstance(tools.node.cql, Builds)
    result, pauses = await run(tools, tools.node.cql)
    assert (result.done, result.warnings, pauses) == (["ks.v"], [], 3)


async def test_what_a_node_that_is_down_owes_is_told_and_not_waited_for(tools: Tools) -> None:
    """Promise: a dead node holds up no restore, and its owed view is named with its address."""
    tools.away.append("127.0.0.2")
    result, pauses = await run(tools)
    assert (result.done, pauses) == (["ks.v"], 0)
    assert result.warnings == ["the view ks.v is not built yet on 127.0.0.2"]
