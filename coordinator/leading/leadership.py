"""Takes, renews and gives up the lead. In: the record of it in the state. Out: whether this coordinator leads right
now, and who else does.

There is one lead, of the whole state: what keeps orders apart is looked up within one process.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from coordinator.leading.decision import (
    Leading,
    Terms,
    Waiting,
    acts_until,
    given_back,
    may_take,
    noticed,
    renew_at,
    renewed,
    taken,
)
from coordinator.model.leading import Lease
from coordinator.store.protocol import LeadRecord
from kit.errors import HelenusError
from kit.seldom import Seldom

log = structlog.get_logger(__name__)


def seconds_asleep_too() -> float:
    """Monotonic seconds that go on while the machine sleeps: a lease ends meanwhile, so its holder's time must."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Term:
    """One time of leading, from taking the lead to losing it; another one is another object."""

    def __init__(self, leadership: "Leadership", fence: int) -> None:
        self.fence = fence
        self.over = asyncio.Event()
        self._leadership = leadership

    @property
    def lasts(self) -> bool:
        """Whether this coordinator may still act. Asked by its own clock, so it costs nothing and a process that slept
        is told the truth."""
        return self._leadership.term is self and not self.over.is_set() and self._leadership.leads

    async def hold(self) -> None:
        """Return at once while the term lasts, and never afterwards: who awaits it before each thing that it does is
        frozen where it stands until it is cancelled. An error would be taken for an outcome, and written down."""
        while not self.lasts:
            await asyncio.Event().wait()


class Leadership:
    """Run `keep_on` in the background. `me`: a name that no other life of a process has. `url`: where others reach us;
    `certificate`: whether we ask for client certificates."""

    def __init__(
        self,
        record: LeadRecord,
        me: str,
        terms: Terms,
        url: str,
        *,
        certificate: bool = False,
        monotonic: Callable[[], float] = seconds_asleep_too,
    ) -> None:
        self.term: Term | None = None
        """the newest one"""
        self._record = record
        self._me = me
        self._terms = terms
        self._url = url
        self._certificate = certificate
        self._clock = monotonic
        self._state: Waiting | Leading = Waiting()
        self._began = asyncio.Event()
        self._heard = monotonic()
        self._seldom = Seldom()

    @property
    def leads(self) -> bool:
        """Whether this coordinator leads at this moment."""
        return isinstance(self._state, Leading) and self._clock() < acts_until(self._state, self._terms)

    @property
    def leader(self) -> Lease | None:
        """Who leads as far as we know: another one's lease, of which we saw the last look; None: nobody, or it is we,
        or nothing was heard of him for so long that he doesn't lead any more."""
        seen = self._state.seen if isinstance(self._state, Waiting) else None
        return None if seen is None or may_take(self._state, self._me, self._clock()) else seen  # type: ignore[arg-type]

    @property
    def away(self) -> bool:
        """Whether the record of the lead has told nobody here anything for a lease's length: then nobody leads as far
        as we can know, and that is no more than a guess."""
        return not self.leads and self._clock() - self._heard >= self._terms.length

    async def led(self) -> Term:
        """The term, once this coordinator leads."""
        while self.term is None or not self.term.lasts:
            self._began.clear()
            await self._began.wait()
        return self.term

    async def keep_on(self) -> None:
        """Run until cancelled."""
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            pause = await self.step()

    async def step(self) -> float:
        """Do what is to be done now, and say after how many seconds there may be more."""
        if isinstance(self._state, Leading):
            now = self._clock()
            if now >= acts_until(self._state, self._terms):
                self._lose("it could not be renewed in time")
            elif now >= renew_at(self._state, self._terms):
                await self._renew(self._state)
        else:
            await self._look(self._state)
        return self._pause()

    async def give_back(self) -> None:
        """Let another one lead at once. Only when nothing acts here any more. While `keep_on` runs this one may lead
        again later, as a new term."""
        state = self._state
        self._lose("it is given back")
        if isinstance(state, Leading):
            await self._let_go(state.lease)

    async def _let_go(self, lease: Lease) -> None:
        try:
            async with asyncio.timeout(self._terms.patience):
                await self._record.swap(lease, given_back(lease))
        except (HelenusError, TimeoutError) as error:
            log.info("the lead could not be given back; it ends by itself", reason=str(error))

    async def _look(self, state: Waiting) -> None:
        try:
            async with asyncio.timeout(self._terms.patience):
                seen = await self._record.get()
                # The answer is here: its holder sent it before, so that his time began before this.
                self._heard = self._clock()
                self._state = state = noticed(state, seen, self._heard)
                if not may_take(state, self._me, self._clock()):
                    return
                wanted = taken(seen, self._me, self._terms, self._url, certificate=self._certificate)
                sent = self._clock()
                if not await self._record.swap(seen, wanted):
                    return  # another one was quicker
        except (HelenusError, TimeoutError) as error:
            self._tell_unanswered(error)
            return
        self._state = Leading(wanted, sent)
        self.term = Term(self, wanted.fence)
        self._began.set()
        log.info("this coordinator leads", fence=wanted.fence, seconds=self._terms.length)

    async def _renew(self, state: Leading) -> None:
        sent = self._clock()
        wanted = renewed(state.lease)
        try:
            async with asyncio.timeout(min(self._terms.patience, acts_until(state, self._terms) - sent)):
                swapped = await self._record.swap(state.lease, wanted)
                kept = wanted if swapped else await self._record.get()
                self._heard = self._clock()
        except (HelenusError, TimeoutError) as error:
            self._tell_unanswered(error)
            return
        ours = kept is not None and (kept.holder, kept.fence) == (self._me, state.lease.fence)
        if self._state is not state or self._clock() >= acts_until(state, self._terms):
            # The term ended meanwhile, and never comes again: what was held back stays so. Nobody waits for the rest of
            # what was renewed.
            if self._state is state:
                self._lose("it could not be renewed in time")
            if kept is not None and ours:
                await self._let_go(kept)
        elif kept is not None and ours:
            # A renewal whose answer was lost counts, but not from when it was sent: from the next one on.
            self._state = Leading(kept, sent if swapped else state.sent)
        else:
            self._lose("another coordinator has it")

    def _lose(self, why: str) -> None:
        if isinstance(self._state, Leading):
            log.warning("this coordinator does not lead any more", reason=why, fence=self._state.lease.fence)
        self._state = Waiting()
        if self.term is not None:
            self.term.over.set()

    def _pause(self) -> float:
        if not isinstance(self._state, Leading):
            return self._terms.look
        now, end = self._clock(), acts_until(self._state, self._terms)
        # A renewal that failed is tried again soon, and the end of the term is never slept through.
        return max(0.0, min(max(renew_at(self._state, self._terms) - now, self._terms.look), end - now))

    def _tell_unanswered(self, error: Exception) -> None:
        untold = self._seldom.due("unanswered")
        if untold is not None:
            reason = error.message if isinstance(error, HelenusError) else "no answer in time"
            log.warning("who leads can't be asked", reason=reason, untold=untold)
