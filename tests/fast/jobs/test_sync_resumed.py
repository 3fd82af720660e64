"""A sync from a destination that goes on after a restart, when the source fails it or is gone."""

import pytest

from agent.cassandra.errors import SnapshotMissing
from agent.repository.errors import BackupNotFound
from agent.storage.protocol import Transient
from agent.wire.commands import DeleteArguments, State, SyncArguments, UploadArguments
from agent.wire.results import UploadResult
from tests.fast.jobs.agent_in_memory import (
    Command,
    target,
)
from tests.fast.jobs.four_destinations import Four, ended, intents, sync, synced
from tests.fast.jobs.test_backup import backup, same
from tests.fast.jobs.test_crashes import until_crash


async def test_a_resume_whose_source_is_gone_leaves_no_intent(four: Four) -> None:
    """Promise: what an earlier run had begun at the target is taken back when there is nothing to go on with; what it
    had published everywhere is told, whatever became of the source."""
    await four.agent.backup.run(backup("t1", "p1"))
    command = sync("p1", "p2")
    four.faults["p2"].begin(9)
    assert await until_crash(four.agent, command, "sync")
    assert intents(four, "p2")
    for faults in four.faults.values():
        faults.begin(None)
    kept = dict(four.stores["p1"]._objects)
    four.stores["p1"]._objects.clear()
    four.agent = four.started()
    with pytest.raises(BackupNotFound):
        await four.agent.sync.run(command)
    assert intents(four, "p2") == []
    four.stores["p1"]._objects.update(kept)
    again = sync("p1", "p2")
    await four.agent.sync.run(again)
    four.stores["p1"]._objects.clear()
    assert (await synced(four.agent, again))["p2"].outcome == "success"


async def test_a_resume_whose_source_is_gone_tells_what_it_published_of_several_targets(four: Four) -> None:
    """Promise: a target that got the backup in an earlier run is told as done when the source is gone before the others
    have it; only those failed, and what was begun there is taken back."""
    await four.agent.backup.run(backup("t1", "p1"))
    command = sync("p1", "p2", "e1")
    command.saved = (await ended(four, sync("p1", "p2"))).saved
    four.faults["e1"].begin(9)
    assert await until_crash(four.agent, command, "sync")
    assert intents(four, "e1")
    four.faults["e1"].begin(None)
    await four.agent.delete.run(Command("d", DeleteArguments("t1", target("p1"))))
    four.agent = four.started()
    outcome = await four.agent.sync.run(command)
    assert isinstance(outcome.result, UploadResult)
    results = outcome.result.targets
    assert {name: one.outcome for name, one in results.items()} == {"p2": "success", "e1": "failed"}
    assert results["e1"].error is not None
    assert (outcome.state, results["e1"].error["code"]) == (State.PARTIAL, "backup_deleted")
    assert intents(four, "e1") == []
    assert same(four.found("p2", idle=False), four.node)


async def test_what_was_published_is_told_when_the_source_fails_while_it_is_read(four: Four) -> None:
    """Promise: a source that fails in the middle of a resumed sync fails only the targets that hadn't got all yet; what
    the other has is counted once."""
    await four.agent.backup.run(backup("t1", "p1"))
    command = sync("p1", "p2", "e1")
    first = await ended(four, sync("p1", "p2"))
    command.saved = first.saved

    async def hook(verb: str, key: str) -> None:
        if verb == "get" and "/data/" in key:
            raise Transient("no answer")

    four.stores["p1"]._hook = hook
    outcome = await four.agent.sync.run(command)
    assert isinstance(outcome.result, UploadResult)
    results = outcome.result.targets
    assert {name: one.outcome for name, one in results.items()} == {"p2": "success", "e1": "failed"}
    assert outcome.state is State.PARTIAL
    assert intents(four, "e1") == []


@pytest.mark.parametrize("kind", ["sync", "upload"])
async def test_what_was_published_is_told_when_the_snapshot_is_gone(four: Four, kind: str) -> None:
    """Promise: resumed without its snapshot, a copy tells what an earlier run of it published, and why the other target
    has nothing; one that published nothing fails by the snapshot's name."""
    await four.agent.backup.run(backup("t1", "p1", keep=True))
    first = Command("s", SyncArguments("t1", [target("p2")]))
    await four.agent.sync.run(first)
    await four.node.clear("t1")
    targets = [target("p2"), target("e1")]
    arguments = SyncArguments("t1", targets) if kind == "sync" else UploadArguments("t1", targets)
    again = Command("s", arguments, saved=first.saved)
    outcome = await getattr(four.agent, kind).run(again)
    assert isinstance(outcome.result, UploadResult)
    results = outcome.result.targets
    assert (outcome.state, results["p2"].outcome, results["e1"].outcome) == (State.PARTIAL, "success", "failed")
    assert (results["e1"].error or {})["code"] == SnapshotMissing.code
    with pytest.raises(SnapshotMissing):
        await getattr(four.agent, kind).run(Command("s2", arguments))
