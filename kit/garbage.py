"""Short garbage collections in a process with many lasting objects. In: a running loop. Out: collections that pass over
what is here to stay.

A full collection walks every object that can be part of a cycle: of a coordinator with a thousand agents a quarter of a
million, for a fifth of a second in which nobody is answered. Most of them last as long as the process: modules,
connections, what is known of each node. They are set aside when it has settled, now and then again, and whenever what
has come since has made a full collection long: a request of a thousand nodes is a hundred thousand objects, which stay
for hours. What is set aside while it is under way, and part of a cycle, is freed by the daily collection of everything
only: so it isn't done for little.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

SETTLED_SECONDS = 60.0
"""After the start: by then the connections are made."""
AGAIN_SECONDS = 3_600.0
THRESHOLDS = (5_000, 2, 50)
"""New objects until the youngest are looked at, how often that is done before those that survived it are, and how often
that before all are. A thousand requests side by side make as many objects as Python's own thresholds take for a reason
to look at all; and of ten times five thousand that survive the second look takes as long as one at everything."""
LONG_SECONDS = 0.01
"""Processor time of a full collection from which on what it left is set aside."""
ROUNDS = 24
"""After so many times everything is looked at."""


async def keep_collections_short(
    settled: float = SETTLED_SECONDS, again: float = AGAIN_SECONDS, long: float = LONG_SECONDS
) -> None:
    """Run until cancelled. Then all is as it was before; what somebody else had set aside is so again, with what came
    since (else a run of many tests would walk a million objects from the first coordinator on)."""
    before, set_aside = gc.get_threshold(), gc.get_freeze_count() > 0
    gc.set_threshold(*THRESHOLDS)
    set_aside_long = _after_long_ones(long)
    gc.callbacks.append(set_aside_long)
    try:
        while True:
            gc.freeze()  # what was imported has made next to no garbage: to look for it would hold up the start
            await asyncio.sleep(settled)
            for _ in range(ROUNDS):
                gc.freeze()
                await asyncio.sleep(again)
            gc.unfreeze()
            gc.collect()
    finally:
        gc.callbacks.remove(set_aside_long)
        gc.set_threshold(*before)
        gc.unfreeze()
        if set_aside:
            gc.collect()
            gc.freeze()


def _after_long_ones(long: float) -> Callable[[str, Mapping[str, Any]], None]:
    """What the collector calls before and after each collection, in the thread that it takes."""
    began = 0.0

    def told(phase: str, about: Mapping[str, Any]) -> None:
        nonlocal began
        if about["generation"] == len(THRESHOLDS) - 1:
            if phase == "start":
                began = time.thread_time()
            elif time.thread_time() - began >= long:
                gc.freeze()

    return told
