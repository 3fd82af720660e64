"""Promise (I8): whatever ends a command, its snapshot is cleared, kept or owed, and the first reason is told."""

import errno
from pathlib import Path
from typing import Any

import pytest

from agent.cassandra.errors import CassandraUnavailable
from agent.jobs.copying.errors import CopyFailed
from agent.repository import on_server
from agent.storage.protocol import Denied
from agent.wire.commands import SnapshotArguments, UploadArguments
from tests.fast.jobs.agent_in_memory import Agent, Command, Faults, target
from tests.fast.jobs.node import Node
from tests.fast.jobs.test_backup import backup

UNFORESEEN = [
    PermissionError(errno.EACCES, "Permission denied"),
    ExceptionGroup("several", [OSError(errno.EIO, "Input/output error"), ValueError("a mistake")]),
]


class Failing:
    """Stands for a method: it raises."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def __call__(self, *arguments: Any, **named: Any) -> Any:
        raise self._error


def no_space(directory: Path, name: str, content: bytes) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(directory / name))


@pytest.fixture(params=UNFORESEEN, ids=["one", "group"])
def unforeseen(request: pytest.FixtureRequest) -> Exception:
    error: Exception = request.param
    return error


async def test_an_inventory_that_fails_leaves_no_snapshot(agent: Agent, node: Node, unforeseen: Exception) -> None:
    """Promise: what nobody foresaw clears the snapshot too (I8)."""
    node.inventory = Failing(unforeseen)  # type: ignore[method-assign]
    with pytest.raises(type(unforeseen)):
        await agent.snapshot.run(Command("s", SnapshotArguments("t1")))
    assert not await node.exists("t1")
    assert await agent.on_server.owed() == []


async def test_a_half_done_snapshot_is_owed(agent: Agent, node: Node, unforeseen: Exception) -> None:
    """Promise: a snapshot of unknown extent is listed as owed (I8)."""
    node.fail_half_way = unforeseen
    with pytest.raises(type(unforeseen)):
        await agent.snapshot.run(Command("s", SnapshotArguments("t1")))
    assert await agent.on_server.owed() == ["t1"]


async def test_a_half_done_snapshot_on_a_full_state_disk_tells_its_own_reason(
    agent: Agent, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note of it is a debt too."""
    node.fail_half_way = CassandraUnavailable("down")
    monkeypatch.setattr(on_server, "write_into", no_space)
    with pytest.raises(CassandraUnavailable):
        await agent.snapshot.run(Command("s", SnapshotArguments("t1")))
    assert await agent.taker.clear_owed() == []
    assert not await node.exists("t1")


@pytest.mark.parametrize("stage", ["taken", "storing", "clearing"])
async def test_a_backup_that_breaks_clears_its_snapshot(
    agent: Agent, node: Node, unforeseen: Exception, stage: str
) -> None:
    """Wherever in the work: also where the journal takes no stage."""
    command = breaking(backup("t1"), stage, unforeseen)
    with pytest.raises(type(unforeseen)):
        await agent.backup.run(command)
    assert not await node.exists("t1")


async def test_a_backup_that_breaks_while_cassandra_is_down_owes_its_snapshot(
    agent: Agent, node: Node, unforeseen: Exception
) -> None:
    """Promise: what can't be cleared now is owed, under the error that was first."""
    node.refuse_clear = CassandraUnavailable("down")
    with pytest.raises(type(unforeseen)):
        await agent.backup.run(breaking(backup("t1"), "storing", unforeseen))
    assert await agent.on_server.owed() == ["t1"]


@pytest.mark.parametrize("stage", ["storing", "clearing"])
async def test_an_upload_that_breaks_owes_its_snapshot(
    agent: Agent, node: Node, unforeseen: Exception, stage: str
) -> None:
    """It may be asked for again."""
    await agent.snapshot.run(Command("s", SnapshotArguments("t1")))
    with pytest.raises(type(unforeseen)):
        await agent.upload.run(breaking(Command("u", UploadArguments("t1", [target()])), stage, unforeseen))
    assert await node.exists("t1")
    assert await agent.on_server.owed() == ["t1"]


async def test_an_upload_that_fails_on_a_full_state_disk_tells_its_own_reason(
    agent: Agent, node: Node, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And clears the snapshot, for nothing would ever remind of it."""
    await agent.snapshot.run(Command("s", SnapshotArguments("t1")))
    faults.fail["put"] = Denied("no")
    monkeypatch.setattr(on_server, "write_into", no_space)
    with pytest.raises(CopyFailed, match="storage_denied"):
        await agent.upload.run(Command("u", UploadArguments("t1", [target()])))
    assert not await node.exists("t1")


async def test_a_kept_snapshot_stays_whatever_breaks(agent: Agent, node: Node, unforeseen: Exception) -> None:
    """Promise: an on-server backup outlives the failure of its copies."""
    with pytest.raises(type(unforeseen)):
        await agent.backup.run(breaking(backup("t1", keep=True), "storing", unforeseen))
    assert await node.exists("t1")
    assert await agent.on_server.owed() == []


def breaking(command: Command, stage: str, error: Exception) -> Command:
    """The command, which breaks when it enters that stage."""
    enter = command.enter

    async def breaks(name: str, data: Any | None = None) -> None:
        if name == stage:
            raise error
        await enter(name, data)

    command.enter = breaks  # type: ignore[method-assign,assignment]
    return command
