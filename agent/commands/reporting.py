"""Push of events to a coordinator. In: the event log. Out: POSTs of JSON lists of events to the coordinator's URL, in
order, each at least once, however long it is away.

A coordinator that refuses one event is told the others: a list that it refuses for what is in it is halved down to
the events that it refuses alone. One that is too large for it alone is skipped; another one only when an event beside
it was taken, else the coordinator may be refusing everything, and all wait. What is skipped is logged; the command's
view still has it.
"""

import asyncio
import ssl
from collections.abc import Callable

import aiohttp
import msgspec
import structlog

from agent.commands.errors import JournalFailed
from agent.commands.events import EventLog
from agent.commands.journal import Journal
from agent.wire.commands import Event
from kit.secret import Secret

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.2
LAST_PAUSE = 30.0
DELIVERY_SECONDS = 30.0
"""How long a coordinator may take to acknowledge."""
TOO_LARGE = 413
REFUSED = frozenset({400, TOO_LARGE, 422})
"""Statuses that are said of a list's content. Any other one may pass, and the same list is sent until it is taken."""


class CoordinatorAddress(msgspec.Struct, frozen=True):
    """Where a coordinator of the configuration takes events: `name` is what `report_to` says, `url` the whole URL."""

    name: str
    url: str
    token: Secret | None = None


class Reporter:
    """Delivers to one coordinator the events of the commands that report to it. `headers` go with each POST."""

    def __init__(
        self,
        coordinator: CoordinatorAddress,
        events: EventLog,
        journal: Journal,
        *,
        headers: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        pause: Callable[[int], float] | None = None,
    ) -> None:
        self._coordinator = coordinator
        self._events = events
        self._journal = journal
        self._tls = tls
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        if coordinator.token:
            self._headers["Authorization"] = f"Bearer {coordinator.token.reveal()}"
        self._pause = pause or _growing

    async def run(self) -> None:
        """Deliver until the event log is closed or the task is cancelled."""
        position = await self._journal.position(self._coordinator.name)
        timeout = aiohttp.ClientTimeout(total=DELIVERY_SECONDS, sock_connect=5.0)
        connector = aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            position = min(position, self._events.newest)
            tries = 0
            while True:
                async for events, seen in self._events.follow(position, report_to=self._coordinator.name):
                    if not events:
                        continue
                    if not await self._deliver(session, events):
                        break
                    position, tries = seen, 0
                    # Progress alone is not worth a write: after a crash it is told again.
                    if any(event.result is not None or event.state.terminal or not event.progress for event in events):
                        await self._remember(seen)
                else:
                    return
                # Refused one and all: later with those that come meanwhile, of which one may be taken.
                if _told(tries):
                    log.warning("a coordinator refuses all events", coordinator=self._coordinator.name)
                await asyncio.sleep(self._pause(tries))
                tries += 1

    async def _remember(self, position: int) -> None:
        try:
            await self._journal.set_position(self._coordinator.name, position)
        except JournalFailed as failed:
            # Only a restart before the next one that succeeds makes these events come twice, which is allowed.
            log.warning("an acknowledged position can't be kept", reason=failed.message)

    async def _deliver(self, session: aiohttp.ClientSession, events: list[Event]) -> bool:
        """Whether all are taken, or to be skipped."""
        refused = await self._offer(session, events)
        if len(refused) == len(events) and any(status != TOO_LARGE for _, status in refused):
            return False
        for event, status in refused:
            log.error(
                "a coordinator refuses an event, which is skipped",
                coordinator=self._coordinator.name,
                command=event.command,
                state=event.state.value,
                sequence=event.sequence,
                status=status,
            )
        return True

    async def _offer(self, session: aiohttp.ClientSession, events: list[Event]) -> list[tuple[Event, int]]:
        """Send the events; those that are refused alone, with the status."""
        status = await self._send(session, events)
        if status not in REFUSED:
            return []
        if len(events) == 1:
            return [(events[0], status)]
        middle = len(events) // 2
        first = await self._offer(session, events[:middle])
        return first + await self._offer(session, events[middle:])

    async def _send(self, session: aiohttp.ClientSession, events: list[Event]) -> int:
        """The status of an answer that settles it: 2xx, or one of `REFUSED`."""
        body = msgspec.json.encode(events)
        tries = 0
        while True:
            try:
                async with session.post(
                    self._coordinator.url, data=body, headers=self._headers, allow_redirects=False
                ) as response:
                    if 200 <= response.status < 300:
                        return response.status
                    if response.status in REFUSED:
                        return response.status
                    reason = f"status {response.status}"
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as broken:
                reason = type(broken).__name__
            if _told(tries):
                log.warning("a coordinator takes no events", coordinator=self._coordinator.name, reason=reason)
            await asyncio.sleep(self._pause(tries))
            tries += 1


def _told(tries: int) -> bool:
    """Whether the log tells of this failed try: not of each one of a day's."""
    return tries in (0, 10) or tries % 100 == 0


def _growing(tries: int) -> float:
    return float(min(FIRST_PAUSE * 2 ** min(tries, 20), LAST_PAUSE))
