"""kill -9 before each single operation on the disk, while files are set aside and placed, and while that is undone."""

from pathlib import Path

import pytest

from agent.jobs.point_in_time.clean import PitCleanJob
from agent.wire.results import PhaseResult
from tests.fast.point_in_time.mortal_disk import Killed, MortalDisk
from tests.fast.point_in_time.node_on_disk import OWN_PROPERTIES, NodeOnDisk, Tree


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> MortalDisk:
    return MortalDisk(monkeypatch)


async def fresh(directory: Path) -> tuple[NodeOnDisk, Tree]:
    """A node that is ready for PIT_PLACE, and its files."""
    directory.mkdir()
    node = NodeOnDisk(directory)
    await node.prepare()
    return node, node.tree()


def refuse_loss(node: NodeOnDisk, before: Tree) -> None:
    """Every file that the node had is still on its volumes, under whatever name."""
    assert {inode for inode, _ in before.values()} <= node.all_inodes()


async def killed_while_placing(node: NodeOnDisk, disk: MortalDisk, operation: int) -> None:
    with disk.dying_before(operation), pytest.raises(Killed):
        await node.place()


async def operations_of_place(directory: Path, disk: MortalDisk) -> int:
    node, _ = await fresh(directory)
    with disk.counted():
        await node.place()
    assert disk.count > 60, "the disk was not watched"
    return disk.count


async def test_a_placing_that_is_killed_anywhere_is_finished_by_the_same_command(
    tmp_path: Path, disk: MortalDisk
) -> None:
    """Promise: whatever the moment, nothing that the node had is lost, and calling again ends where an uncut run
    does."""
    whole, _ = await fresh(tmp_path / "whole")
    result = (await whole.place()).result
    wanted = {path: content for path, (_, content) in whole.tree().items()}
    for operation in range(1, await operations_of_place(tmp_path / "counted", disk) + 1):
        node, before = await fresh(tmp_path / str(operation))
        await killed_while_placing(node, disk, operation)
        refuse_loss(node, before)
        again = (await node.place()).result
        refuse_loss(node, before)
        assert {path: content for path, (_, content) in node.tree().items()} == wanted, operation
        assert str(again).replace(str(node.base), "") == str(result).replace(str(whole.base), ""), operation
        assert node.options.lines == whole.options.lines


async def test_a_placing_that_is_killed_anywhere_can_be_undone(tmp_path: Path, disk: MortalDisk) -> None:
    """Promise: whatever the moment, PIT_UNDO gives the node every file that it had, at its place, and starts it; but
    for the drained commit log once Cassandra was told to restore."""
    for operation in range(1, await operations_of_place(tmp_path / "counted", disk) + 1):
        node, before = await fresh(tmp_path / str(operation))
        await killed_while_placing(node, disk, operation)
        told = await node.notes.settings() is not None
        await node.undo()
        refuse_loss(node, before)
        expected = {path: file for path, file in before.items() if not (told and path.startswith("commitlog/"))}
        assert node.tree() == expected, operation
        assert node.properties.read_text() == OWN_PROPERTIES
        assert node.options.lines == {}
        assert node.service.starts == 1


@pytest.mark.parametrize("replayed", [False, True])
async def test_an_undo_that_is_killed_anywhere_is_finished_by_the_same_command(
    tmp_path: Path, disk: MortalDisk, replayed: bool
) -> None:
    """Promise: after a start with what was placed, that failed in its replay or did not, PIT_UNDO killed at any moment
    and called again gives the old tables and hints back, and keeps what Cassandra has written for others since."""
    counted, _ = await fresh(tmp_path / "counted")
    await counted.place()
    await counted.cassandra_ran(replayed=replayed)
    with disk.counted():
        await counted.undo()
    for operation in range(1, disk.count + 1):
        node, before = await fresh(tmp_path / str(operation))
        await node.place()
        await node.cassandra_ran(replayed=replayed)
        mine = {inode for inode, _ in before.values()}
        since = {
            path: file for path, file in node.tree().items() if file[0] not in mine and not path.startswith("data")
        }
        with disk.dying_before(operation), pytest.raises(Killed):
            await node.undo()
        refuse_loss(node, before)
        await node.undo()
        refuse_loss(node, before)
        kept = {path: file for path, file in before.items() if not path.startswith("commitlog/")}
        new = {path: file for path, file in since.items() if not path.endswith("-7-11.log")}
        assert node.tree() == kept | new, operation
        assert "commitlog/CommitLog-7-90.log" in new
        assert node.properties.read_text() == OWN_PROPERTIES
        assert node.options.lines == {}
        assert await node.notes.plan() is None


async def test_an_undo_of_a_placing_cut_in_the_middle_may_be_cut_itself(tmp_path: Path, disk: MortalDisk) -> None:
    """Promise: a kill in each half leaves a state from which the second call of PIT_UNDO gives all back."""
    operations = await operations_of_place(tmp_path / "counted", disk)
    for operation in range(9, operations + 1, 33):
        for second in range(1, 200):
            node, before = await fresh(tmp_path / f"{operation}-{second}")
            await killed_while_placing(node, disk, operation)
            told = await node.notes.settings() is not None
            try:
                with disk.dying_before(second):
                    await node.undo()
                break  # it was through before it was to die
            except Killed:
                refuse_loss(node, before)
            await node.undo()
            expected = {path: file for path, file in before.items() if not (told and path.startswith("commitlog/"))}
            assert node.tree() == expected, (operation, second)
            assert node.properties.read_text() == OWN_PROPERTIES


async def test_a_cleaning_that_is_killed_anywhere_keeps_what_was_replaced(tmp_path: Path, disk: MortalDisk) -> None:
    """Promise: whatever the moment, each file that the tables had is in `aside` or in the snapshot of its table, and
    the same command again ends with all of them in the snapshot."""

    async def opened(directory: Path) -> tuple[NodeOnDisk, set[int]]:
        node, before = await fresh(directory)
        await node.place()
        await node.cassandra_ran(replayed=True)
        await node.notes.put_opened()
        return node, {inode for path, (inode, _) in before.items() if path.startswith("data")}

    counted, _ = await opened(tmp_path / "counted")
    with disk.counted():
        await PitCleanJob(counted.tools).run(counted.context())
    assert disk.count > 20
    for operation in range(1, disk.count + 1):
        node, mine = await opened(tmp_path / str(operation))
        with disk.dying_before(operation), pytest.raises(Killed):
            await PitCleanJob(node.tools).run(node.context())
        assert mine <= node.all_inodes(), operation
        result = (await PitCleanJob(node.tools).run(node.context())).result
        assert mine <= {inode for inode, _ in node.tree().values()}, operation
        assert isinstance(result, PhaseResult)
        assert len(result.warnings) == 1
        assert not [path for path in node.base.rglob(".helenus/**/*") if path.is_file()]
