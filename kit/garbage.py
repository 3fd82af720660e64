"""Short garbage collections in a process with many lasting objects. In: a running loop. Out: collections that pass over
what is here to stay.

A full collection walks every object that can be part of a cycle: of a coordinator with a thousand agents a quarter of a
million, for a fifth of a second in which nobody is answered. Most of them last as long as the process: modules,
connections, what is known of each node. They are set aside when it has settled, and now and then again. What is set
aside while it is under way, and part of a cycle, is freed by the daily collection of everything only: so it isn't done
often.
"""

import asyncio
import gc

SETTLED_SECONDS = 60.0
"""After the start: by then the connections are made."""
AGAIN_SECONDS = 3_600.0
THRESHOLDS = (5_000, 10, 50)
"""New objects until the youngest are looked at, and how often that is done before older ones are: a thousand requests
side by side make as many objects as Python's own thresholds take for a reason to look at all."""
ROUNDS = 24
"""After so many times everything is looked at."""


async def keep_collections_short(settled: float = SETTLED_SECONDS, again: float = AGAIN_SECONDS) -> None:
    """Run until cancelled. Then all is as it was before; what somebody else had set aside is so again, with what came
    since (else a run of many tests would walk a million objects from the first coordinator on)."""
    before, set_aside = gc.get_threshold(), gc.get_freeze_count() > 0
    gc.set_threshold(*THRESHOLDS)
    try:
        while True:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            await asyncio.sleep(settled)
            for _ in range(ROUNDS):
                gc.freeze()
                await asyncio.sleep(again)
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
        if set_aside:
            gc.collect()
            gc.freeze()
