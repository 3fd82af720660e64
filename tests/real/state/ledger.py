"""What was done how often: by the agents' journals, and by Cassandra itself.

In: agents and nodes. Out: assertions. An agent's event log names every stage that each of its commands began, for all
its life; Cassandra says in its own log that it started and that it took files in, and keeps a snapshot of each table
that it truncates. So what was done twice shows, whoever would like to hide it.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from agent.wire.commands import Event, State
from tests.cluster.cassandra import CassandraNode
from tests.cluster.services import AgentProcess

_STARTED = "Startup complete"
_IMPORTED = "Loading new SSTables for "


class Told(msgspec.Struct, frozen=True):
    """A node, as Cassandra tells of it: how often it started, took files into a table, and truncated one."""

    starts: int
    imports: Mapping[str, int]
    truncates: Mapping[str, int]

    def since(self, before: "Told") -> "Told":
        """What came after it."""
        return Told(
            self.starts - before.starts,
            dict(Counter(self.imports) - Counter(before.imports)),
            dict(Counter(self.truncates) - Counter(before.truncates)),
        )


async def told_by(nodes: Sequence[CassandraNode], keyspace: str) -> list[Told]:
    """Each of them, of one keyspace."""
    return await asyncio.gather(*(asyncio.to_thread(read, node.log, node.data_directories, keyspace) for node in nodes))


def read(log: Path, data_directories: Sequence[Path], keyspace: str) -> Told:
    """What stands in the log, and in the directories."""
    text = log.read_text(errors="replace")
    kept = [path for data in data_directories for path in data.glob(f"{keyspace}/*/snapshots/truncated-*")]
    return Told(
        text.count(_STARTED),
        Counter(re.findall(rf"{_IMPORTED}{keyspace}/(\w+)", text)),
        Counter(path.parent.parent.name.partition("-")[0] for path in kept),
    )


BESIDE = frozenset({"trim_logs"})
"""What no order here asks for: it follows a backup by itself where the commit log is archived."""
Marks = list[int]
"""Where each agent's log ended."""


async def marks_of(agents: Sequence[AgentProcess]) -> Marks:
    """Where it ends now."""
    return [int((await agent.ask("GET", "/v1/node"))["events"]) for agent in agents]


async def journal(agent: AgentProcess, mark: int) -> list[Event]:
    """All that the agent's log tells since then of states and stages."""
    events: list[Event] = []
    while True:
        after = events[-1].sequence if events else mark
        told = await agent.ask("GET", f"/v1/events?after={after}")
        if not told:
            return events
        events += msgspec.convert(told, list[Event])


async def have_ended(agents: Sequence[AgentProcess], kind: str, marks: Marks) -> list[bool]:
    """Whether each has ended a command of the kind since then."""
    return [
        any(event.kind == kind and event.state.terminal for event in await journal(agent, mark))
        for agent, mark in zip(agents, marks, strict=True)
    ]


async def done_once(agents: Sequence[AgentProcess], marks: Marks) -> list[Counter[str]]:
    """How many commands of each kind every agent carried out since then. None of them was begun, went through a stage,
    or ended, more than once, and all have succeeded."""
    return [
        Counter(kind_once(agent.address, events) for events in _by_command(await journal(agent, mark)))
        for agent, mark in zip(agents, marks, strict=True)
    ]


def _by_command(events: Sequence[Event]) -> list[list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in events:
        if event.kind not in BESIDE:
            found.setdefault(event.command, []).append(event)
    return list(found.values())


def kind_once(where: str, events: Sequence[Event]) -> str:
    """The kind of a command, all of whose events are given; fails unless it was carried out once and succeeded."""
    passed: list[str] = []
    for event in events:
        # While it waits, and when it goes on, a command is in the stage that it was in.
        stage = event.state.value if event.state.terminal or event.state == State.QUEUED else event.stage
        if passed[-1:] != [stage]:
            passed.append(stage)
    shown = f"{where}: {events[0].command} ({events[0].kind}): {passed}"
    assert max(Counter(passed).values()) == 1, shown
    assert [event.state for event in events if event.state.terminal] == [State.SUCCESS], shown
    assert len({event.instance for event in events}) == 1, shown
    return events[0].kind
