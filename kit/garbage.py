"""Short garbage collections in a process with many objects. In: a running loop. Out: collections that walk only what is
new.

A full collection walks every object that can be part of a cycle: of a coordinator with a thousand agents a quarter of a
million, for a fifth of a second, in which nobody is answered. What one of them leaves is here to stay, nearly always:
later ones pass it over.
"""

import asyncio
import contextlib
import gc
from collections.abc import Iterator

OLDEST = 2
"""The generation of full collections."""
ALL_SECONDS = 86_400.0
"""Between two collections of everything: what was part of a cycle, and was passed over, goes then."""


async def keep_collections_short(all_seconds: float = ALL_SECONDS) -> None:
    """Run until cancelled."""
    with passing_over():
        while True:
            gc.collect()
            gc.freeze()
            await asyncio.sleep(all_seconds)
            gc.unfreeze()


@contextlib.contextmanager
def passing_over() -> Iterator[None]:
    """Inside, what a full collection has left is passed over by the next ones. Needs a running loop."""
    loop = asyncio.get_running_loop()

    def told(phase: str, about: dict[str, int]) -> None:
        if phase == "stop" and about["generation"] == OLDEST and not loop.is_closed():
            # Not at once: the collection, maybe another thread's, is still at its end.
            loop.call_soon_threadsafe(gc.freeze)

    gc.callbacks.append(told)
    try:
        yield
    finally:
        gc.callbacks.remove(told)
        gc.unfreeze()
