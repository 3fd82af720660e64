"""Short garbage collections in a process with many lasting objects. In: a running loop. Out: collections that pass over
what is here to stay.

A full collection walks every object that can be part of a cycle: of a coordinator with a thousand agents a quarter of a
million, for a quarter of a second in which nobody is answered; and it finds next to nothing, for what is garbage is so
soon after it was made, when the collector looks at the youngest. So none comes by itself. What lasts is set aside and
counted each minute, and everything is looked at once a day, or when so much has come that garbage may be among it: a
request of a thousand nodes is a hundred thousand objects, which stay for hours and then go without the collector.
"""

import asyncio
import gc

LOOK_SECONDS = 60.0
LOOKS = 1_440
"""After so many, a day of them, everything is looked at."""
GROWN = 500_000
"""Objects: when there are so many more than after the last look at everything, it is looked at again. They are some
hundred megabytes."""
THRESHOLDS = (1_000, 2, 1_000_000)
"""New objects until the youngest are looked at, how often that is done before those that survived it are, and how often
that before all are: never, as good as. An object may be a list of a thousand tables: of six thousand new ones a look
took 50 ms, of three thousand 25. No object is looked at a third time, so that smaller looks cost no more in all."""


async def keep_collections_short(look: float = LOOK_SECONDS, grown: int = GROWN) -> None:
    """Run until cancelled. Then all is as it was before; what somebody else had set aside is so again, with what came
    since (else a run of many tests would walk a million objects from the first coordinator on)."""
    before, set_aside = gc.get_threshold(), gc.get_freeze_count() > 0
    gc.set_threshold(*THRESHOLDS)
    try:
        while True:
            await _until_all_is_to_be_seen(look, grown)
            gc.unfreeze()
            gc.collect()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
        if set_aside:
            gc.collect()
            gc.freeze()


async def _until_all_is_to_be_seen(look: float, grown: int) -> None:
    gc.freeze()  # at the start, too: what was imported has made next to no garbage
    lasting = gc.get_freeze_count()
    for _ in range(LOOKS):
        await asyncio.sleep(look)
        gc.freeze()
        if gc.get_freeze_count() > lasting + grown:
            return
