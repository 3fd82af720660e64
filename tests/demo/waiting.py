"""Waits that a person sees go on. In: what is waited for. Out: a line when it begins, and another one now and then."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

SIGN_OF_LIFE_SECONDS = 15.0


@asynccontextmanager
async def told(report: Callable[[str], None], what: str, seconds: float = SIGN_OF_LIFE_SECONDS) -> AsyncIterator[None]:
    """For the block: `report` is told that it begins, and every `seconds` for how long it has been going on."""
    began = time.monotonic()
    report(f"{what} …")

    async def go_on() -> None:
        while True:
            await asyncio.sleep(seconds)
            report(f"… {time.monotonic() - began:.0f} s so far")

    telling = asyncio.create_task(go_on())
    try:
        yield
    finally:
        telling.cancel()
