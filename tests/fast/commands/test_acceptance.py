"""Which commands are taken, and which may begin."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agent.commands import acceptance
from agent.commands.errors import (
    CommandDiffers,
    FenceTooLow,
    TagInUse,
    TooManyCommands,
    UnknownCoordinator,
    UnsupportedKind,
)
from agent.model.refusals import ImportHasBegun, TooLate
from agent.wire.commands import Kind, State
from agent.wire.names import InvalidName
from kit.errors import HelenusError, InvalidInput
from tests.fast.commands.tiny_agent import (
    HOST_ID,
    TARGET,
    Clock,
    Gate,
    backup,
    delete,
    everything,
    quick,
    restore,
    running,
    snapshot,
    sync,
)


async def test_fifty_posts_of_one_command_at_once_are_one_run(tmp_path: Path) -> None:
    """Identity: the same again is the same command, however many post it at once."""
    gate = Gate()
    gate.open.set()
    async with running(tmp_path / "j", everything(gate)) as agent:
        views = await asyncio.gather(*(agent.post("a", Kind.DELETE, delete()) for _ in range(50)))
        ended = await agent.until("a")
        again = await agent.post("a", Kind.DELETE, delete())
    assert {view.id for view in views} == {"a"}
    assert gate.begun == ["a"]
    assert ended.state is again.state is State.SUCCESS
    assert again.result == ended.result


async def test_an_agent_holds_no_more_than_so_many_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a coordinator gone wild fills no journal; what was accepted is answered, and there is room again when
    something has ended."""
    monkeypatch.setattr(acceptance, "MOST_UNFINISHED", 2)
    gate = Gate()
    async with running(tmp_path / "j", everything(gate)) as agent:
        await agent.post("a", Kind.DELETE, delete("t1"))
        await agent.post("b", Kind.DELETE, delete("t2"))
        with pytest.raises(TooManyCommands) as refused:
            await agent.post("c", Kind.DELETE, delete("t3"))
        assert refused.value.as_dict()["fields"] == {"unfinished": 2}
        assert (await agent.post("b", Kind.DELETE, delete("t2"))).id == "b"
        gate.open.set()
        await agent.until("b")
        assert (await agent.post("c", Kind.DELETE, delete("t3"))).id == "c"


async def test_arguments_are_compared_by_meaning_not_by_spelling(tmp_path: Path) -> None:
    """Identity is over canonical arguments: order of fields and defaults written out make no other command."""
    async with running(tmp_path / "j", everything(quick)) as agent:
        await agent.post("a", Kind.SNAPSHOT, {"tag": "t1", "keyspaces": {"b": [], "a": ["x"]}})
        same = {"keep": False, "keyspaces": {"a": ["x"], "b": []}, "tag": "t1", "backup_id": "adhoc"}
        assert (await agent.post("a", Kind.SNAPSHOT, same)).id == "a"
        with pytest.raises(CommandDiffers):
            await agent.post("a", Kind.SNAPSHOT, {**same, "keep": True})
        with pytest.raises(CommandDiffers):
            await agent.post("a", Kind.DELETE, delete())


async def test_a_command_of_before_an_upgrade_is_still_the_same_command(tmp_path: Path) -> None:
    """A release that adds a field with a default finds the commands that an older one wrote without it."""
    body = {"tag": "t1", "keyspaces": {"a": ["x"]}}
    async with running(tmp_path / "j", everything(quick)) as agent:
        await agent.post("a", Kind.SNAPSHOT, body)
        await agent.until("a")
    with sqlite3.connect(tmp_path / "j") as journal:
        stored = json.loads(journal.execute("SELECT arguments FROM commands").fetchone()[0])
        del stored["keep"]
        journal.execute("UPDATE commands SET arguments = ?", (json.dumps(stored).encode(),))
    journal.close()
    async with running(tmp_path / "j", everything(quick), instance="second") as agent:
        assert (await agent.post("a", Kind.SNAPSHOT, body)).state is State.SUCCESS
        with pytest.raises(CommandDiffers):
            await agent.post("a", Kind.SNAPSHOT, {**body, "keep": True})


async def test_a_lower_fence_is_refused_also_after_a_restart(tmp_path: Path) -> None:
    """An agent keeps the highest fence per job: a coordinator that was replaced can't go on."""
    async with running(tmp_path / "j", everything(quick)) as agent:
        await agent.post("a", Kind.FETCH, restore(), job="j1", fence=3)
        with pytest.raises(FenceTooLow) as refused:
            await agent.post("b", Kind.TRUNCATE, restore(), job="j1", fence=2)
        assert refused.value.fields["highest"] == 3
        await agent.post("c", Kind.FETCH, restore(), job="j2", fence=1)
        assert (await agent.post("a", Kind.FETCH, restore(), job="j1", fence=1)).id == "a"
    async with running(tmp_path / "j", everything(quick), instance="second") as agent:
        with pytest.raises(FenceTooLow):
            await agent.post("b", Kind.TRUNCATE, restore(), job="j1", fence=2)
        await agent.post("a", Kind.FETCH, restore(), job="j1", fence=5)
        with pytest.raises(FenceTooLow):
            await agent.post("b", Kind.TRUNCATE, restore(), job="j1", fence=4)


async def test_a_fence_that_rises_while_a_truncate_is_queued_stops_it(tmp_path: Path) -> None:
    """Fences hold at the moment of beginning, not only at that of acceptance."""
    gate = Gate()
    async with running(tmp_path / "j", everything(gate)) as agent:
        await agent.post("first", Kind.FETCH, restore(), job="j1", fence=1)
        await agent.post("late", Kind.TRUNCATE, restore(), job="j1", fence=1)
        await agent.post("new", Kind.CHECK, restore(), job="j1", fence=2)
        gate.open.set()
        late = await agent.until("late")
        await agent.until("new")
    assert late.state is State.FAILED
    assert late.error is not None
    assert late.error["code"] == "fence_too_low"
    assert gate.begun == ["first", "new"]


async def test_truncate_and_ddl_are_refused_once_the_import_has_begun(tmp_path: Path) -> None:
    """A late or repeated truncate can't remove rows that an import brought back; views may be made afterwards."""
    async with running(tmp_path / "j", everything(quick)) as agent:
        await agent.post("t", Kind.TRUNCATE, restore(), job="j1", fence=1)
        await agent.post("i", Kind.IMPORT, restore(), job="j1", fence=1)
        await agent.until("i")
    async with running(tmp_path / "j", everything(quick), instance="second") as agent:
        for kind in (Kind.TRUNCATE, Kind.SCHEMA, Kind.DROP_VIEWS):
            with pytest.raises(ImportHasBegun):
                await agent.post(f"x{kind}", kind, restore(), job="j1", fence=9)
        assert (await agent.post("t", Kind.TRUNCATE, restore(), job="j1", fence=1)).state is State.SUCCESS
        await agent.post("v", Kind.CREATE_VIEWS, restore(), job="j1", fence=1)
        await agent.post("other", Kind.TRUNCATE, restore(), job="j2", fence=1)
        assert (await agent.until("v")).state is State.SUCCESS


async def test_a_command_past_its_moment_does_not_begin(tmp_path: Path) -> None:
    """`not_after` is looked at when the command comes and when its turn comes."""
    clock, gate = Clock(), Gate()
    async with running(tmp_path / "j", everything(gate), clock=clock) as agent:
        with pytest.raises(TooLate):
            await agent.post("old", Kind.TRUNCATE, restore(), job="j1", not_after=clock.now - 1)
        await agent.post("first", Kind.FETCH, restore(), job="j1")
        await agent.post("late", Kind.TRUNCATE, restore(), job="j1", not_after=clock.now + 60)
        clock.now += 61
        gate.open.set()
        late = await agent.until("late")
    assert late.state is State.FAILED
    assert late.error is not None
    assert late.error["code"] == "too_late"
    assert gate.begun == ["first"]


async def test_two_backups_of_one_tag_and_a_delete_beside_its_user_are_refused(tmp_path: Path) -> None:
    """A tag belongs to one unfinished backup; a running restore, sync or backup pins it against DELETE."""
    gate = Gate()
    async with running(tmp_path / "j", everything(gate)) as agent:
        await agent.post("a", Kind.BACKUP, backup("t1"))
        with pytest.raises(TagInUse) as refused:
            await agent.post("b", Kind.SNAPSHOT, snapshot("t1"))
        assert refused.value.fields["command"] == "a"
        with pytest.raises(TagInUse):
            await agent.post("c", Kind.DELETE, delete("t1"))
        await agent.post("d", Kind.SYNC, sync("t1"))
        await agent.post("e", Kind.FETCH, restore("t2"), job="j1")
        with pytest.raises(TagInUse):
            await agent.post("f", Kind.DELETE, delete("t2"))
        gate.open.set()
        await agent.until("a")
        await agent.until("d")
        await agent.until("e")
        await agent.post("b", Kind.SNAPSHOT, snapshot("t1"))
        await agent.until("b")
        await agent.post("c", Kind.DELETE, delete("t1"))
        assert (await agent.until("c")).state is State.SUCCESS


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [(Kind.SNAPSHOT, snapshot("t1")), (Kind.BACKUP, backup("t1")), (Kind.SYNC, sync("t1")), (Kind.UPLOAD, sync("t1"))],
)
async def test_snapshots_and_copies_wait_for_an_unfinished_delete_of_their_tag(
    tmp_path: Path, kind: Kind, arguments: dict[str, Any]
) -> None:
    """A clearing that is still queued would take away the snapshot of the round after it; a mark that is put while a
    copy runs would make a deleted backup of one that says it succeeded."""
    gate = Gate()
    async with running(tmp_path / "j", everything(gate)) as agent:
        await agent.post("other", Kind.SWEEP, {"target": TARGET})
        await agent.post("clear", Kind.DELETE, delete("t1"))
        with pytest.raises(TagInUse) as refused:
            await agent.post("again", kind, arguments)
        assert refused.value.fields["command"] == "clear"
        assert refused.value.retry == "later"
        gate.open.set()
        await agent.until("clear")
        await agent.post("again", kind, arguments)
        assert (await agent.until("again")).state is State.SUCCESS


@pytest.mark.parametrize(
    ("kind", "arguments", "envelope", "error", "where"),
    [
        (Kind.SNAPSHOT, {"tag": "../x"}, {}, InvalidName, "arguments.tag"),
        (Kind.SNAPSHOT, {"tag": "t\0"}, {}, InvalidName, "arguments.tag"),
        (Kind.SNAPSHOT, {"tag": "-rf"}, {}, InvalidName, "arguments.tag"),
        (Kind.SNAPSHOT, {"tag": "t" * 300}, {}, InvalidName, "arguments.tag"),
        (Kind.SNAPSHOT, {"tag": "t", "keyspaces": {'"a"': []}}, {}, InvalidName, "arguments.keyspaces"),
        (Kind.SNAPSHOT, {"tag": "t", "keyspaces": {"a": ["b/c"]}}, {}, InvalidName, "arguments.keyspaces.a"),
        (Kind.SNAPSHOT, {"tag": "t", "keyspaces": {}}, {}, InvalidInput, "arguments.keyspaces"),
        (Kind.UPLOAD, {"tag": "t", "targets": []}, {}, InvalidInput, "arguments.targets"),
        (Kind.UPLOAD, {"tag": "t", "targets": [TARGET, TARGET]}, {}, InvalidInput, "arguments.targets[1].destination"),
        (Kind.SYNC, {"tag": "t", "targets": [{**TARGET, "destination": "a/b"}]}, {}, InvalidName, None),
        (
            Kind.SYNC,
            {"tag": "t", "targets": [TARGET], "source": {**TARGET, "destination": "d9"}},
            {},
            InvalidName,
            "arguments.source_host_id",
        ),
        (
            Kind.SYNC,
            {"tag": "t", "targets": [TARGET], "source": TARGET, "source_host_id": HOST_ID},
            {},
            InvalidInput,
            "arguments.source",
        ),
        (Kind.DELETE, {"tag": "t", "colour": 1}, {}, InvalidInput, "arguments"),
        (Kind.DELETE, {"tag": 7}, {}, InvalidInput, "arguments"),
        (Kind.SWEEP, {"target": TARGET, "margin_seconds": -1}, {}, InvalidInput, "arguments.margin_seconds"),
        (Kind.FETCH, {**restore(), "source_host_id": "10.0.0.1"}, {}, InvalidName, "arguments.source_host_id"),
        (Kind.FETCH, {**restore(), "source_host_id": HOST_ID + "\n"}, {}, InvalidName, "arguments.source_host_id"),
        (Kind.FETCH, {**restore(), "tables": {}}, {}, InvalidInput, "arguments.tables"),
        (Kind.FETCH, {**restore(), "batch_sstables": 0}, {}, InvalidInput, "arguments.batch_sstables"),
        (Kind.IMPORT, restore(), {}, InvalidInput, "job"),
        (Kind.DELETE, delete(), {"job": "../j"}, InvalidName, "job"),
        (Kind.DELETE, delete(), {"fence": -1}, InvalidInput, "fence"),
        (Kind.DELETE, delete(), {"not_after": float("nan")}, InvalidInput, "not_after"),
        (Kind.DELETE, delete(), {"report_to": "http://evil"}, InvalidName, "report_to"),
        (Kind.DELETE, delete(), {"report_to": "stranger"}, UnknownCoordinator, None),
    ],
)
async def test_bad_input_is_named_and_leaves_no_trace(
    tmp_path: Path,
    kind: Kind,
    arguments: dict[str, Any],
    envelope: dict[str, Any],
    error: type[HelenusError],
    where: str | None,
) -> None:
    """Names and values are checked before anything is looked up or kept."""
    async with running(tmp_path / "j", everything(quick)) as agent:
        with pytest.raises(error) as refused:
            await agent.post("a", kind, arguments, **envelope)
        assert await agent.runner.views() == []
    if where is not None:
        assert where in (refused.value.fields.get("where"), refused.value.fields.get("field"))


async def test_a_kind_without_a_job_is_refused_by_name(tmp_path: Path) -> None:
    """An agent says what it can't do instead of accepting it."""
    jobs = {Kind.SNAPSHOT: everything(quick)[Kind.SNAPSHOT]}
    async with running(tmp_path / "j", jobs) as agent:
        with pytest.raises(UnsupportedKind):
            await agent.post("a", Kind.SWEEP, {"target": TARGET})
