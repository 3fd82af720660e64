"""Puts a store's listing in lexical order. In: pages. Out: entries, sorted.

The protocol's order is that of the bytes, and S3's too; stores that keep directories list `a/1` before `a-1`. Small
listings are sorted here; a large one, which would not fit in memory, is passed on as it comes and must be in order, or
the listing fails rather than lies.
"""

from collections.abc import AsyncIterator, Sequence

from agent.storage.protocol import Entry, StorageError

HOLD = 20_000
"""Entries that are held back to be sorted, about 6 MB."""


async def in_order(pages: AsyncIterator[Sequence[Entry]]) -> AsyncIterator[Entry]:
    """Every entry once, in lexical order of its key."""
    held: list[Entry] = []
    sorted_so_far = True
    streaming = False
    last = ""
    async for page in pages:
        for entry in page:
            if entry.key == last:
                continue
            if entry.key < last:
                if streaming:
                    raise StorageError("the store lists its keys in no order that can be followed", key=entry.key)
                sorted_so_far = False
            last = entry.key
            held.append(entry)
        if not sorted_so_far and len(held) > HOLD:
            raise StorageError("the store lists its keys in no order, and too many of them to be sorted", key=last)
        if streaming or (sorted_so_far and len(held) >= HOLD):
            streaming = True
            for entry in held:
                yield entry
            held.clear()
    for entry in held if sorted_so_far else _sorted_once(held):
        yield entry


def _sorted_once(held: Sequence[Entry]) -> Sequence[Entry]:
    by_key = {entry.key: entry for entry in held}
    return [by_key[key] for key in sorted(by_key)]
