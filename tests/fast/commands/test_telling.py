"""What the agent's log says of commands."""

import asyncio
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from agent.commands.runner import JobSpec
from agent.model.job import JobContext, Outcome
from agent.wire.commands import Kind, State
from agent.wire.results import FreedResult
from kit.errors import HelenusError
from tests.fast.commands.tiny_agent import DEADLINE, Gate, delete, everything, running, sync


class DiskGone(HelenusError):
    """A test's error."""

    code = "disk_gone"


async def test_the_log_tells_each_commands_beginning_and_end(tmp_path: Path) -> None:
    """Promise: who looks into the agent's log finds every command, what it worked on, how long it took, and of one that
    did not go well the code and the message."""

    async def job(context: JobContext) -> Outcome:
        if context.command_id == "failed":
            raise DiskGone("the disk is gone", disk="sda")
        if context.command_id == "partial":
            return Outcome(FreedResult(), State.PARTIAL, {"code": "copy_partial", "message": "d2 is missing"})
        return Outcome(FreedResult())

    gate = Gate()
    jobs = {**everything(job), Kind.SYNC: JobSpec("data", gate)}
    with capture_logs() as lines:
        async with running(tmp_path / "j", jobs) as agent:
            for name in ("success", "failed", "partial"):
                await agent.post(name, Kind.DELETE, delete(name))
                await agent.until(name)
            await agent.post("cancelled", Kind.SYNC, sync("cancelled"))
            async with asyncio.timeout(DEADLINE):
                await gate.inside.wait()
            await agent.runner.cancel("cancelled")
    told: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        if line["event"].startswith("a command "):
            told.setdefault(line["command"], []).append(dict(line))
    ends = {name: of_it[-1] for name, of_it in told.items()}
    assert {name: of_it[0]["event"] for name, of_it in told.items()} == dict.fromkeys(ends, "a command begins")
    assert {name: len(of_it) for name, of_it in told.items()} == dict.fromkeys(
        ("success", "failed", "partial", "cancelled"), 2
    )
    for name, end in ends.items():
        assert end["event"] == f"a command ended: {name}"
        assert end["log_level"] == ("info" if name in ("success", "cancelled") else "warning")
        assert end["tag"] == name
        assert end["seconds"] >= 0
    assert (ends["failed"]["code"], ends["failed"]["reason"]) == ("disk_gone", "the disk is gone")
    assert (ends["partial"]["code"], ends["partial"]["reason"]) == ("copy_partial", "d2 is missing")
