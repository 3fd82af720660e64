"""The real coordinator, with a pulse in its event loop that is finer than the product's own. In: the coordinator's
arguments, and in WATCHED_FILE where to write. Out: a line of JSON a second in that file.

Each line: `late_ms`, by how much the latest pulse of that second came too late, and `own_ms`, how much processor time
the loop's thread had of that: the rest it was kept from running, by other processes or by threads of its own. `turns`:
pulses later than 50 ms, of which `own_turns` by its own processor time. With WATCHED_STACKS, another file, a thread
writes there what the loop is at when a pulse is late.
"""

import asyncio
import gc
import json
import os
import sys
import threading
import time
import traceback
from typing import Any

import coordinator.main
from kit.fair_loop import FewAtATime

PULSE_SECONDS = 0.01
LATE_SECONDS = 0.05


class Stacks(threading.Thread):
    """Writes down what the main thread is at, each time that `beat` is overdue."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.beat = time.monotonic()
        self._path = path

    def run(self) -> None:
        """For ever."""
        main_thread = threading.main_thread().ident or 0
        with open(self._path, "a", buffering=1) as file:
            while True:
                time.sleep(LATE_SECONDS / 5)
                overdue = time.monotonic() - self.beat
                if overdue > LATE_SECONDS:
                    frames = traceback.extract_stack(sys._current_frames()[main_thread])[-7:]
                    told = " < ".join(f"{each.filename[-40:]}:{each.lineno} {each.name}" for each in reversed(frames))
                    file.write(f"{overdue:.3f} {told}\n")


class Collections:
    """The longest garbage collection since it was asked last."""

    def __init__(self) -> None:
        self._began = 0.0
        self.longest = 0.0
        gc.callbacks.append(self._told)

    def _told(self, phase: str, _: object) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._began = now
        else:
            self.longest = max(self.longest, now - self._began)


async def watch(path: str, stacks: str | None) -> None:
    """Run until cancelled."""
    loop = asyncio.get_running_loop()
    collections = Collections()
    looking = Stacks(stacks) if stacks else None
    if looking is not None:
        looking.start()
    with open(path, "a", buffering=1) as file:
        while True:
            worst: dict[str, Any] = {"late_ms": 0.0, "own_ms": 0.0, "turns": 0, "own_turns": 0}
            until = loop.time() + 1.0
            while loop.time() < until:
                before, own = time.monotonic(), time.thread_time()
                await asyncio.sleep(PULSE_SECONDS)
                if looking is not None:
                    looking.beat = time.monotonic()
                late = time.monotonic() - before - PULSE_SECONDS
                own = time.thread_time() - own
                worst["late_ms"] = max(worst["late_ms"], round(late * 1000, 1))
                worst["own_ms"] = max(worst["own_ms"], round(own * 1000, 1))
                worst["turns"] += late > LATE_SECONDS
                worst["own_turns"] += own > LATE_SECONDS
            worst["gc_ms"], collections.longest = round(collections.longest * 1000, 1), 0.0
            file.write(json.dumps({"at": round(time.time(), 1), **worst}) + "\n")


class WatchedLoop(asyncio.SelectorEventLoop):
    """The product's loop, which starts the pulse when it first runs."""

    watching: asyncio.Task[None] | None = None

    def run_forever(self) -> None:
        """As the loop does, with the pulse beside it."""
        if self.watching is None:
            self.watching = self.create_task(watch(os.environ["WATCHED_FILE"], os.environ.get("WATCHED_STACKS")))
        super().run_forever()


if __name__ == "__main__":
    setattr(coordinator.main, "fair_loop", lambda: WatchedLoop(FewAtATime()))  # noqa: B010 - of the module's own names
    sys.exit(coordinator.main.main())
