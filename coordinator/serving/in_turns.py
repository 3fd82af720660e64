"""A coordinator among others. In: a state that all of them have. Out: the API, served until it is told to stop; whoever
leads acts.

What acts is made anew for each term and torn down at its end, as at a start and a stop of the process: everything that
counts is durable, so a change of the lead is nothing but a restart elsewhere.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import NoReturn

import structlog

from coordinator.access.passwords import Passwords
from coordinator.fleet.fleet import Fleet
from coordinator.leading.decision import terms_of
from coordinator.leading.leadership import Leadership, Term
from coordinator.leading.led_store import led
from coordinator.orchestrate.apart_jobs import ApartJobs
from coordinator.serving.acting import Shared, composed, entries_of, installed_version, timing_of
from coordinator.serving.apart_door import ApartDoor
from coordinator.serving.forwarding import Forwarding, reached_at
from coordinator.serving.ready import Ready
from coordinator.serving.standby import Standby, leading_gauge
from coordinator.store.protocol import LeadRecord, Store
from kit import logs
from kit.background import Background, run_until
from kit.errors import HelenusError
from kit.garbage import keep_collections_short
from kit.heartbeat import beat
from kit.http_server import HttpServer
from kit.notify import Notifier

TEAR_DOWN_SECONDS = 60.0
"""For what acted to end after its term. Whatever then still doesn't end is ended with the process."""

PAUSE_SECONDS = 5.0
"""After what acts could not go on, before this coordinator tries again to lead what it took."""

log = structlog.get_logger("coordinator")


class TornDownTooSlowly(RuntimeError):
    """What acts did not end with its term. Nothing of it acts any more, but only a new process is surely rid of it."""


class InTurns:
    """`serve` it once. `redactor` learns secrets."""

    def __init__(
        self, ready: Ready, store: Store, record: LeadRecord, redactor: logs.Redactor, notifier: Notifier
    ) -> None:
        self._ready = ready
        self._store = store
        self._record = record
        self._redactor = redactor
        self._notifier = notifier
        self._stuck = False

    async def serve(self, stop: asyncio.Event, background: Sequence[Callable[[], Background]] = ()) -> None:
        """Until `stop` is set; then the lead is given back. Raises what ended a part that should not end, which are
        those of the `background` too: they are begun once the address is held."""
        ready, me = self._ready, uuid.uuid4().hex
        async with AsyncExitStack() as stack:
            self._passwords = Passwords()
            stack.callback(self._passwords.close)
            certificate = ready.access.client_certificate
            forwarding = await stack.enter_async_context(
                Forwarding(lambda: self._leadership.leader, me, ready.reached.tls, certificate=certificate)
            )
            self._apart = await stack.enter_async_context(self._apart_jobs())
            self._door = ApartDoor(self._apart, self._store, entries_of(ready), self._redactor).door()
            self._standby = Standby(
                ready,
                self._store,
                lambda: self._leadership.leader,
                forwarding,
                self._passwords,
                installed_version(),
                self._door,
            )
            self._metrics = self._standby.metrics
            self._server = HttpServer(self._standby.app, ready.settings.http, ready.access)
            stack.push_async_callback(self._server.stop)
            await self._server.bind()
            terms = terms_of(ready.settings.leading.lease_seconds)
            self._leadership = Leadership(self._record, me, terms, self._reached_at(), certificate=certificate)
            await self._server.start()
            stack.push_async_callback(self._give_back)
            log.info(
                "the coordinator serves", url=self._server.url, reached=self._reached_at(), version=installed_version()
            )
            self._notifier.ready()
            pulse = beat(self._notifier, lambda lag: self._metrics.observe_lag(lag))
            turns = [self._leadership.keep_on(), self._take_turns(), self._apart.keep_on()]
            await run_until(stop, [pulse, keep_collections_short(), *turns, *(part() for part in background)])
            self._notifier.stopping()
            log.info("the coordinator stops")

    def _apart_jobs(self) -> ApartJobs:
        """What goes on whoever leads. No term holds its calls of agents back: their fence does."""
        ready, settings = self._ready, self._ready.settings
        return ApartJobs(
            ready.state_directory,
            lambda: Fleet(ready.agents),
            timing_of(settings.orchestration, settings.retention, ready.timing),
            time.time,
            time.monotonic,
            lambda: self._leadership.away,
        )

    def _reached_at(self) -> str:
        return reached_at(self._ready.reached.url, self._ready.settings.http.host, self._server.url)

    async def _give_back(self) -> None:
        if not self._stuck:  # else the lead ends by itself, after the process
            await self._leadership.give_back()

    async def _take_turns(self) -> NoReturn:
        while True:
            self._notifier.status("standby: another coordinator leads, or none")
            term = await self._leadership.led()
            try:
                await self._until_over(term)
            except HelenusError as error:
                # The state, mostly: it may answer another coordinator, or this one again.
                log.error("what acts has ended; the lead is given back", **error.as_dict())
                await self._leadership.give_back()
                await asyncio.sleep(PAUSE_SECONDS)

    async def _until_over(self, term: Term) -> None:
        """Act until the term is over or this is cancelled, and be done with it when this returns."""
        acting, over = asyncio.create_task(self._act(term)), asyncio.create_task(term.over.wait())
        try:
            await asyncio.wait({acting, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            acting.cancel()
            # Told to stop meanwhile: the lead is given back after this, so it is waited for all the same.
            ending = asyncio.create_task(asyncio.wait({acting}, timeout=TEAR_DOWN_SECONDS))
            try:
                await asyncio.shield(ending)
            finally:
                await ending
                self._stuck = not acting.done()
            if self._stuck:
                raise TornDownTooSlowly("what acts did not end with the term; the process must be started anew")
        if not acting.cancelled():
            acting.result()

    async def _act(self, term: Term) -> None:
        """Everything that acts, from its begin until it is cancelled."""
        async with AsyncExitStack() as stack:
            # Entered first, so left last: nothing is being written any more when the lead is given back.
            store = led(await stack.enter_async_context(self._store.during(term.hold)), term.hold)
            shared = Shared(term.hold, self._apart, self._door)
            acting = await composed(stack, self._ready, store, self._redactor, self._passwords, shared)
            leading_gauge(acting.metrics, leads=True)
            # Whoever asks meanwhile is told that nobody leads yet, or waits.
            await acting.begin(stack)
            stack.push_async_callback(self._serve_standby)
            await self._server.serve(acting.app)
            self._metrics = acting.metrics
            self._notifier.status("leads")
            await acting.warn()
            log.info("what acts has begun", fence=term.fence, clusters=list(self._ready.settings.clusters))
            await run_until(asyncio.Event(), acting.background())

    async def _serve_standby(self) -> None:
        self._metrics = self._standby.metrics
        await self._server.serve(self._standby.app)
