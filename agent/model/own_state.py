"""The agent's own state directory when it fails: in, an OSError of a file there; out, an error with a name."""

from collections.abc import Iterator
from contextlib import contextmanager

from kit.errors import HelenusError


class StateFailed(HelenusError):
    """A file of the agent's state can't be written or read; `fields`: path, reason."""

    code = "state_failed"
    status = 503
    retry = "later"
    todo = "Make room on the volume of the agent's state directory, or repair it, then send the command again."


@contextmanager
def own_state() -> Iterator[None]:
    """Raises StateFailed for an OSError in the block (or the function that it decorates)."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        where = str(error.filename or "the agent's state")
        raise StateFailed(f"{where}: {reason}", path=where, reason=reason) from error
