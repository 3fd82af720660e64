"""The event log: order, progress, readers that come back, push."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from agent.commands import events as events_module
from agent.commands.errors import SequenceAhead
from agent.commands.reporting import CoordinatorAddress, Reporter
from agent.model.job import JobContext, Outcome
from agent.wire.commands import Counts, Event, Kind, PatchCommand, Progress, State
from agent.wire.results import FreedResult
from kit.secret import Secret
from tests.fast.commands.tiny_agent import DEADLINE, Gate, TinyAgent, delete, everything, quick, restore, running


def merged(events: list[Event], command: str) -> Progress:
    """What a reader knows of a command's counts after these events."""
    known: Progress = {}
    for event in events:
        if event.command == command:
            for destination, keyspaces in event.progress.items():
                for keyspace, tables in keyspaces.items():
                    known.setdefault(destination, {}).setdefault(keyspace, {}).update(tables)
    return known


class Counting:
    """A job that counts when it is told to."""

    def __init__(self) -> None:
        self.todo: asyncio.Queue[tuple[str, int] | None] = asyncio.Queue()

    async def __call__(self, context: JobContext) -> Outcome:
        while (step := await self.todo.get()) is not None:
            table, files = step
            context.tally.expect("d", "k", table, 10, 100)
            context.tally.done("d", "k", table, files, files * 10)
        return Outcome(FreedResult())


async def until_counted(agent: TinyAgent, after: int, table: str, files: int) -> list[Event]:
    seen: list[Event] = []
    async with asyncio.timeout(DEADLINE):
        async for events, _ in agent.events.follow(after, silence=0.1):
            seen += events
            counts = merged(seen, "a").get("d", {}).get("k", {}).get(table)
            if counts is not None and counts.done_files == files:
                return seen
    raise AssertionError


async def test_progress_holds_only_what_changed_since_the_readers_sequence(tmp_path: Path) -> None:
    """A reader that keeps up gets small events, one that comes back gets all it missed, a terminal event has all."""
    job = Counting()
    async with running(tmp_path / "j", everything(job)) as agent:
        await agent.post("a", Kind.DELETE, delete())
        await job.todo.put(("t1", 1))
        first = await until_counted(agent, 0, "t1", 1)
        await job.todo.put(("t2", 2))
        second = await until_counted(agent, first[-1].sequence, "t2", 2)
        assert merged(second, "a") == {"d": {"k": {"t2": Counts(2, 10, 20, 100)}}}
        late = await agent.events.after(0)
        assert merged(late, "a")["d"]["k"].keys() == {"t1", "t2"}
        await job.todo.put(None)
        view = await agent.until("a")
        last = (await agent.events.after(0))[-1]
    assert last.state is State.SUCCESS
    assert last.progress == view.progress == {"d": {"k": {"t1": Counts(1, 10, 10, 100), "t2": Counts(2, 10, 20, 100)}}}
    assert last.result == msgspec.to_builtins(FreedResult())


async def test_progress_is_not_lost_to_a_reader_of_short_answers(tmp_path: Path) -> None:
    """With a limit the progress event may come answers later: what moved meanwhile is told then."""
    job = Counting()
    async with running(tmp_path / "j", everything(job)) as agent:
        await agent.post("a", Kind.DELETE, delete())
        await job.todo.put(("early", 3))
        await until_counted(agent, 0, "early", 3)
        for number in range(20):
            await agent.post(f"f{number}", Kind.FETCH, restore(f"t{number}"), job="j1")
        await job.todo.put(("late", 4))
        await until_counted(agent, 0, "late", 4)
        seen: list[Event] = []
        while events := await agent.events.after(seen[-1].sequence if seen else 0, limit=2):
            assert len(events) <= 2
            seen += events
        await job.todo.put(None)
        for _ in range(20):
            await job.todo.put(None)
    assert merged(seen, "a")["d"]["k"].keys() == {"early", "late"}
    assert [event.sequence for event in seen] == sorted({event.sequence for event in seen})


async def test_every_reader_sees_every_state_once_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a reader keeps up from memory or comes late to the journal, it sees the same."""
    monkeypatch.setattr(events_module, "RECENT", 7)  # so that the late reader comes to the journal
    async with running(tmp_path / "j", everything(quick)) as agent:
        live: list[Event] = []

        async def follow() -> None:
            async for events, _ in agent.events.follow(0, silence=DEADLINE):
                live.extend(events)
                if sum(event.state.terminal for event in live) == 60:
                    return

        reader = asyncio.create_task(follow())
        await asyncio.gather(*(agent.post(f"c{n}", Kind.FETCH, restore(f"t{n}"), job="j") for n in range(60)))
        async with asyncio.timeout(DEADLINE):
            await reader
        late: list[Event] = []
        while events := await agent.events.after(late[-1].sequence if late else 0, limit=11):
            late += events
        assert late == live
        assert [event.sequence for event in live] == sorted({event.sequence for event in live})
        order = [event.command for event in live if event.state is State.QUEUED]
        assert [event.command for event in live if event.state is State.RUNNING] == order
        for number in range(60):
            states = [event.state for event in live if event.command == f"c{number}"]
            assert states == [State.QUEUED, State.RUNNING, State.SUCCESS]


async def test_a_long_poll_is_answered_by_the_next_event(tmp_path: Path) -> None:
    """`wait` holds the answer until there is something, and gives an empty list when there isn't."""
    async with running(tmp_path / "j", everything(quick)) as agent:
        assert await agent.events.after(agent.events.newest, wait=0.01) == []
        waiting = asyncio.create_task(agent.events.after(agent.events.newest, wait=DEADLINE))
        await asyncio.sleep(0)
        await agent.post("a", Kind.DELETE, delete())
        assert (await waiting)[0].command == "a"


async def test_sequences_go_on_after_a_restart_above_all_that_was_told(tmp_path: Path) -> None:
    """A reader's last sequence keeps its meaning, although progress is never written."""
    job = Counting()
    async with running(tmp_path / "j", everything(job)) as agent:
        await agent.post("a", Kind.DELETE, delete())
        for number in range(5):
            await job.todo.put((f"t{number}", 1))
            await until_counted(agent, 0, f"t{number}", 1)
        told = agent.events.newest
    async with running(tmp_path / "j", everything(quick), instance="second") as agent:
        await agent.until("a")
        after = await agent.events.after(told)
        assert [event.state for event in after][-1] is State.SUCCESS
        assert all(event.instance == "second" for event in after)
        with pytest.raises(SequenceAhead):
            await agent.events.after(agent.events.newest + 1)


@pytest.mark.parametrize("recent", [10**6, 7])
async def test_an_answer_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recent: int) -> None:
    """From memory and from the journal; an event that is larger than the bound comes alone, and none is left out."""
    monkeypatch.setattr(events_module, "RECENT", recent)
    monkeypatch.setattr(events_module, "MOST_BYTES", 20_000, raising=False)

    async def job(context: JobContext) -> Outcome:
        tables = 500 if context.command_id in ("c3", "c4") else 50
        for number in range(tables):
            context.tally.done("d", "k", f"t{number}", 1, 10)
        return Outcome(FreedResult())

    async with running(tmp_path / "j", everything(job)) as agent:
        for number in range(12):
            await agent.post(f"c{number}", Kind.DELETE, delete(f"t{number}"))
        await agent.until("c11")
        seen: list[Event] = []
        sizes = []
        while events := await agent.events.after(seen[-1].sequence if seen else 0):
            sizes.append((len(msgspec.json.encode(events)), len(events)))
            seen += events
        followed: list[Event] = []
        async for events, _ in agent.events.follow(0, silence=0.01):
            if not events:
                break
            followed += events
    assert all(size <= 20_000 or count == 1 for size, count in sizes)
    assert [count for size, count in sizes if size > 20_000] == [1, 1]
    assert followed == seen
    assert [event.command for event in seen if event.state.terminal] == [f"c{number}" for number in range(12)]
    assert [event.sequence for event in seen] == sorted({event.sequence for event in seen})
    assert len(seen) >= 36


class Coordinator:
    """A coordinator that takes events, when it is there."""

    def __init__(self) -> None:
        self.lists: list[list[Event]] = []
        self.refuse = 0
        self.refused: set[str] = set()
        """Commands of which no event is taken."""
        self.most_bytes = 10**9
        self.posts = 0
        self.headers: list[str | None] = []
        self.heard = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def up(self, port: int = 0) -> int:
        app = web.Application()
        app.add_routes([web.post("/events", self._take)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.50.1", port, reuse_address=True)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def down(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        events = msgspec.json.decode(await request.read(), type=list[Event])
        self.headers.append(request.headers.get("Authorization"))
        self.posts += 1
        if (request.content_length or 0) > self.most_bytes:
            return web.Response(status=413)
        if any(event.command in self.refused for event in events):
            self.heard.set()
            return web.Response(status=400)
        if self.refuse:
            self.refuse -= 1
            return web.Response(status=500)
        self.lists.append(events)
        self.heard.set()
        return web.Response(status=204)

    @property
    def events(self) -> list[Event]:
        return [event for events in self.lists for event in events]

    async def until(self, command: str, state: State) -> None:
        async with asyncio.timeout(DEADLINE):
            while not any(event.command == command and event.state is state for event in self.events):
                self.heard.clear()
                await self.heard.wait()


async def test_a_coordinator_that_was_away_is_told_everything_when_it_returns(tmp_path: Path) -> None:
    """Push is at least once and in order, through refusals, absence and a restart; only who is named is told."""
    coordinator = Coordinator()
    port = await coordinator.up()
    address = CoordinatorAddress("main", f"http://127.0.50.1:{port}/events", Secret("canary-token"))

    def reporter(agent: TinyAgent) -> asyncio.Task[None]:
        return asyncio.create_task(
            Reporter(address, agent.events, agent.journal, pause=lambda tries: 0.01).run(), name="reporter"
        )

    async with running(tmp_path / "j", everything(quick)) as agent:
        task = reporter(agent)
        coordinator.refuse = 2
        await agent.post("a", Kind.DELETE, delete("a"), report_to="main")
        await agent.post("foreign", Kind.DELETE, delete("f"), report_to="other")
        await coordinator.until("a", State.SUCCESS)
        await coordinator.down()
        await agent.post("b", Kind.DELETE, delete("b"), report_to="main")
        await agent.until("b")
        task.cancel()
        await asyncio.wait([task])
    async with running(tmp_path / "j", everything(quick), instance="second") as agent:
        await agent.post("c", Kind.DELETE, delete("c"), report_to="main")
        await agent.until("c")
        task = reporter(agent)
        await coordinator.up(port)
        await coordinator.until("c", State.SUCCESS)
        await agent.runner.patch("foreign", PatchCommand("main"))
        await coordinator.until("foreign", State.SUCCESS)
        task.cancel()
        await asyncio.wait([task])
    await coordinator.down()
    states = [(event.command, event.state) for event in coordinator.events]
    for command in ("a", "b", "c"):
        mine = [state for named, state in dict.fromkeys(states) if named == command]
        assert mine == [State.QUEUED, State.RUNNING, State.SUCCESS]
    assert [state for named, state in states if named == "foreign"] == [State.SUCCESS]
    sequences = [event.sequence for event in coordinator.events]
    assert sequences == sorted(sequences)
    assert set(coordinator.headers) == {"Bearer canary-token"}


async def test_a_coordinator_that_refuses_an_event_is_told_the_others(tmp_path: Path) -> None:
    """Promise: one event that is refused holds up no other one for ever, and none is skipped while all are refused."""
    coordinator = Coordinator()
    port = await coordinator.up()
    address = CoordinatorAddress("main", f"http://127.0.50.1:{port}/events")
    coordinator.refused = {"bad"}

    async def job(context: JobContext) -> Outcome:
        for number in range(500 if context.command_id == "large" else 1):
            context.tally.done("d", "k", f"t{number}", 1, 10)
        return Outcome(FreedResult())

    async with running(tmp_path / "j", everything(job)) as agent:
        reporter = Reporter(address, agent.events, agent.journal, pause=lambda tries: 0.01)
        await agent.post("bad", Kind.DELETE, delete("bad"), report_to="main")
        await agent.until("bad")
        task = asyncio.create_task(reporter.run(), name="reporter")
        async with asyncio.timeout(DEADLINE):
            while coordinator.posts < 20:  # refused over and over, nothing else is there to be taken
                coordinator.heard.clear()
                await coordinator.heard.wait()
        assert await agent.journal.position("main") == 0
        for name in ("a", "large", "b"):
            await agent.post(name, Kind.DELETE, delete(name), report_to="main")
        await coordinator.until("b", State.SUCCESS)
        task.cancel()
        await asyncio.wait([task])
        coordinator.lists.clear()
        coordinator.most_bytes = 5_000
        await agent.journal.set_position("main", 0)
        task = asyncio.create_task(reporter.run(), name="reporter")
        await coordinator.until("b", State.SUCCESS)
        task.cancel()
        await asyncio.wait([task])
    await coordinator.down()
    told = [event.command for event in coordinator.events if event.state is State.SUCCESS]
    assert told == ["a", "b"]
    assert [event.state for event in coordinator.events if event.command == "large"] == [State.QUEUED, State.RUNNING]


async def test_thousands_of_counted_pieces_make_few_events(tmp_path: Path) -> None:
    """Progress is coalesced: neither the journal nor the readers hear of single pieces."""

    async def job(context: JobContext) -> Outcome:
        for number in range(200_000):
            context.tally.done("d", "k", f"t{number % 1_000}", 1, 10)
            if number % 20_000 == 0:
                await asyncio.sleep(0.01)
        return Outcome(FreedResult())

    async with running(tmp_path / "j", everything(job)) as agent:
        await agent.post("a", Kind.DELETE, delete())
        view = await agent.until("a")
        events = await agent.events.after(0)
        assert len((await agent.journal.events(0, 10**9, 1_000, 10**9))[0]) == 3
    assert len(events) == 3
    assert sum(counts.done_files for counts in view.progress["d"]["k"].values()) == 200_000
    assert json.loads(msgspec.json.encode(view))["progress"]["d"]["k"]["t7"]["done_files"] == 200


async def test_readers_end_when_the_log_is_closed(tmp_path: Path) -> None:
    """A stop waits for no stream."""
    gate = Gate()
    agent = TinyAgent(tmp_path / "j", everything(gate))
    await agent.start()

    async def follow() -> list[Any]:
        return [events async for events, _ in agent.events.follow(0, silence=DEADLINE)]

    readers = [asyncio.create_task(follow()), asyncio.create_task(agent.events.after(0, wait=DEADLINE))]
    await asyncio.sleep(0)
    await agent.stop()
    async with asyncio.timeout(DEADLINE):
        await asyncio.wait(readers)
    assert [reader.result() for reader in readers] == [[], []]
