"""What somebody has hidden of a destination under object lock. In: its settings. Out: how much it is, on the screen."""

from pathlib import Path

from agent.cli.screen import Screen
from agent.storage.opened import hidden_objects
from agent.storage.protocol import Denied
from agent.wire.destinations import Settings

_SHOWN = 20
_ANYWHERE = Path("/")


async def tell_hidden(settings: Settings, screen: Screen) -> int:
    """Objects that are hidden under marks of deletions, which Helenus never leaves there. Raises a StorageError."""
    try:
        count, first = await hidden_objects(settings, [_ANYWHERE], _SHOWN)
    except Denied as error:
        screen.line(f"whether objects are hidden can't be told: {error.message}")
        return 0
    if count:
        screen.line(
            f"{count} objects are hidden by deletions that aren't Helenus's, and still there; to see them again"
        )
        screen.line("remove the marks of the deletions, as docs/object-lock.md says:")
        for key in first:
            screen.line(f"  {key}")
        if count > len(first):
            screen.line(f"  … and {count - len(first)} more")
    return count
