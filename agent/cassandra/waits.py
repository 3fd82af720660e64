"""Waiting for Cassandra so that somebody who looks on knows for what. In: a look that costs something, a deadline, and
who looks on. Out: whether it came about."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from agent.cassandra.service_errors import WaitGivenUp, WaitingForCassandra


@dataclass(frozen=True)
class Watch:
    """Who looks on. `tell` shows what is waited for: an error object while it lasts, None after it (as
    JobContext.waiting). `given_up`: whether a person ended the wait."""

    tell: Callable[[dict[str, Any] | None], None] = lambda error: None
    given_up: Callable[[], bool] = lambda: False

    def waiting(self, text: str, waits_for: str, seconds: float) -> None:
        """Show what is waited for, at most `seconds`."""
        self.tell(WaitingForCassandra(text, waits_for=waits_for, seconds=seconds).as_dict())

    def refuse_given_up(self, state: str) -> None:
        """Raises `WaitGivenUp` when a person ended the wait; `state`: what Cassandra does, as a clause."""
        if self.given_up():
            raise WaitGivenUp(f"the wait was ended by a person; Cassandra {state}")


NOBODY = Watch()


async def until(look: Callable[[], Awaitable[bool]], seconds: float, watch: Watch, *, every: float) -> bool:
    """Look again and again, `every` seconds, until it holds; False when it doesn't within `seconds`. Raises
    `WaitGivenUp`, and what the look raises."""
    end = time.monotonic() + seconds
    while not await look():
        if time.monotonic() > end:
            return False
        watch.refuse_given_up("goes on without the agent")
        await asyncio.sleep(every)
    return True
