"""Which archived segments may go from the node. In: the ledger, a look, the order. Out: files, removed one by one.

What makes it safe: a file goes when every destination of the order has its segment listed, whole, and the file is
still the one that was shipped (size and modification time; Cassandra's archive command puts a segment only once, and
never replaces one). Where logs are kept on the server nothing goes here, but by TRIM_LOGS. Killed in between, what was
removed is in every destination, and the rest is still there. Without any destination nothing goes.
"""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from agent.jobs.archiving.ledger import Known
from agent.jobs.archiving.looking import Look, SeenFile
from agent.model.own_state import own_state
from kit.atomic_files import sync_directory


def removable(known: Known, look: Look, places: Sequence[str]) -> list[SeenFile]:
    """Files that every one of these destinations has."""
    if not places:
        return []
    found = []
    for name, file in look.archived.items():
        one = known.segments.get(name)
        if one is not None and one.stamp == file.stamp and set(places) <= set(one.places):
            found.append(file)
    return found


async def remove(files: Sequence[SeenFile]) -> None:
    """Remove them, durably. Raises StateFailed."""
    if files:
        with own_state():
            await asyncio.to_thread(_remove, [file.path for file in files])


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
    for directory in {path.parent for path in paths}:
        sync_directory(directory)
