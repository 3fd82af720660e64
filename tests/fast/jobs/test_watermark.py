"""The guard of the free space goes on whatever it finds."""

import asyncio
import errno
import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.cassandra.errors import CassandraUnavailable, SnapshotUnreadable
from agent.jobs.copying.errors import SnapshotGivenUp
from agent.repository import on_server
from agent.wire.commands import SnapshotArguments
from tests.fast.jobs.agent_in_memory import Agent, Command
from tests.fast.jobs.node import Node


async def looks(agent: Agent, pauses: list[float], count: int) -> list[str]:
    """Let the guard of a copy of `now` look so often; what it gave up."""
    done, given_up = asyncio.Event(), list[str]()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > count:
            done.set()
            await asyncio.Event().wait()

    agent.watermark._sleep = sleep
    await agent.watermark.guarded("now", done.wait(), given_up)
    return given_up


async def test_a_vanished_snapshot_frees_nothing_and_hides_no_other(agent: Agent, node: Node) -> None:
    """Promise: its time has passed, or somebody cleared it, wholly or in part: its note goes, and the next one is
    looked at in the same round."""
    for tag in ("gone", "half", "old", "now"):
        await agent.snapshot.run(Command(tag, SnapshotArguments(tag)))
    agent.in_use.using = lambda tag: ["x"] if tag == "now" else []
    for keyspace, table in node.tables:
        shutil.rmtree(node.table(keyspace, table) / "snapshots" / "gone")
    shutil.rmtree(node.table("many", "t1") / "snapshots" / "half")
    (node.table("shop", "orders") / "nb-1-big-Data.db").unlink()
    for tag in ("half", "now"):
        (node.table("shop", "orders") / "snapshots" / tag / "nb-1-big-Data.db").unlink()
    node.full = [str(node.data)]
    assert await looks(agent, [], 1) == ["old"]
    assert [one.tag for one in await node.ours()] == ["now"]
    assert not await node.exists("half")


async def test_a_snapshot_that_can_not_be_read_wholly_is_neither_cleared_for_that_nor_in_the_way(
    agent: Agent, node: Node
) -> None:
    """Promise: a disk error, or no descriptor left for its manifest.json, makes no snapshot useless, and the others are
    looked at in the same round. It goes as any other does: for what it holds alone."""
    for tag in ("refused", "old", "now"):
        await agent.snapshot.run(Command(tag, SnapshotArguments(tag)))
    agent.in_use.using = lambda tag: ["x"] if tag == "now" else []
    live = node.table("shop", "orders")

    def only_in(tag: str, name: str) -> None:
        for other in (".", *({"snapshots/refused", "snapshots/old", "snapshots/now"} - {f"snapshots/{tag}"})):
            (live / other / name).unlink(missing_ok=True)

    only_in("old", "nb-1-big-Data.db")
    node.full = [str(node.data)]
    whole = node.inventory

    async def refused(tag: str, tables: object = None) -> object:
        if tag == "refused":
            raise SnapshotUnreadable("manifest.json can't be read: Too many open files")
        return await whole(tag)

    node.inventory = refused  # type: ignore[method-assign,assignment]
    assert await looks(agent, [], 1) == ["old"]
    assert await node.exists("refused")
    only_in("refused", "nb-1-big-Index.db")
    assert await looks(agent, [], 1) == ["refused"]


async def test_a_snapshot_that_went_from_all_disks_that_answer_is_given_up(agent: Agent, node: Node) -> None:
    """Promise: the copy of it ends with that reason, though one disk doesn't show whether it is gone from there."""
    await agent.snapshot.run(Command("now", SnapshotArguments("now")))
    (node.table("shop", "orders") / "nb-1-big-Data.db").unlink()
    node.full = [str(node.data)]
    node.refuse_clear = SnapshotUnreadable("the other disk can't be read")
    with pytest.raises(SnapshotGivenUp):
        await looks(agent, [], 1)
    assert await agent.on_server.owed() == ["now"]


async def test_a_fault_in_one_look_ends_neither_the_guard_nor_the_copy(agent: Agent, node: Node) -> None:
    """Promise: it looks again, a little later; once it can, the node is guarded as before."""
    for tag in ("old", "now"):
        await agent.snapshot.run(Command(tag, SnapshotArguments(tag)))
    agent.in_use.using = lambda tag: ["x"] if tag == "now" else []
    (node.table("shop", "orders") / "nb-1-big-Data.db").unlink()
    (node.table("shop", "orders") / "snapshots" / "now" / "nb-1-big-Data.db").unlink()
    node.full = [str(node.data)]
    below, faults = node.volumes_below, iter(range(5))

    async def broken(free_percent: float) -> object:
        if next(faults, None) is not None:
            raise OSError(5, "Input/output error")
        return await below(free_percent)

    node.volumes_below = broken  # type: ignore[method-assign,assignment]
    pauses: list[float] = []
    assert await looks(agent, pauses, 6) == ["old"]
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 5.0]


async def test_a_full_volume_on_which_nothing_can_be_freed_is_looked_at_less_often(agent: Agent, node: Node) -> None:
    """Promise: the guard doesn't read a full disk through every few seconds for nothing, for that slows the copy; it
    looks as often as before once there is room, or something could be freed."""
    for tag in ("old", "now"):
        await agent.snapshot.run(Command(tag, SnapshotArguments(tag)))
    agent.in_use.using = lambda tag: ["x"] if tag == "now" else []
    answers = iter([[str(node.data)]] * 6 + [[]])
    pauses: list[float] = []
    below = node.volumes_below

    async def varying(free_percent: float) -> object:
        node.full = next(answers, [])
        return await below(free_percent)

    node.volumes_below = varying  # type: ignore[assignment, method-assign]
    assert await looks(agent, pauses, 8) == []
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0, 5.0, 5.0]


async def test_a_full_state_disk_keeps_no_snapshot_from_being_given_up(
    agent: Agent, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: where no debt can be written, Cassandra gets its room all the same."""
    await agent.snapshot.run(Command("old", SnapshotArguments("old")))
    (node.table("shop", "orders") / "nb-1-big-Data.db").unlink()
    node.full = [str(node.data)]
    monkeypatch.setattr(on_server, "write_into", no_space)
    assert await looks(agent, [], 1) == ["old"]
    assert not await node.exists("old")


async def test_a_debt_that_was_not_written_is_not_told(
    agent: Agent, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: the log says that a snapshot is owed only where it is tried again by itself."""
    await agent.snapshot.run(Command("old", SnapshotArguments("old")))
    node.refuse_clear = CassandraUnavailable("down")
    with monkeypatch.context() as full, capture_logs() as lines:
        full.setattr(on_server, "write_into", no_space)
        assert not await agent.taker.clear("old")
    assert [line["event"] for line in lines] == ["debt_not_written", "debt_not_written", "snapshot_not_cleared"]
    with capture_logs() as lines:
        assert not await agent.taker.clear("old")
    assert [line["event"] for line in lines] == ["snapshot_owed"]


def no_space(directory: Path, name: str, content: bytes) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
