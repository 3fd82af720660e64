"""An agent without HTTP: a real journal, event log and runner around jobs that a test gives."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from agent.commands.events import EventLog
from agent.commands.journal import Journal
from agent.commands.runner import JobSpec, Runner, RunnerTiming
from agent.model.job import Job, JobContext, Outcome
from agent.wire.commands import CommandView, Kind, PostCommand, State
from agent.wire.results import FreedResult

DEADLINE = 20.0
HOST_ID = "11111111-2222-3333-4444-555555555555"
TARGET = {"destination": "there", "repository_id": "r1", "cluster_id": "c1"}


class Clock:
    """A clock that a test turns."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class TinyAgent:
    """One life of an agent over a journal file."""

    def __init__(
        self,
        path: Path,
        jobs: Mapping[Kind, JobSpec],
        *,
        instance: str = "first",
        clock: Callable[[], float] | None = None,
        journal: Callable[..., Journal] = Journal,
    ) -> None:
        timed: dict[str, Any] = {"clock": clock} if clock else {}
        self.journal = journal(path, **timed)
        self.events = EventLog(self.journal, interval=0.01, **timed)
        self.runner = Runner(
            self.journal,
            self.events,
            jobs,
            instance=instance,
            coordinators=("main", "other"),
            patience=RunnerTiming(cancel=DEADLINE, journal_retry=0.01),
            **timed,
        )

    async def start(self) -> None:
        await self.journal.open()
        await self.events.open()
        await self.runner.start()

    async def stop(self) -> None:
        await self.runner.stop(DEADLINE)
        await self.events.close()
        await self.journal.close()

    async def post(self, command: str, kind: Kind, arguments: dict[str, Any], **more: Any) -> CommandView:
        raw = msgspec.Raw(msgspec.json.encode(arguments))
        return (await self.runner.post(PostCommand(command, kind, raw, **more))).view

    async def until(self, command: str, *states: State) -> CommandView:
        """The command's view once it is in one of the states, or terminal when none is named."""
        async with asyncio.timeout(DEADLINE):
            async for _ in self.events.follow(0, silence=0.05):
                view = await self.runner.view(command)
                if view.state in states or (not states and view.state.terminal):
                    return view
        raise AssertionError("the event log was closed")


@asynccontextmanager
async def running(path: Path, jobs: Mapping[Kind, JobSpec], **more: Any) -> AsyncIterator[TinyAgent]:
    """An agent that is stopped at the end of the block."""
    agent = TinyAgent(path, jobs, **more)
    await agent.start()
    try:
        yield agent
    finally:
        await agent.stop()


def everything(job: Job) -> dict[Kind, JobSpec]:
    """The same job for all kinds, in the agent's real lanes."""
    data = {Kind.UPLOAD, Kind.BACKUP, Kind.SYNC, Kind.DELETE, Kind.SWEEP}
    return {
        kind: JobSpec("snapshot" if kind is Kind.SNAPSHOT else "data" if kind in data else "restore", job)
        for kind in Kind
    }


async def quick(context: JobContext) -> Outcome:
    """A job that does nothing."""
    return Outcome(FreedResult(tags=[context.command_id]))


class Gate:
    """A job that waits until it is let through, and notes what happened to it."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.undone: list[bool] = []
        self.open = asyncio.Event()
        self.inside = asyncio.Event()
        self.context: JobContext | None = None

    async def __call__(self, context: JobContext) -> Outcome:
        self.begun.append(context.command_id)
        self.context = context
        self.inside.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.undone.append(context.undo)
            raise
        return Outcome(FreedResult(tags=[context.command_id]))


def snapshot(tag: str = "t1") -> dict[str, Any]:
    return {"tag": tag}


def delete(tag: str = "t1") -> dict[str, Any]:
    return {"tag": tag}


def backup(tag: str = "t1") -> dict[str, Any]:
    return {"snapshot": {"tag": tag}, "targets": [TARGET]}


def sync(tag: str = "t1") -> dict[str, Any]:
    return {"tag": tag, "targets": [TARGET]}


def restore(tag: str = "t1") -> dict[str, Any]:
    return {"tag": tag, "source_host_id": HOST_ID, "tables": {"shop": ["orders"]}}
