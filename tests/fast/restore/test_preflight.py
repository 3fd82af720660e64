"""PREFLIGHT gathers what speaks against the restore before anything is touched."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from agent.cassandra.node import CassandraNode
from agent.cassandra.node_view import NodeView
from agent.cassandra.protocol import MemberState
from agent.cassandra.settings import CassandraSettings
from agent.jobs.restore.fetch import FetchJob
from agent.jobs.restore.preflight import PreflightJob
from agent.jobs.restore.tools import RestoreTools
from agent.model.snapshot import KeyspaceSchema
from agent.wire.commands import RestoreArguments, Target
from agent.wire.node import KeyspaceView, NodeIdentity
from agent.wire.results import PreflightResult
from tests.fast.cassandra.directory_control import DirectoryControl
from tests.fast.cassandra.proven_control import OTHER, OWN, proven
from tests.fast.restore.backup_in_memory import HOST, BackupInMemory, identity
from tests.fast.restore.context import Context
from tests.fast.restore.test_replaced_types import schema

LACKING = "not_in_backup"
"""The backup in memory holds one keyspace only."""


class ViewInMemory(NodeView):
    """One keyspace with two tables."""

    async def identity(self) -> NodeIdentity:
        return identity()

    async def keyspaces(self) -> dict[str, KeyspaceView]:
        return {"ks": KeyspaceView({}, True, {"t": "1", "u": "2"}, {})}

    async def setting(self, *names: str) -> str | None:
        return {"materialized_views_enabled": "true", "auto_snapshot": "false"}[names[0]]


@dataclass(frozen=True)
class ToolsInMemory(RestoreTools):
    """A ring of `ring`, and a live schema."""

    ring: dict[str, MemberState] = field(default_factory=dict)
    schemas: dict[str, KeyspaceSchema] = field(default_factory=dict)

    async def members(self) -> dict[str, MemberState]:
        return self.ring

    async def live(self, keyspaces: Sequence[str]) -> dict[str, KeyspaceSchema]:
        return self.schemas


async def test_a_changing_ring_and_a_type_in_use_are_refused_at_once(tmp_path: Path) -> None:
    """With and without truncate; where nothing stands against it nothing is refused. Of a request that empties one
    keyspace beside `system_auth` only emptying that is refused, by name."""
    data = tmp_path / "cassandra" / "data"
    data.mkdir(parents=True)
    node = CassandraNode(CassandraSettings(data_directories=(str(data),)), tmp_path / "state")
    node.view = ViewInMemory(node.cql)
    node.control = DirectoryControl(data)
    tables = {"t": "frozen<outer>", "u": "frozen<inner>"}
    backup = BackupInMemory(["nb-1-big"], (schema("int", tables),))
    tools = ToolsInMemory(node, backup, tmp_path / "state")
    asked = RestoreArguments("tag", HOST, {"ks": ["t"]})

    async def codes(asked: RestoreArguments = asked) -> list[str]:
        result = (await PreflightJob(tools).run(Context(asked))).result
        assert isinstance(result, PreflightResult)
        return [str(refusal["code"]) for refusal in result.refusals]

    tools.schemas["ks"] = schema("int", tables)
    tools.ring["127.0.0.1"] = MemberState(True, "NORMAL")
    assert await codes() == []
    found = (await PreflightJob(tools).run(Context(asked))).result
    assert isinstance(found, PreflightResult)
    assert (found.views_enabled, found.auto_snapshot) == (True, False)
    roles = msgspec.structs.replace(asked, tables={"ks": ["t"], "system_auth": ["roles"]}, truncate=True)
    mixed = msgspec.structs.replace(roles, truncate_keyspaces=["ks"])
    assert [await codes(roles), await codes(mixed)] == [["keyspace_refused", LACKING], [LACKING]]
    refused = (await PreflightJob(tools).run(Context(roles))).result
    assert isinstance(refused, PreflightResult)
    [kept] = [refusal for refusal in refused.refusals if refusal["code"] == "keyspace_refused"]
    assert "can't be emptied" in str(kept["message"])
    assert kept["todo"] == "Restore the named keyspace without truncate, beside the others or alone."
    tools.ring["127.0.0.2"] = MemberState(True, "JOINING")
    tools.schemas["ks"] = schema("text", tables)
    assert sorted(set(await codes())) == ["nodes_moving", "type_in_use"]
    await node.close()


async def test_a_nodetool_of_another_node_is_refused(tmp_path: Path) -> None:
    """Promise: the refusal names the setting, where it leads and both nodes; the members that the other node tells of
    stand in nobody's way."""
    data = tmp_path / "cassandra" / "data"
    data.mkdir(parents=True)
    node = CassandraNode(CassandraSettings(data_directories=(str(data),)), tmp_path / "state")
    node.view = ViewInMemory(node.cql)
    node.control = proven(DirectoryControl(data), behind=OTHER)
    tables = {"t": "int", "u": "int"}
    tools = ToolsInMemory(node, BackupInMemory(["nb-1-big"], (schema("int", tables),)), tmp_path / "state")
    tools.schemas["ks"] = schema("int", tables)
    tools.ring["127.0.0.1"] = MemberState(True, "NORMAL")
    asked = RestoreArguments("tag", HOST, {"ks": ["t"]}, truncate=True)
    result = (await PreflightJob(tools).run(Context(asked))).result
    assert isinstance(result, PreflightResult)
    [refusal] = result.refusals
    assert refusal["code"] == "control_of_another_node"
    for named in ("cassandra.nodetool", "127.0.0.1:7299", "cassandra.cql", OWN, OTHER):
        assert named in str(refusal["message"])
    assert "agent.toml" in str(refusal["todo"])
    await node.close()


async def test_differences_are_told_and_what_is_held_already_needs_no_room(tmp_path: Path) -> None:
    """A restore that is sent again is not refused for room that its own files take."""
    data = tmp_path / "cassandra" / "data"
    data.mkdir(parents=True)
    node = CassandraNode(CassandraSettings(data_directories=(str(data),)), tmp_path / "state")
    node.view = ViewInMemory(node.cql)
    node.control = DirectoryControl(data)
    tables = {"t": "int", "u": "int"}
    backup = BackupInMemory(["nb-1-big", "nb-2-big"], (schema("int", tables),))
    tools = ToolsInMemory(node, backup, tmp_path / "state")
    tools.schemas["ks"] = schema("int", {"t": "text", "u": "int"})
    tools.ring["127.0.0.1"] = MemberState(True, "NORMAL")
    target = Target("d", "r", "c")
    context = Context(RestoreArguments("tag", HOST, {"ks": ["t"]}, target))

    async def found() -> PreflightResult:
        result = (await PreflightJob(tools).run(context)).result
        assert isinstance(result, PreflightResult)
        return result

    first = await found()
    [difference] = first.differences
    assert any("is text, in the backup int" in clause for clause in difference.told)
    assert [need.needed_bytes for need in first.volumes] == [first.bytes]
    await FetchJob(tools).run(context)
    assert [need.needed_bytes for need in (await found()).volumes] == [0]
    await node.close()
