"""A command's life: lanes, ends, cancel, stop and restart."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from agent.commands.errors import AgentStopping, JournalFailed, PastThePointOfReturn, UnknownCommand
from agent.commands.journal import Journal
from agent.commands.records import CommandRecord
from agent.model.job import JobContext, Outcome
from agent.progress.tally import CommandTally
from agent.wire.commands import Event, Kind, State
from agent.wire.results import FreedResult
from kit.errors import HelenusError
from tests.fast.commands.tiny_agent import (
    DEADLINE,
    Gate,
    TinyAgent,
    backup,
    delete,
    everything,
    quick,
    restore,
    running,
    snapshot,
    sync,
)


class DiskGone(HelenusError):
    """A test's error."""

    code = "disk_gone"
    retry = "later"


async def test_a_lane_runs_one_at_a_time_in_order_and_lanes_run_side_by_side(tmp_path: Path) -> None:
    """The data lane is the lock of the node's prefix; a snapshot needn't wait for an upload."""
    gates: dict[str, Gate] = {name: Gate() for name in ("s", "d1", "d2", "d3", "r")}

    async def job(context: JobContext) -> Outcome:
        return await gates[context.command_id](context)

    async with running(tmp_path / "j", everything(job)) as agent:
        for name in ("d1", "d2", "d3"):
            await agent.post(name, Kind.SYNC, sync(name))
        await agent.post("s", Kind.SNAPSHOT, snapshot("s"))
        await agent.post("r", Kind.FETCH, restore(), job="j1")
        async with asyncio.timeout(DEADLINE):
            for name in ("s", "d1", "r"):
                await gates[name].inside.wait()
        assert not gates["d2"].begun
        for name in ("d1", "d2", "d3"):
            gates[name].open.set()
            await agent.until(name)
            assert [n for n in ("d1", "d2", "d3") if gates[n].begun][-1] >= name
        started = [view.started for view in reversed(await agent.runner.views()) if view.id.startswith("d")]
        assert started == sorted(started, key=lambda when: when or 0.0)


async def test_errors_of_a_job_become_the_commands_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A HelenusError is shown as it is, also out of a task group; anything else is `internal`, its text only logged."""

    async def job(context: JobContext) -> Outcome:
        match context.command_id:
            case "known":
                raise DiskGone("the disk is gone", disk="sda")
            case "group":
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_raise(DiskGone("from a task", disk=Path("sdb"))))
            case "unknown":
                raise KeyError("a secret text")
        return Outcome(FreedResult(), State.PARTIAL, {"code": "some", "message": "m"})

    async with running(tmp_path / "j", everything(job)) as agent:
        for name in ("known", "group", "unknown", "partial"):
            await agent.post(name, Kind.DELETE, delete(name))
        known, group, unknown, partial = [await agent.until(n) for n in ("known", "group", "unknown", "partial")]
    assert known.state is State.FAILED
    assert known.error == DiskGone("the disk is gone", disk="sda").as_dict()
    assert group.error is not None
    assert group.error["fields"] == {"disk": "sdb"}
    assert unknown.error is not None
    assert unknown.error["code"] == "internal"
    assert "secret" not in str(unknown.error)
    assert partial.state is State.PARTIAL
    assert partial.error == {"code": "some", "message": "m"}
    assert partial.result == msgspec.to_builtins(FreedResult())


async def _raise(error: Exception) -> None:
    raise error


async def test_a_queued_command_is_cancelled_at_once_and_never_begins(tmp_path: Path) -> None:
    """Cancel of what never began, a fenced command included, needs no job."""
    gate = Gate()
    async with running(tmp_path / "j", everything(gate)) as agent:
        await agent.post("first", Kind.FETCH, restore(), job="j1")
        await agent.post("fenced", Kind.TRUNCATE, restore(), job="j1")
        await agent.post("last", Kind.CHECK, restore(), job="j1")
        assert (await agent.runner.cancel("fenced")).state is State.CANCELLED
        gate.open.set()
        await agent.until("last")
        assert (await agent.runner.cancel("last")).state is State.SUCCESS
    assert gate.begun == ["first", "last"]


async def test_cancel_of_a_running_command_undoes_it(tmp_path: Path) -> None:
    """The job hears the cancel with `undo` True, and the answer comes after it has cleaned up."""
    gate = Gate()
    async with running(tmp_path / "j", everything(gate)) as agent:
        await agent.post("a", Kind.BACKUP, backup())
        await gate.inside.wait()
        both = await asyncio.gather(agent.runner.cancel("a"), agent.runner.cancel("a"))
    assert [view.state for view in both] == [State.CANCELLED] * 2
    assert gate.undone == [True]


async def test_a_job_that_is_past_undoing_may_still_end_in_success(tmp_path: Path) -> None:
    """A cancel that comes too late to matter leaves the outcome that was reached."""
    inside = asyncio.Event()

    async def job(context: JobContext) -> Outcome:
        inside.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Outcome(FreedResult(tags=["published"]))
        raise AssertionError

    async with running(tmp_path / "j", everything(job)) as agent:
        await agent.post("a", Kind.DELETE, delete())
        await inside.wait()
        view = await agent.runner.cancel("a")
    assert view.state is State.SUCCESS


async def test_a_running_fenced_command_is_stopped_only_by_force_and_after_its_batch(tmp_path: Path) -> None:
    """Past the point of return nothing is broken off: `force` asks the job to end by itself."""
    inside, batch = asyncio.Event(), asyncio.Event()

    async def job(context: JobContext) -> Outcome:
        done = []
        for number in range(3):
            inside.set()
            await batch.wait()
            done.append(str(number))
            if context.stop_requested:
                return Outcome(FreedResult(tags=done), State.PARTIAL, {"code": "stopped"})
        raise AssertionError("never stopped")

    async with running(tmp_path / "j", everything(job)) as agent:
        await agent.post("a", Kind.IMPORT, restore(), job="j1")
        await inside.wait()
        with pytest.raises(PastThePointOfReturn):
            await agent.runner.cancel("a")
        forced = asyncio.create_task(agent.runner.cancel("a", force=True))
        await asyncio.sleep(0)
        batch.set()
        view = await forced
    assert view.state is State.PARTIAL
    assert view.result is not None
    assert view.result["tags"] == ["0"]


async def test_a_stop_leaves_commands_to_the_next_process_which_resumes_them(tmp_path: Path) -> None:
    """Stages and their data outlive the process; `undo` is False; fenced ones end `interrupted` with their stage."""
    seen: list[tuple[str, Any]] = []
    held = asyncio.Event()

    async def job(context: JobContext) -> Outcome:
        seen.append((context.stages.current, context.stages.recall("plan")))
        if context.stages.current == "work":
            plan = context.stages.recall("plan")
            assert plan is not None
            return Outcome(FreedResult(tags=plan["tags"]))
        await context.stages.enter("plan", {"tags": ("x", "y")})
        await context.stages.enter("work")
        held.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append(("undo", context.undo))
            raise
        raise AssertionError

    async with running(tmp_path / "j", everything(job)) as agent:
        await agent.post("a", Kind.SYNC, sync())
        await held.wait()
        held.clear()
        await agent.post("f", Kind.IMPORT, restore(), job="j1")
        await held.wait()
        await agent.post("q", Kind.TRUNCATE, restore(), job="j2")
        stop = asyncio.create_task(agent.runner.stop(DEADLINE))
        await asyncio.sleep(0)
        with pytest.raises(AgentStopping):
            await agent.post("b", Kind.DELETE, delete())
        await stop
    with capture_logs() as lines:
        async with running(tmp_path / "j", everything(job), instance="second") as agent:
            a, f, q = [await agent.until(name) for name in ("a", "f", "q")]
    assert a.state is State.SUCCESS
    assert a.instance == "second"
    assert a.result is not None
    assert a.result["tags"] == ["x", "y"]
    assert seen == [("", None), ("", None), ("undo", False), ("undo", False), ("work", {"tags": ["x", "y"]})]
    assert (f.state, q.state) == (State.INTERRUPTED, State.INTERRUPTED)
    assert f.error is not None
    assert f.error["fields"] == {"stage": "work", "was": "running"}
    assert f.stage == "work"
    told = {line["command"]: (line["event"], line["log_level"], line.get("code")) for line in lines if "kind" in line}
    interrupted = ("a command ended: interrupted", "warning", "interrupted")
    assert told == {"a": ("a command ended: success", "info", None), "f": interrupted, "q": interrupted}


async def test_a_cancel_that_the_agent_did_not_survive_is_undone_by_the_next_process(tmp_path: Path) -> None:
    """An accepted cancel holds: the command isn't resumed but brought to its first stage and undone."""
    files = tmp_path / "made"
    inside, undoing = asyncio.Event(), asyncio.Event()
    second_life: list[str] = []

    async def job(context: JobContext) -> Outcome:
        try:
            await context.stages.enter("make")
            second_life.append("entered")
            files.touch()
            inside.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if context.undo and len(second_life) == 1 and not second_life[0].startswith("hang"):
                second_life[0] = "hang"
                undoing.set()
                await asyncio.Event().wait()  # the undoing is slow, the agent is stopped meanwhile
            elif context.undo:
                files.unlink()
            raise
        raise AssertionError

    agent = TinyAgent(tmp_path / "j", everything(job))
    await agent.start()
    await agent.post("a", Kind.BACKUP, backup())
    await inside.wait()
    cancel = asyncio.create_task(agent.runner.cancel("a"))
    async with asyncio.timeout(DEADLINE):
        await undoing.wait()
    await agent.runner.stop(0.05)
    for task in asyncio.all_tasks():
        if task.get_name() == "backup a":
            task.cancel()
    cancel.cancel()
    await agent.events.close()
    await agent.journal.close()
    assert files.exists()
    async with running(tmp_path / "j", everything(job), instance="second") as agent:
        view = await agent.until("a")
    assert view.state is State.CANCELLED
    assert not files.exists()
    assert second_life == ["hang"]


async def test_waiting_is_shown_with_its_reason_and_taken_back(tmp_path: Path) -> None:
    """A job that waits for the world says so, durably; its end comes after that in the log."""
    go_on = asyncio.Event()

    async def job(context: JobContext) -> Outcome:
        context.waiting({"code": "waiting_for_credentials"})
        await go_on.wait()
        context.waiting(None)
        return Outcome(FreedResult())

    async with running(tmp_path / "j", everything(job)) as agent:
        await agent.post("a", Kind.DELETE, delete())
        waiting = await agent.until("a", State.WAITING)
        go_on.set()
        await agent.until("a")
        states = [event.state for event in await agent.events.after(0)]
    assert waiting.error == {"code": "waiting_for_credentials"}
    assert states[:3] == [State.QUEUED, State.RUNNING, State.WAITING]
    assert states[-1] is State.SUCCESS
    assert set(states[3:-1]) <= {State.RUNNING}


class FailingJournal(Journal):
    """A journal whose disk is full twice, just when a command ends."""

    failures = 2

    async def set_state(self, command: CommandRecord, event: Event | None, guard: Any = None) -> None:
        if command.state.terminal and self.failures:
            self.failures -= 1
            raise JournalFailed("the disk is full")
        await super().set_state(command, event, guard)


async def test_an_end_that_can_not_be_written_is_written_later(tmp_path: Path) -> None:
    """A full disk doesn't lose an outcome, and the lane goes on."""
    async with running(tmp_path / "j", everything(quick), journal=FailingJournal) as agent:
        await agent.post("a", Kind.DELETE, delete())
        await agent.post("b", Kind.DELETE, delete("t2"))
        assert (await agent.until("a")).state is State.SUCCESS
        assert (await agent.until("b")).state is State.SUCCESS


async def test_what_dies_in_the_background_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: an agent that tells no progress any more, or whose journal grows for ever, is not taken for a sound
    one."""

    class Unprunable(Journal):
        async def prune(self, kept_seconds: float = 0.0) -> int:
            raise RuntimeError("a bug")

    async with running(tmp_path / "j", everything(Gate()), journal=Unprunable) as agent:
        await until(lambda: bool(agent.runner.died))
        assert list(agent.runner.died) == ["journal pruning: RuntimeError('a bug')"]
        assert list(agent.events.died) == []
        monkeypatch.setattr(CommandTally, "changed", property(_broken))
        await agent.post("c1", Kind.DELETE, delete())
        await until(lambda: bool(agent.events.died))
        assert list(agent.events.died) == ["progress events: RuntimeError('a bug')"]
        monkeypatch.undo()


def _broken(tally: CommandTally) -> bool:
    raise RuntimeError("a bug")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  # a task's end sets no event
            await asyncio.sleep(0.01)


async def test_what_the_agent_works_on_is_known(tmp_path: Path) -> None:
    """A destination that a command names is in use until the command ended."""
    gate = Gate()
    async with running(tmp_path / "j", everything(gate)) as agent:
        await agent.post("a", Kind.BACKUP, backup())
        assert agent.runner.using_destination("there") == ["a"]
        assert agent.runner.using_tag("t1") == ["a"]
        assert agent.runner.using_destination("elsewhere") == []
        gate.open.set()
        await agent.until("a")
        assert agent.runner.using_destination("there") == []
        with pytest.raises(UnknownCommand):
            await agent.runner.view("nobody")


async def test_a_commands_life_costs_few_commits(tmp_path: Path) -> None:
    """Accepted, running, two stages, ended: five commits, whatever is counted in between."""

    async def job(context: JobContext) -> Outcome:
        await context.stages.enter("one")
        for number in range(5_000):
            context.tally.done("d", "k", f"t{number % 100}", 1, 10)
            if number % 500 == 0:
                await asyncio.sleep(0.002)
        await context.stages.enter("two")
        return Outcome(FreedResult())

    async with running(tmp_path / "j", everything(job)) as agent:
        before = agent.journal.commits
        await agent.post("a", Kind.DELETE, delete())
        await agent.until("a")
        assert agent.journal.commits - before <= 6  # one may be the first pruning
