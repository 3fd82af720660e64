"""The real coordinator, with a pulse in its event loop that is finer than the product's own. In: the coordinator's
arguments, and in WATCHED_FILE where to write. Out: a line of JSON a second in that file.

Each line: `late_ms`, by how much the latest pulse of that second came too late, and `own_ms`, how much processor time
the loop's thread had of that: the rest it was kept from running, by other processes or by threads of its own. `turns`:
pulses later than 50 ms, of which `own_turns` by its own processor time.
"""

import asyncio
import json
import os
import sys
import time
from typing import Any

from coordinator.main import main

PULSE_SECONDS = 0.01
LATE_SECONDS = 0.05


async def watch(path: str) -> None:
    """Run until cancelled."""
    loop = asyncio.get_running_loop()
    with open(path, "a", buffering=1) as file:
        while True:
            worst: dict[str, Any] = {"late_ms": 0.0, "own_ms": 0.0, "turns": 0, "own_turns": 0}
            until = loop.time() + 1.0
            while loop.time() < until:
                before, own = time.monotonic(), time.thread_time()
                await asyncio.sleep(PULSE_SECONDS)
                late = time.monotonic() - before - PULSE_SECONDS
                own = time.thread_time() - own
                worst["late_ms"] = max(worst["late_ms"], round(late * 1000, 1))
                worst["own_ms"] = max(worst["own_ms"], round(own * 1000, 1))
                worst["turns"] += late > LATE_SECONDS
                worst["own_turns"] += own > LATE_SECONDS
            file.write(json.dumps({"at": round(time.time(), 1), **worst}) + "\n")


class WatchedLoop(asyncio.SelectorEventLoop):
    """Starts the pulse with the first task that it is given to run."""

    watching: asyncio.Task[None] | None = None

    def run_forever(self) -> None:
        """As the loop does, with the pulse beside it."""
        if self.watching is None:
            self.watching = self.create_task(watch(os.environ["WATCHED_FILE"]))
        super().run_forever()


class Policy(asyncio.DefaultEventLoopPolicy):
    """Gives watched loops."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """A watched loop."""
        return WatchedLoop()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(Policy())
    sys.exit(main())
