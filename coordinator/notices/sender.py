"""Tells one hook what waits for it. In: the outbox. Out: each notice told at least once, in order, over restarts.

A notice is done in the outbox only after it was taken: killed in between, the next life tells it again, with its id.
One that is refused is tried again, at longer and longer pauses, and those behind it wait: a receiver that heard of an
end before its beginning couldn't keep count. One that has waited for three days is dropped, and the log says so.
Nobody but the hook's own sender waits for the hook.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from coordinator.model.notices import HookState, Notice, Waiting
from coordinator.notices.errors import WebhookFailed, WebhookGone
from coordinator.store.protocol import Outbox
from kit.errors import HelenusError

log = structlog.get_logger(__name__)

Tell = Callable[[Notice], Awaitable[None]]


class Pace(msgspec.Struct, frozen=True):
    """Seconds. `first`: the pause after the first try that failed, at most; each next one is twice as long, up to
    `longest`. `give_up`: how long a notice waits before it is dropped, once it was tried `least_tries` times: a
    coordinator that was off for a week starts, perhaps, before its network does. `idle`: after which an outbox that
    was empty is looked at without being told. `store`: before the store is tried again."""

    first: float = 5.0
    longest: float = 3_600.0
    give_up: float = 3 * 86_400.0
    least_tries: int = 10
    idle: float = 60.0
    store: float = 5.0


PACE = Pace()


def pause(pace: Pace, tries: int, chance: float) -> float:
    """Seconds after so many tries and one more: between half and all of the doubled time, by `chance` (0 to 1), so that
    receivers that all failed at once aren't asked at once again."""
    # Beyond so many doublings it is the longest in any case, and the power would be a number of any size.
    return min(pace.first * float(2 ** min(tries, 32)), pace.longest) * (0.5 + chance / 2)


class Sender:
    """`tell` raises `WebhookFailed` or `WebhookGone`; `clock` gives unix seconds, `chance` a number from 0 to 1."""

    def __init__(
        self,
        state: HookState,
        outbox: Outbox,
        tell: Tell,
        clock: Callable[[], float],
        pace: Pace = PACE,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.state = state
        self._outbox = outbox
        self._tell = tell
        self._clock = clock
        self._pace = pace
        self._chance = chance
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Something was put into the outbox."""
        self._news.set()

    async def keep_on(self) -> None:
        """Run until cancelled, or until the hook wants no more."""
        while not self.state.gone:
            self._news.clear()
            try:
                wait = await self._once()
            except HelenusError as error:
                log.warning("notices wait for the store", hook=self.state.name, **error.as_dict())
                wait = self._pace.store
            except Exception:
                log.exception("a notice can't be told for an unforeseen reason", hook=self.state.name)
                wait = self._pace.longest
            if wait is not None:
                await asyncio.sleep(wait)
                continue
            try:
                async with asyncio.timeout(self._pace.idle):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def _once(self) -> float | None:
        """Seconds to wait before the next look; None: until there is something."""
        waiting = await self._outbox.first(self.state.name)
        if waiting is None:
            return None
        left = waiting.next_try - self._clock()
        if 0 < left <= self._pace.longest:  # a clock that was set back makes nobody wait for years
            return left
        try:
            await self._tell(waiting.notice)
        except WebhookGone as gone:
            self._learn(gone=True, last_error=gone.message, failed=self.state.failed + 1)
            told = "a webhook wants no more notices: none are sent until the next start"
            log.warning(told, **self._named(), **gone.as_dict())
            return 0.0
        except WebhookFailed as error:
            self._learn(last_error=error.message, failed=self.state.failed + 1)
            return await self._refused(waiting, error)
        await self._outbox.done(waiting.hook, waiting.notice.id)
        self._learn(told=self.state.told + 1, last_told=self._clock(), last_error="")
        return 0.0

    async def _refused(self, waiting: Waiting, error: WebhookFailed) -> float:
        named = {**self._named(), "notice": waiting.notice.id, "type": waiting.notice.type, "reason": error.message}
        if self._clock() - waiting.put > self._pace.give_up and waiting.tries + 1 >= self._pace.least_tries:
            await self._outbox.done(waiting.hook, waiting.notice.id)
            self._learn(dropped=self.state.dropped + 1)
            log.warning("a notice is dropped: its webhook didn't take it in time", **named, tries=waiting.tries + 1)
            return 0.0
        wait = pause(self._pace, waiting.tries, self._chance())
        await self._outbox.postpone(waiting.hook, waiting.notice.id, waiting.tries + 1, self._clock() + wait)
        again = round(wait, 1)
        log.warning("a webhook was not told", **named, code=error.code, tries=waiting.tries + 1, again_seconds=again)
        return wait

    def dropped(self, count: int) -> None:
        """So many that waited were dropped for newer ones."""
        self._learn(dropped=self.state.dropped + count)

    def _named(self) -> dict[str, str]:
        return {"hook": self.state.name, "host": self.state.host}

    def _learn(self, **changes: object) -> None:
        self.state = msgspec.structs.replace(self.state, **changes)
