"""What commands are doing: the agents' event streams in, live views and «it has ended» out."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

import msgspec
import structlog

from agent.wire.commands import LANES, CommandView, Event, Progress, State
from agent.wire.node import EVENTS_INTERVAL
from coordinator.fleet.client import AgentClient
from coordinator.fleet.counts import Packed, kept, refuse_too_many
from coordinator.fleet.errors import AgentMisbehaved, AgentRefused, AgentUnreachable, TokenRefused
from coordinator.fleet.pace import interval_of, poll_of
from coordinator.fleet.registry import Agent
from coordinator.model.table_counts import Layouts
from kit.errors import HelenusError
from kit.seldom import Seldom

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
    progress: Packed = {}
    error: dict[str, object] | None = None
    lost: dict[str, object] | None = None
    moved: float = 0.0
    lost_at: float = 0.0
    kind: str = ""
    what: str = ""


class Told(Protocol):
    """What is known of watched commands, at one moment or now."""

    def live(self, command: str) -> Live | None: ...
    def still(self, command: str) -> float | None: ...
    def lost_for(self, command: str) -> float | None: ...
    def before(self, command: str) -> list[Live]: ...

    @property
    def interval(self) -> float:
        """Seconds that may pass between two words of an agent whose command moves."""
        ...


class Moment:
    """What `reports` knew of some commands when this was made, however long somebody looks at it. What their agents did
    before them is as it is when it is asked for."""

    def __init__(self, reports: "Reports", commands: Iterable[str], now: float) -> None:
        self._reports = reports
        self._lives: Mapping[str, Live] = {
            command: live for command in commands if (live := reports.live(command)) is not None
        }
        self._now = now

    @property
    def interval(self) -> float:
        """See `Told`."""
        return self._reports.interval

    def live(self, command: str) -> Live | None:
        """The view of then."""
        return self._lives.get(command)

    def still(self, command: str) -> float | None:
        """Seconds since a command that hadn't ended moved; None of others."""
        live = self._lives.get(command)
        return None if live is None or live.state.terminal else self._now - live.moved

    def lost_for(self, command: str) -> float | None:
        """Seconds since its agent was first found silent; None while it answered."""
        live = self._lives.get(command)
        return None if live is None or live.lost is None else self._now - live.lost_at

    def before(self, command: str) -> list[Live]:
        """What its agent has under way in the same lane, now."""
        return self._reports.before(command)


class Reports:
    """The table of watched commands and who waits for them. `agents`: how many there are, by which they are asked to
    report more or less often."""

    def __init__(
        self, patience: ReportTiming | None = None, clock: Callable[[], float] = time.monotonic, agents: int = 1
    ) -> None:
        self._patience = patience or ReportTiming()
        self._clock = clock
        self._poll = poll_of(agents, self._patience.poll)
        self.interval = float(interval_of(agents))
        self._layouts = Layouts()
        self._seldom = Seldom()
        self._live: dict[str, Live] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._commands_of: dict[str, set[str]] = {}
        self._agent_of: dict[str, str] = {}
        self._last: dict[str, int] = {}
        self._instances: dict[str, str] = {}
        self._takes_interval: set[str] = set()
        """agents that are known to take an interval"""

    def moment(self, commands: Iterable[str]) -> Moment:
        """What is known of these commands now."""
        return Moment(self, commands, self._clock())

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
            for other in (self._live[name] for name in self._beside(command))
            if live is not None and other.state in (State.RUNNING, State.WAITING) and _lane(other) == _lane(live)
        ]

    def _beside(self, command: str) -> list[str]:
        """The other watched commands of its agent."""
        return sorted(self._commands_of.get(self._agent_of.get(command, ""), set()) - {command})

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
            self._commands_of.get(self._agent_of.pop(command, ""), set()).discard(command)

    def learn(self, url: str, view: CommandView) -> None:
        """Take in a view that somebody read; what is known of an end is newer."""
        self._watch(url, view.id)
        if self._live[view.id].state.terminal and not view.state.terminal:
            return
        self._see(view.id, Live(view.state, view.stage, error=view.error, kind=view.kind), view.progress)

    async def wait(self, client: AgentClient, command: str, give_up: Callable[[float], bool]) -> CommandView:
        """Return the command's view once it is terminal.

        `give_up` is asked, with the seconds since the agent's last proper answer, each time it doesn't answer, or
        refuses the coordinator's token: True ends the wait with `AgentUnreachable` (or `AgentMisbehaved`).
        Raises `AgentRefused` (404) when the agent doesn't know the command.
        """
        news = self._watch(client.url, command)
        lost_since: float | None = None
        pause = self._patience.backoff_first
        while True:
            news.clear()
            try:
                view = await _view_of(client, command)
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
            self._see(command, Live(view.state, view.stage, error=view.error, kind=view.kind), view.progress)
            if view.state.terminal:
                return view
            del view  # as in `follow`
            await _news_or(news, self._poll)

    async def follow(self, agent: Agent, hear: Callable[[], Awaitable[None]]) -> None:
        """Read an agent's event stream for ever, reconnecting with growing pauses. Run it as a task. `hear` has the
        agent's report made anew."""
        pause = self._patience.backoff_first
        while True:
            after = self._last.get(agent.url)
            try:
                newest = await self._newest(agent, hear)
                if after is None or newest < after:
                    # Never followed, or the agent began a new log: only what comes from now on is wanted,
                    # for each waiter reads its command's state by itself first.
                    after = self._last[agent.url] = newest
                self._wake(agent.url)
                async for event in agent.client.events(after, interval=self._interval_for(agent)):
                    pause = self._patience.backoff_first
                    if event is not None:
                        self._take(agent.url, event)
                    del event  # with all its tables: the next one may be long in coming
            except (AgentUnreachable, AgentRefused) as lost:
                log.debug("event stream lost", agent=agent.url, reason=lost.message)
                if isinstance(lost, AgentRefused) and lost.agent_code == "sequence_ahead":
                    self._last.pop(agent.url, None)
                if isinstance(lost, AgentRefused) and lost.agent_status == 400:
                    self._takes_interval.discard(agent.url)  # an earlier release than before
            except HelenusError as wrong:
                if self._last.get(agent.url) == after:
                    # The very next event can't be read, and wouldn't be next time: what comes behind it is wanted.
                    self._last.pop(agent.url, None)
                untold = self._seldom.due(agent.url)
                if untold is not None:
                    log.warning("event stream can't be read", agent=agent.url, reason=wrong.message, untold=untold)
            except Exception:
                # Without its follower an agent's progress would stand still, and nobody would know why.
                log.exception("event stream broke off in an unforeseen way", agent=agent.url)
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._patience.backoff_last)

    async def _newest(self, agent: Agent, hear: Callable[[], Awaitable[None]]) -> int:
        """The sequence of the agent's newest event, by a new report: an earlier one is older than what was read of the
        stream. Whether the agent takes an interval is known then: it may be another release than before."""
        await hear()
        if agent.report is None or agent.error is not None:
            why = agent.error.message if agent.error is not None else "it was never heard"
            raise AgentUnreachable(why, agent=agent.url)
        self._takes_interval.discard(agent.url)
        if EVENTS_INTERVAL in agent.report.features:
            self._takes_interval.add(agent.url)
        return agent.report.events

    def _interval_for(self, agent: Agent) -> int:
        """Only for agents that know what it is; 0 = as often as the agent likes."""
        return int(self.interval) if agent.url in self._takes_interval else 0

    def _watch(self, url: str, command: str) -> asyncio.Event:
        if self._agent_of.get(command) != url:
            self._commands_of.get(self._agent_of.get(command, ""), set()).discard(command)
            self._commands_of.setdefault(url, set()).add(command)
            self._agent_of[command] = url
        self._live.setdefault(command, Live(moved=self._clock()))
        return self._news.setdefault(command, asyncio.Event())

    def _see(self, command: str, live: Live, told: Progress) -> None:
        known = self._live[command]
        refuse_too_many(known.progress, told)
        progress = kept(known.progress, told, self._layouts, done=live.state is State.SUCCESS)
        same = progress is known.progress and (known.state, known.stage) == (live.state, live.stage)
        self._live[command] = msgspec.structs.replace(
            live,
            progress=progress,
            moved=known.moved if same else self._clock(),
            kind=live.kind or known.kind,
            what=known.what,
        )

    def _take(self, url: str, event: Event) -> None:
        self._last[url] = event.sequence
        if self._instances.setdefault(url, event.instance) != event.instance:
            # A new process of the agent: what it found unfinished may have ended without an event of its own.
            self._instances[url] = event.instance
            self._wake(url)
        if event.command not in self._live or self._agent_of.get(event.command) != url:
            return  # nobody's, or another agent's, of whom this one has nothing to tell
        self._see(event.command, Live(event.state, event.stage, error=event.error), event.progress)
        if event.state.terminal:
            self._news[event.command].set()

    def _wake(self, url: str) -> None:
        """After a gap nobody knows what was missed: everyone reads their command again."""
        for command in self._commands_of.get(url, ()):
            self._news[command].set()


def _lane(live: Live) -> str | None:
    """Of a kind that only a newer agent knows nothing is said."""
    return LANE_OF.get(live.kind)


async def _view_of(client: AgentClient, command: str) -> CommandView:
    """The view of a command that its agent took once. Raises `TokenRefused` while the agent lets nobody in who shows
    the coordinator's token."""
    try:
        return await client.command(command)
    except AgentRefused as refused:
        if refused.at_the_door:
            raise TokenRefused(refused) from refused
        raise


async def _news_or(news: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return
