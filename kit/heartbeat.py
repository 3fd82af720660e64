"""The event loop's pulse. In: a running loop. Out: how late it is, and signs of life to systemd while it turns.

The signs are sent from the loop itself: a blocked loop sends none, and systemd starts the service anew.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from kit.notify import Notifier

PULSE_SECONDS = 1.0
LATE_SECONDS = 0.5
"""From here on a late pulse is worth a line in the log."""


async def beat(
    notifier: Notifier,
    observe: Callable[[float], None],
    *,
    healthy: Callable[[], bool] = lambda: True,
    pulse_seconds: float = PULSE_SECONDS,
) -> None:
    """Run until cancelled. `observe` is given the lag (seconds) of each pulse; while `healthy` says no (a part that
    everything needs has died), no sign of life is sent."""
    log = structlog.get_logger("kit.heartbeat")
    if notifier.watchdog_seconds is not None:
        pulse_seconds = min(pulse_seconds, notifier.watchdog_seconds / 3)
    while True:
        before = time.monotonic()
        await asyncio.sleep(pulse_seconds)
        lag = max(0.0, time.monotonic() - before - pulse_seconds)
        observe(lag)
        if lag > LATE_SECONDS:
            log.warning("the event loop was blocked", seconds=round(lag, 3))
        if healthy():
            notifier.alive()
