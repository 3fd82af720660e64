"""What commands are doing: the agents' event streams in, live views and «it has ended» out."""

import asyncio
import time
from collections.abc import Callable

import msgspec
import structlog

from agent.wire.commands import LANES, CommandView, Event, Progress, State
from coordinator.fleet.client import AgentClient
from coordinator.fleet.counts import kept
from coordinator.fleet.errors import AgentMisbehaved, AgentRefused, AgentUnreachable
from coordinator.fleet.registry import Agent
from kit.errors import HelenusError

log = structlog.get_logger(__name__)

LANE_OF = {kind.value: lane for kind, lane in LANES.items()}


class ReportTiming(msgspec.Struct, frozen=True):
    """Times in seconds. `poll`: a command's state is read again at least this often, should an event be missed.
    `backoff_first`, `backoff_last`: between two tries of an agent that doesn't answer."""

    poll: float = 10.0
    backoff_first: float = 0.2
    backoff_last: float = 5.0


class Live(msgspec.Struct, frozen=True):
    """A running command as the event stream shows it. `lost`: why its agent can't be asked just now.
    `moved`: when anything of it changed last, by the clock of `Reports`; `lost_at`: when its agent was first found
    silent. `what`: the command for people, `kind`: "" while neither is known."""

    state: State = State.QUEUED
    stage: str = ""
    progress: Progress = {}
    error: dict[str, object] | None = None
    lost: dict[str, object] | None = None
    moved: float = 0.0
    lost_at: float = 0.0
    kind: str = ""
    what: str = ""


class Reports:
    """The table of watched commands and who waits for them."""

    def __init__(self, patience: ReportTiming | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience or ReportTiming()
        self._clock = clock
        self._live: dict[str, Live] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._commands_of: dict[str, set[str]] = {}
        self._last: dict[str, int] = {}
        self._instances: dict[str, str] = {}

    def live(self, command: str) -> Live | None:
        """The newest known view of a watched command."""
        return self._live.get(command)

    def still(self, command: str) -> float | None:
        """Seconds since a watched command that hasn't ended last moved; None of others."""
        live = self._live.get(command)
        return None if live is None or live.state.terminal else self._clock() - live.moved

    def lost_for(self, command: str) -> float | None:
        """Seconds since the agent of a watched command was first found silent; None while it answers."""
        live = self._live.get(command)
        return None if live is None or live.lost is None else self._clock() - live.lost_at

    def before(self, command: str) -> list[Live]:
        """The watched commands that the same agent has under way in the lane of this one."""
        live = self._live.get(command)
        return [
            other
            for known in self._commands_of.values()
            if live is not None and command in known
            for other in (self._live[name] for name in sorted(known - {command}))
            if other.state in (State.RUNNING, State.WAITING) and _lane(other) == _lane(live)
        ]

    def name(self, url: str, command: str, kind: str, what: str) -> None:
        """Tell what a command is, for people."""
        self._watch(url, command)
        self._live[command] = msgspec.structs.replace(self._live[command], kind=kind, what=what)

    def lose(self, url: str, command: str, error: dict[str, object]) -> None:
        """Its agent doesn't answer."""
        self._watch(url, command)
        live = self._live[command]
        at = live.lost_at if live.lost is not None else self._clock()
        self._live[command] = msgspec.structs.replace(live, lost=error, lost_at=at)

    def forget(self, commands: list[str]) -> None:
        """Drop what is known of commands whose request has ended."""
        for command in commands:
            self._live.pop(command, None)
            self._news.pop(command, None)
            for known in self._commands_of.values():
                known.discard(command)

    def learn(self, url: str, view: CommandView) -> None:
        """Take in a view that somebody read; what is known of an end is newer."""
        self._watch(url, view.id)
        if self._live[view.id].state.terminal and not view.state.terminal:
            return
        self._see(view.id, Live(view.state, view.stage, view.progress, view.error, kind=view.kind))

    async def wait(self, client: AgentClient, command: str, give_up: Callable[[float], bool]) -> CommandView:
        """Return the command's view once it is terminal.

        `give_up` is asked, with the seconds since the agent's last proper answer, each time it doesn't answer: True
        ends the wait with `AgentUnreachable` (or `AgentMisbehaved`).
        Raises `AgentRefused` (404) when the agent doesn't know the command.
        """
        news = self._watch(client.url, command)
        lost_since: float | None = None
        pause = self._patience.backoff_first
        while True:
            news.clear()
            try:
                view = await client.command(command)
            except (AgentUnreachable, AgentMisbehaved) as lost:
                now = self._clock()
                lost_since = now if lost_since is None else lost_since
                self.lose(client.url, command, lost.as_dict())
                if give_up(now - lost_since):
                    raise
                await _news_or(news, pause)
                pause = min(pause * 2, self._patience.backoff_last)
                continue
            lost_since, pause = None, self._patience.backoff_first
            self._see(command, Live(view.state, view.stage, view.progress, view.error, kind=view.kind))
            if view.state.terminal:
                return view
            await _news_or(news, self._patience.poll)

    async def follow(self, agent: Agent) -> None:
        """Read an agent's event stream for ever, reconnecting with growing pauses. Run it as a task."""
        pause = self._patience.backoff_first
        while True:
            try:
                after = self._last.get(agent.url)
                if after is None or (agent.report is not None and agent.report.events < after):
                    # Never followed, or the agent began a new log: only what comes from now on is wanted,
                    # for each waiter reads its command's state by itself first.
                    after = self._last[agent.url] = await agent.client.newest_event()
                self._wake(agent.url)
                async for event in agent.client.events(after):
                    pause = self._patience.backoff_first
                    if event is not None:
                        self._take(agent.url, event)
            except (AgentUnreachable, AgentRefused) as lost:
                log.debug("event stream lost", agent=agent.url, reason=lost.message)
                if isinstance(lost, AgentRefused) and lost.agent_code == "sequence_ahead":
                    self._last.pop(agent.url, None)
            except HelenusError as wrong:
                log.warning("event stream can't be read", agent=agent.url, reason=wrong.message)
            except Exception:
                # Without its follower an agent's progress would stand still, and nobody would know why.
                log.exception("event stream broke off in an unforeseen way", agent=agent.url)
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._patience.backoff_last)

    def _watch(self, url: str, command: str) -> asyncio.Event:
        self._commands_of.setdefault(url, set()).add(command)
        self._live.setdefault(command, Live(moved=self._clock()))
        return self._news.setdefault(command, asyncio.Event())

    def _see(self, command: str, live: Live) -> None:
        known = self._live[command]
        progress = kept(known.progress, live.progress, done=live.state is State.SUCCESS)
        live = msgspec.structs.replace(live, progress=progress)
        same = (known.state, known.stage, known.progress) == (live.state, live.stage, live.progress)
        self._live[command] = msgspec.structs.replace(
            live, moved=known.moved if same else self._clock(), kind=live.kind or known.kind, what=known.what
        )

    def _take(self, url: str, event: Event) -> None:
        self._last[url] = event.sequence
        if self._instances.setdefault(url, event.instance) != event.instance:
            # A new process of the agent: what it found unfinished may have ended without an event of its own.
            self._instances[url] = event.instance
            self._wake(url)
        if event.command not in self._live:
            return
        self._see(event.command, Live(event.state, event.stage, event.progress, event.error))
        if event.state.terminal:
            self._news[event.command].set()

    def _wake(self, url: str) -> None:
        """After a gap nobody knows what was missed: everyone reads their command again."""
        for command in self._commands_of.get(url, ()):
            self._news[command].set()


def _lane(live: Live) -> str | None:
    """Of a kind that only a newer agent knows nothing is said."""
    return LANE_OF.get(live.kind)


async def _news_or(news: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return
