"""The agent's event log. In: state changes of commands, and counters that move. Out: events in the order of their
sequence, to any number of readers, each from where it left off.

State changes are durable: their event is committed together with the change. Progress is not written at all: a running
command has at most one progress event, made again (under a new sequence) at most every half second while its counters
move, and told to each reader as what changed since that reader's last sequence. So neither the journal nor memory grows
with the length of a command, and progress costs no write.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from agent.commands.endless import died
from agent.commands.errors import JournalFailed, SequenceAhead
from agent.commands.journal import Journal
from agent.commands.journal_rows import encode
from agent.commands.records import CommandRecord
from agent.progress.tally import CommandTally
from agent.wire.commands import Event, Progress

log = structlog.get_logger(__name__)

RECENT = 20_000
"""Weight of the durable events kept in memory, so that readers that keep up never wake the journal. An event weighs
one, and one more per table that it counts: about 10 MB in all."""
RESERVED_TOGETHER = 10_000
MOST_EVENTS = 1_000
"""Events of one answer."""
MOST_BYTES = 1_000_000
"""JSON of one answer: a terminal event counts every table, so that 1,000 of them may be 15 MB. One event may have more.
"""


class _Watched:
    """A running command as the log sees it."""

    __slots__ = ("at", "command", "sequence", "tally")

    def __init__(self, command: CommandRecord, tally: CommandTally) -> None:
        self.command = command
        self.tally = tally
        self.sequence = 0
        self.at = 0.0


class EventLog:
    """One log per agent. `interval` in seconds: how often progress is told at most."""

    def __init__(self, journal: Journal, clock: Callable[[], float] = time.time, interval: float = 0.5) -> None:
        self._journal = journal
        self._clock = clock
        self._interval = interval
        self._next = 1
        self._reserved = 0
        self._reserving: asyncio.Task[None] | None = None
        self._in_flight: set[int] = set()
        self._recent: deque[tuple[str | None, Event]] = deque()
        self._weight = 0
        self._forgotten = 0
        self._watched: dict[str, _Watched] = {}
        self._news = asyncio.Event()
        self._ticker: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Go on after the last sequence that an earlier process may have given out."""
        last = await self._journal.last_sequence()
        self._next = last + 1
        self._forgotten = last
        self._reserved = last + RESERVED_TOGETHER
        await self._journal.reserve_sequences(self._reserved)
        self._ticker = asyncio.create_task(self._tick(), name="progress events")

    async def close(self) -> None:
        """End every reader's wait and the ticker."""
        self._closed = True
        self._wake()
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.wait([self._ticker])
        if self._reserving is not None:
            await asyncio.wait([self._reserving])

    @property
    def newest(self) -> int:
        """The newest sequence that readers may see: all before it are durable."""
        return min(self._in_flight, default=self._next) - 1

    @property
    def died(self) -> tuple[str, ...]:
        """What should go on and doesn't: the telling of progress, with the reason."""
        return () if self._ticker is None or self._closed else died([self._ticker])

    # Writing

    async def record(
        self,
        command: CommandRecord,
        write: Callable[[Event], Awaitable[object]],
        progress: Progress | None = None,
    ) -> None:
        """Make the event of the command's present state and have it written by `write`, which commits it together with
        the change; readers see it after that. `write` gives False if nothing was to be written. Not to be cancelled:
        an event that is committed must come to be seen (agent.commands.unbroken)."""
        event = command.event(self._take_sequence(), self._clock(), progress)
        self._in_flight.add(event.sequence)
        try:
            wrote = await write(event)
            if wrote is not False:
                self._recent.append((command.report_to, event))
                if len(self._recent) > 1 and self._recent[-2][1].sequence > event.sequence:
                    self._recent = deque(sorted(self._recent, key=lambda entry: entry[1].sequence))
                self._weight += _weight(event)
                while self._weight > RECENT:
                    oldest = self._recent.popleft()[1]
                    self._weight -= _weight(oldest)
                    self._forgotten = oldest.sequence
        finally:
            self._in_flight.discard(event.sequence)
            self._wake()

    def watch(self, command: CommandRecord, tally: CommandTally) -> None:
        """Tell of this command's counters from now on (again with each new state)."""
        watched = self._watched.get(command.id)
        if watched is None:
            self._watched[command.id] = _Watched(command, tally)
        else:
            watched.command = command

    def unwatch(self, command: str) -> None:
        """Tell no more: the next event is the last one and holds all counts. Called before that one is recorded,
        so that no progress follows it."""
        self._watched.pop(command, None)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            told = False
            for watched in self._watched.values():
                # Beyond what is reserved a number could be given twice, after a crash: then progress waits.
                if watched.tally.changed and self._next <= self._reserved:
                    watched.sequence = self._take_sequence()
                    watched.at = self._clock()
                    watched.tally.mark(watched.sequence)
                    told = True
            if told:
                self._wake()

    def _take_sequence(self) -> int:
        sequence = self._next
        self._next += 1
        if self._reserving is None and self._next > self._reserved - RESERVED_TOGETHER // 2:
            self._reserving = asyncio.create_task(self._reserve(self._reserved + RESERVED_TOGETHER))
        return sequence

    async def _reserve(self, until: int) -> None:
        try:
            await self._journal.reserve_sequences(until)
            self._reserved = until
        except JournalFailed:
            log.warning("sequences can't be reserved: progress is told no more until the journal can be written")
        finally:
            self._reserving = None

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    # Reading

    async def after(
        self, sequence: int, limit: int = MOST_EVENTS, wait: float = 0.0, report_to: str | None = None
    ) -> list[Event]:
        """Events after `sequence`, in order, at most `limit` and `MOST_BYTES` (but one at least); if there are none,
        the first that come within `wait` seconds. With `report_to` only those of commands that report there. Raises
        SequenceAhead."""
        deadline = asyncio.get_running_loop().time() + wait
        while True:
            news = self._news  # taken before looking, so that nothing falls between
            events, _ = await self._look(sequence, limit, report_to)
            if events or self._closed:
                return events
            try:
                async with asyncio.timeout_at(deadline):
                    await news.wait()
            except TimeoutError:
                return []

    async def follow(
        self, sequence: int, silence: float = 15.0, report_to: str | None = None, interval: float = 0.0
    ) -> AsyncIterator[tuple[list[Event], int]]:
        """Events after `sequence` as they come, with the sequence up to which the reader has then seen all that is for
        it; an empty list after `silence` seconds without any. `interval`: seconds before more of mere progress is told
        after the last events; what else happens is told at once, with the progress until then. Ends when the log is
        closed. Raises SequenceAhead."""
        loop = asyncio.get_running_loop()
        due = silent = loop.time()
        silent += silence
        while not self._closed:
            news = self._news
            if loop.time() >= due or self._states_after(sequence):
                events, seen = await self._look(sequence, MOST_EVENTS, report_to)
                if events:
                    sequence = seen
                    due, silent = loop.time() + interval, loop.time() + silence
                    yield events, seen
                    continue
                sequence = max(sequence, seen)
            try:
                async with asyncio.timeout_at(silent if loop.time() >= due else min(due, silent)):
                    await news.wait()
            except TimeoutError:
                if loop.time() >= silent:
                    silent = loop.time() + silence
                    yield [], sequence

    def _states_after(self, sequence: int) -> bool:
        """Whether there may be more than progress after a sequence."""
        if sequence < self._forgotten:
            return True
        return bool(self._recent) and sequence < self._recent[-1][1].sequence <= self.newest

    async def _look(self, after: int, limit: int, report_to: str | None) -> tuple[list[Event], int]:
        """The events, and the sequence up to which these are all."""
        newest = self.newest
        if after > newest:
            if after >= self._next:
                raise SequenceAhead(
                    f"the newest event has sequence {self._next - 1}, asked was what follows {after}",
                    newest=self._next - 1,
                    after=after,
                )
            return [], after
        # Progress first: what a reader hears of it must not be older than the states that follow.
        events = [
            self._progress(watched, after)
            for watched in self._watched.values()
            if after < watched.sequence <= newest and report_to in (None, watched.command.report_to)
        ]
        complete = True
        if after >= self._forgotten:
            for reader, event in reversed(self._recent):
                if event.sequence <= after:
                    break
                if event.sequence <= newest and report_to in (None, reader):
                    events.append(event)
        else:
            older, complete = await self._journal.events(after, newest, limit, MOST_BYTES, report_to)
            if older and not complete:
                events = [event for event in events if event.sequence < older[-1].sequence]
            events += older
        events.sort(key=_sequence)
        fitting = _fitting(events[:limit])
        if complete and len(fitting) == len(events):
            return events, newest
        events = fitting
        seen = events[-1].sequence
        for watched in self._watched.values():
            if watched.sequence > seen:
                # This reader's next question begins at `seen`: what moved before that must not be lost to it.
                watched.tally.postpone(after, watched.sequence)
        return events, seen

    @staticmethod
    def _progress(watched: _Watched, after: int) -> Event:
        command = watched.command
        return command.event(watched.sequence, watched.at, watched.tally.since(after))


def _weight(event: Event) -> int:
    return 1 + sum(len(tables) for keyspaces in event.progress.values() for tables in keyspaces.values())


def _fitting(events: list[Event]) -> list[Event]:
    """The first of the events, as many as one answer holds."""
    size = 0
    for count, event in enumerate(events):
        size += len(encode(event)) + 1
        if size > MOST_BYTES and count:
            return events[:count]
    return events


def _sequence(event: Event) -> int:
    return event.sequence
