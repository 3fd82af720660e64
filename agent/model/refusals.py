"""Why a command may no longer do what it is for: said when it is accepted or begun, and again right before the step."""

from kit.errors import HelenusError


class TooLate(HelenusError):
    """The moment after which a command may no longer begin what can't be undone, its `not_after`, has passed."""

    code = "too_late"
    status = 409
    todo = "Look at the node's state, then post a new command with a later not_after; compare the clocks."


def refuse_when_late(not_after: float | None, now: float) -> None:
    """Raises `TooLate` after the moment; both are unix seconds, None: there is no such moment."""
    if not_after is not None and now > not_after:
        raise TooLate("the command's time to begin has passed", not_after=not_after, now=now)


class ImportHasBegun(HelenusError):
    """TRUNCATE or a schema change of a job whose import has begun here: it could remove restored rows."""

    code = "import_has_begun"
    status = 409
    todo = "Let the import go on, or begin a new restore."
