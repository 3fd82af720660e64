"""Readers of the event log that want mere progress seldom."""

import asyncio
from pathlib import Path

from agent.wire.commands import Counts, Event, Kind, State
from tests.fast.commands.test_events import Counting, merged
from tests.fast.commands.tiny_agent import DEADLINE, TinyAgent, delete, everything, running

FOR_EVER = 3600.0
"""Seconds: an interval that doesn't pass in a test."""
TICKS = 0.3
"""Seconds in which the log would have told of progress several times."""


async def read(agent: TinyAgent, after: int, interval: float, into: list[Event]) -> None:
    """Until cancelled."""
    async for events, _ in agent.events.follow(after, silence=FOR_EVER, interval=interval):
        into += events


async def until(seen: list[Event], state: State) -> None:
    async with asyncio.timeout(DEADLINE):
        while not any(event.state is state for event in seen):  # noqa: ASYNC110 - it is the log that adds to the list
            await asyncio.sleep(0.01)


async def test_mere_progress_waits_and_a_change_of_state_does_not(tmp_path: Path) -> None:
    """Promise: within the interval a reader hears nothing of progress, of an end at once, with all counts."""
    job = Counting()
    async with running(tmp_path / "j", everything(job)) as agent:
        await agent.post("a", Kind.DELETE, delete())
        seen: list[Event] = []
        reader = asyncio.create_task(read(agent, 0, FOR_EVER, seen))
        await until(seen, State.RUNNING)
        heard = len(seen)
        for table in ("t1", "t2", "t3"):
            await job.todo.put((table, 1))
            await asyncio.sleep(TICKS)
        assert len(seen) == heard
        assert merged(seen, "a") == {}
        await job.todo.put(None)
        await until(seen, State.SUCCESS)
        reader.cancel()
        await asyncio.wait([reader])
    assert len(seen) == heard + 1
    assert merged(seen, "a") == {"d": {"k": {table: Counts(1, 10, 10, 100) for table in ("t1", "t2", "t3")}}}


async def test_a_reader_that_comes_back_within_its_interval_misses_nothing(tmp_path: Path) -> None:
    """Promise: what was held back is told with the first events after the interval, or to who asks again from the same
    sequence."""
    job = Counting()
    async with running(tmp_path / "j", everything(job)) as agent:
        await agent.post("a", Kind.DELETE, delete())
        seen: list[Event] = []
        reader = asyncio.create_task(read(agent, 0, FOR_EVER, seen))
        await until(seen, State.RUNNING)
        await job.todo.put(("t1", 1))
        await asyncio.sleep(TICKS)
        reader.cancel()  # the stream breaks
        await asyncio.wait([reader])
        again = asyncio.create_task(read(agent, seen[-1].sequence, 0.2, seen))
        await job.todo.put(("t2", 2))
        wanted = {"d": {"k": {"t1": Counts(1, 10, 10, 100), "t2": Counts(2, 10, 20, 100)}}}
        async with asyncio.timeout(DEADLINE):
            while merged(seen, "a") != wanted:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        await job.todo.put(None)
        await until(seen, State.SUCCESS)
        again.cancel()
        await asyncio.wait([again])
    sequences = [event.sequence for event in seen]
    assert sequences == sorted(set(sequences))
