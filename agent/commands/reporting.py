"""Push of events to a coordinator. In: the event log. Out: POSTs of JSON lists of events to the coordinator's URL, in
order, each at least once, however long it is away."""

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
            async for events, seen in self._events.follow(position, report_to=self._coordinator.name):
                if not events:
                    continue
                await self._deliver(session, events)
                # Progress alone is not worth a write: after a crash it is told again.
                if any(event.result is not None or event.state.terminal or not event.progress for event in events):
                    await self._remember(seen)

    async def _remember(self, position: int) -> None:
        try:
            await self._journal.set_position(self._coordinator.name, position)
        except JournalFailed as failed:
            # Only a restart before the next one that succeeds makes these events come twice, which is allowed.
            log.warning("an acknowledged position can't be kept", reason=failed.message)

    async def _deliver(self, session: aiohttp.ClientSession, events: list[Event]) -> None:
        body = msgspec.json.encode(events)
        tries = 0
        while True:
            try:
                async with session.post(
                    self._coordinator.url, data=body, headers=self._headers, allow_redirects=False
                ) as response:
                    if 200 <= response.status < 300:
                        return
                    reason = f"status {response.status}"
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as broken:
                reason = type(broken).__name__
            if tries in (0, 10) or tries % 100 == 0:
                log.warning("a coordinator takes no events", coordinator=self._coordinator.name, reason=reason)
            await asyncio.sleep(self._pause(tries))
            tries += 1


def _growing(tries: int) -> float:
    return float(min(FIRST_PAUSE * 2 ** min(tries, 20), LAST_PAUSE))
