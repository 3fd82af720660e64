"""Whose a snapshot is: a tag names one backup, and what another made under it is nobody's to take away."""

import asyncio
from pathlib import Path

import pytest

from agent.cassandra.errors import CassandraUnavailable, NodetoolTimeout, SnapshotExists
from agent.jobs.owed import OwedSnapshots
from agent.jobs.restore.repository_source import RestoreSources
from agent.repository.catalogue import Catalogue, RecordCache
from agent.repository.errors import BackupNotFound
from agent.repository.opened import OpenedRepository
from agent.storage.protocol import OPEN
from agent.wire.backups import Plan, Record
from agent.wire.commands import BackupArguments, DeleteArguments, RestoreArguments, SnapshotArguments
from tests.fast.jobs.agent_in_memory import CLUSTER, REPOSITORY, Agent, Command, Crash, Repositories, target
from tests.fast.jobs.node import Node
from tests.fast.storage.memory import MemoryStorage


def plan(made_by: str, tag: str = "t1") -> Plan:
    return Plan(tag, "adhoc", 1.0, "test", CLUSTER, [], {}, {}, "v1", made_by=made_by)


async def kept(agent: Agent, made_by: str = "") -> None:
    """An on-server backup `t1`, finished."""
    await agent.on_server.put_plan(plan(made_by))
    await agent.snapshot.run(Command("first", SnapshotArguments("t1", keep=True, made_by=made_by)))
    await agent.on_server.put_record(Record("t1", "adhoc", 1.0, "success", {}, []))


async def is_whole(agent: Agent, node: Node) -> bool:
    return (
        await node.exists("t1")
        and [view.tag for view in await agent.on_server.listing()] == ["t1"]
        and bool(await agent.on_server.manifest("t1", node.host_id))
        and await agent.on_server.owed() == []
    )


async def test_a_cancelled_snapshot_leaves_another_commands_of_that_tag_alone(agent: Agent, node: Node) -> None:
    """Promise: a cancel undoes what its own command made, nothing else: the tag was the first one's."""
    await kept(agent)
    await cancelled(agent, Command("second", SnapshotArguments("t1", keep=True), undo=True), node)
    assert await is_whole(agent, node)


async def test_a_cancelled_backup_leaves_another_commands_of_that_tag_alone(agent: Agent, node: Node) -> None:
    """Promise: as of a snapshot; nor is anything undone in the destination that the other one wrote to."""
    await kept(agent)
    arguments = BackupArguments(SnapshotArguments("t1"), [target("d1")])
    command = Command("second", arguments, undo=True)
    await cancelled(agent, command, node)
    assert await is_whole(agent, node)


async def cancelled(agent: Agent, command: Command, node: Node) -> None:
    """Run the command and have it cancelled while the node is asked for its snapshot."""
    job = agent.backup if isinstance(command.arguments, BackupArguments) else agent.snapshot
    take, asked = node.take, asyncio.Event()

    async def slow(*arguments: object, **named: object) -> object:
        asked.set()
        await asyncio.sleep(3600)
        return await take(*arguments, **named)  # type: ignore[arg-type]

    node.take = slow  # type: ignore[assignment]
    running = asyncio.create_task(job.run(command))
    await asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    node.take = take  # type: ignore[method-assign]


async def test_a_second_backup_of_that_tag_is_refused_and_its_clearing_takes_nothing(agent: Agent, node: Node) -> None:
    """Promise: two coordinators in the same second; the loser's clearing delete names itself, and is told that there
    is nothing of its own."""
    await kept(agent, "winner")
    with pytest.raises(SnapshotExists):
        await agent.snapshot.run(Command("second", SnapshotArguments("t1", keep=True, made_by="loser")))
    with pytest.raises(BackupNotFound):
        await agent.delete.run(Command("clear", DeleteArguments("t1", made_by="loser")))
    assert await is_whole(agent, node)
    await agent.delete.run(Command("own", DeleteArguments("t1", made_by="winner")))
    assert not await node.exists("t1")
    assert await agent.on_server.listing() == []


async def test_a_clearing_delete_takes_the_plan_of_a_backup_that_took_no_snapshot(agent: Agent) -> None:
    """Promise: what never began leaves no files; another one's plan stays."""
    await agent.on_server.put_plan(plan("one"))
    with pytest.raises(BackupNotFound):
        await agent.delete.run(Command("c1", DeleteArguments("t1", made_by="other")))
    assert await agent.on_server.has("t1")
    await agent.delete.run(Command("c2", DeleteArguments("t1", made_by="one")))
    assert not await agent.on_server.has("t1")


async def test_a_snapshot_that_was_copied_goes_without_the_plan_of_another_backup(agent: Agent, node: Node) -> None:
    """Promise: whoever has the snapshot may clear it; files of an on-server backup of that tag are not its own."""
    await agent.snapshot.run(Command("c1", SnapshotArguments("t1", made_by="copy")))
    await agent.on_server.put_plan(plan("other"))
    assert await agent.taker.clear("t1")
    assert not await node.exists("t1")
    assert await agent.on_server.made_by("t1") == "other"


async def test_a_snapshot_beside_the_plan_of_another_backup_is_owed_until_it_is_gone(agent: Agent, node: Node) -> None:
    """Promise (I8): Cassandra refuses: the next clearing takes it, and the other backup is there all the while."""
    await agent.snapshot.run(Command("c1", SnapshotArguments("t1", made_by="copy")))
    await agent.on_server.put_plan(plan("other"))
    node.refuse_clear = CassandraUnavailable("down")
    assert not await agent.taker.clear("t1")
    assert await agent.on_server.owed() == ["t1"]
    assert await agent.on_server.has("t1")
    node.refuse_clear = None
    assert await agent.taker.clear_owed() == []
    assert not await node.exists("t1")
    assert await agent.on_server.owed() == []
    assert await agent.on_server.made_by("t1") == "other"


async def test_a_clearing_takes_its_own_files_beside_the_snapshot_of_another_backup(agent: Agent, node: Node) -> None:
    """Promise: what a refused backup has put goes; the snapshot that refused it stays, and is no third one's."""
    await agent.snapshot.run(Command("c1", SnapshotArguments("t1", made_by="copy")))
    await agent.on_server.put_plan(plan("refused"))
    await agent.on_server.put_record(Record("t1", "adhoc", 1.0, "running", {}, []))
    with pytest.raises(BackupNotFound):
        await agent.delete.run(Command("c2", DeleteArguments("t1", made_by="third")))
    assert await agent.on_server.has("t1")
    await agent.delete.run(Command("c3", DeleteArguments("t1", made_by="refused")))
    assert not await agent.on_server.has("t1")
    assert await node.exists("t1")
    assert await agent.on_server.owed() == []


async def test_a_plan_that_cant_be_read_keeps_nothing_from_going(agent: Agent, node: Node, tmp_path: Path) -> None:
    """Promise: it names nobody, so the snapshot's maker may delete what it made."""
    await kept(agent, "one")
    (tmp_path / "state" / "on-server" / "t1" / "plan.json").write_bytes(b"{")
    await agent.delete.run(Command("c", DeleteArguments("t1", made_by="one")))
    assert not await node.exists("t1")
    assert await agent.on_server.listing() == []


async def test_files_of_an_on_server_backup_that_failed_are_deleted_like_any_other(agent: Agent) -> None:
    """Promise: what failed is listed, and can be removed although there is no snapshot of it."""
    await agent.on_server.put_plan(plan(""))
    await agent.on_server.put_record(Record("t1", "adhoc", 1.0, "failed", {}, []))
    assert [view.tag for view in await agent.on_server.listing()] == ["t1"]
    await agent.delete.run(Command("c", DeleteArguments("t1")))
    assert await agent.on_server.listing() == []
    with pytest.raises(BackupNotFound):
        await agent.delete.run(Command("again", DeleteArguments("t1")))


@pytest.mark.parametrize("trouble", [CassandraUnavailable("down"), Crash()])
async def test_a_deleted_backup_whose_snapshot_cant_be_cleared_is_owed_and_paid(
    agent: Agent, node: Node, store: MemoryStorage, tmp_path: Path, trouble: BaseException
) -> None:
    """Promise (I8): Cassandra refuses, or the agent dies just then: the backup is gone for everybody, and its snapshot
    goes by itself once Cassandra lets it."""
    await kept(agent)
    node.refuse_clear = trouble
    with pytest.raises(type(trouble)):
        await agent.delete.run(Command("c", DeleteArguments("t1")))
    assert await agent.on_server.listing() == []
    assert await node.exists("t1")
    await one_round(Agent(node, {"d1": store}, tmp_path / "state"))
    assert await node.exists("t1"), "Cassandra still refuses"
    node.refuse_clear = None
    await one_round(Agent(node, {"d1": store}, tmp_path / "state"))
    assert not await node.exists("t1")
    assert await agent.on_server.owed() == []


async def test_an_agent_that_dies_while_it_pays_a_debt_still_has_it(
    agent: Agent, node: Node, store: MemoryStorage, tmp_path: Path
) -> None:
    """Promise (I8): the note of what is owed goes after the snapshot, never before it."""
    await agent.snapshot.run(Command("c", SnapshotArguments("t1")))
    await agent.on_server.owe("t1")
    node.refuse_clear = Crash()
    with pytest.raises(Crash):
        await agent.taker.clear_owed()
    started = Agent(node, {"d1": store}, tmp_path / "state")
    assert await started.on_server.owed() == ["t1"]
    node.refuse_clear = None
    await one_round(started)
    assert not await node.exists("t1")


async def test_a_tag_that_is_free_again_has_no_debt_of_the_one_before(agent: Agent, node: Node) -> None:
    """Promise: what is left of a debt that was paid never takes a later snapshot away."""
    await agent.on_server.owe("t1", doomed=True)
    await kept(agent)
    await one_round(agent)
    assert await is_whole(agent, node)


async def test_a_deleted_backup_is_no_source_of_a_restore(agent: Agent, node: Node, store: MemoryStorage) -> None:
    """Promise: from the debt on it is not there, also where its manifest is still on the disk."""
    await kept(agent)
    sources = RestoreSources(Repositories({"d1": store}), node, agent.on_server)
    arguments = RestoreArguments("t1", node.host_id, {"shop": ["orders"]})
    async with sources.opened(arguments) as source:
        assert source.head.tag == "t1"
    await agent.on_server.owe("t1", doomed=True)
    with pytest.raises(BackupNotFound):
        async with sources.opened(arguments):
            pass


@pytest.mark.parametrize("again", ["first", "second"])
@pytest.mark.parametrize("doomed", [False, True])
async def test_the_debt_of_a_failed_try_doesnt_take_the_next_ones_snapshot_away(
    agent: Agent, node: Node, again: str, doomed: bool
) -> None:
    """Promise (I8): what a try left half done, and owed, is cleared and taken again; what stands then is nobody's
    debt, neither for the loop nor for the next snapshot."""
    await agent.on_server.put_plan(plan("request"))
    arguments = SnapshotArguments("t1", keep=True, made_by="request")
    node.fail_half_way = CassandraUnavailable("it is away")
    with pytest.raises(CassandraUnavailable):
        await agent.snapshot.run(Command("first", arguments))
    await agent.on_server.owe("t1", doomed=doomed)
    node.fail_half_way = None
    await agent.snapshot.run(Command(again, arguments))
    await agent.taker.clear_owed(but="t2")
    await one_round(agent)
    assert await is_whole(agent, node)


async def test_a_delete_takes_nothing_of_a_backup_whose_snapshot_is_being_taken(agent: Agent, node: Node) -> None:
    """Promise: a clearing of an earlier round that comes late leaves the plan of the next one alone."""
    await agent.on_server.put_plan(plan("request"))
    node.fail_half_way = NodetoolTimeout("it did not end")
    arguments = SnapshotArguments("t1", keep=True, made_by="request")
    with pytest.raises(NodetoolTimeout):
        await agent.snapshot.run(Command("snapshot", arguments))
    agent.in_use.using = lambda tag: ["snapshot", "late"]
    with pytest.raises(BackupNotFound):
        await agent.delete.run(Command("late", DeleteArguments("t1", made_by="request")))
    node.fail_half_way = None
    await agent.snapshot.run(Command("snapshot", arguments))
    assert await is_whole(agent, node)
    assert await agent.on_server.made_by("t1") == "request"


async def test_a_clearing_that_is_under_way_ends_before_the_next_try_begins(agent: Agent, node: Node) -> None:
    """Promise: the loop never clears what a command has begun after it looked whether one works on it."""
    node.fail_half_way = NodetoolTimeout("it did not end")
    arguments = SnapshotArguments("t1", keep=True, made_by="request")
    with pytest.raises(NodetoolTimeout):
        await agent.snapshot.run(Command("first", arguments))
    node.fail_half_way = None
    clear, asked, go = node.clear, asyncio.Event(), asyncio.Event()

    async def slow(tag: str) -> None:
        node.clear = clear  # type: ignore[method-assign]
        asked.set()
        await go.wait()
        await clear(tag)

    node.clear = slow  # type: ignore[method-assign]
    clearing = asyncio.create_task(agent.taker.clear_unwanted())
    await asked.wait()
    agent.in_use.using = lambda tag: ["second"]
    taking = asyncio.create_task(agent.snapshot.run(Command("second", arguments)))
    await asyncio.wait({taking}, timeout=0.2)  # it would be done by then
    go.set()
    await asyncio.gather(clearing, taking)
    assert await is_whole(agent, node)


async def test_a_fault_in_one_round_doesnt_end_the_loop_of_owed_snapshots(agent: Agent, node: Node) -> None:
    """Promise: a disk that fails for a moment doesn't end the daemon; it looks again, later and later."""
    node.fail_half_way = NodetoolTimeout("it did not end")
    with pytest.raises(NodetoolTimeout):
        await agent.snapshot.run(Command("c", SnapshotArguments("t1")))
    slept: list[float] = []
    ours = node.ours

    async def broken() -> None:
        raise OSError(5, "Input/output error")

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 6:
            node.ours = ours  # type: ignore[method-assign]
        if len(slept) == 7:
            raise Stop

    node.ours = broken  # type: ignore[assignment]
    with pytest.raises(Stop):
        await OwedSnapshots(agent.taker, sleep=sleep).run()
    assert slept == [120.0, 240.0, 480.0, 900.0, 900.0, 900.0, 60.0]
    assert not await node.exists("t1")


class Stop(Exception):
    """The agent stops."""


async def one_round(agent: Agent) -> None:
    """The loop of owed snapshots, once."""

    async def sleep(seconds: float) -> None:
        raise Stop

    with pytest.raises((Stop, Crash)):
        await OwedSnapshots(agent.taker, sleep=sleep).run()
    agent.close()


async def test_a_mark_for_a_cancelled_backup_is_not_put_on_another_one(agent: Agent, store: MemoryStorage) -> None:
    """Promise: a destination keeps a backup whose tag a second one only wanted."""
    catalogue = Catalogue(OpenedRepository("d1", store, REPOSITORY, CLUSTER, OPEN, 4), RecordCache())
    await catalogue.put_plan(plan("winner"))
    with pytest.raises(BackupNotFound):
        await agent.delete.run(Command("c1", DeleteArguments("t1", target("d1"), "loser")))
    assert not (await catalogue.view("t1")).deleted
    await agent.delete.run(Command("c2", DeleteArguments("t1", target("d1"), "winner")))
    assert (await catalogue.view("t1")).deleted
