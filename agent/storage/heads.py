"""What follows from a look at an object: in, its entry or None; out, an answer without a request for its bytes.

HTTP has no empty range, and a put that finds its key taken tells only that: every provider over HTTP looks first.
"""

from agent.storage.protocol import Entry, NotFound, Put, Transient, Truncated


def is_asked_first(start: int, length: int | None) -> bool:
    """Whether a range may turn out empty, so that its object's size has to be known before it is asked for."""
    return length == 0 or (length is None and start > 0)


def bytes_from(name: str, there: Entry | None, start: int, length: int | None) -> int:
    """How many bytes a range that is asked first has; 0 = it is empty. Raises NotFound, Truncated."""
    if there is None:
        raise NotFound(f"there is no such object: {name!r}", key=name)
    if start > there.size:
        raise Truncated(f"an object is shorter than asked for: {name!r}", key=name, size=there.size)
    return 0 if length == 0 else there.size - start


def taken(name: str, there: Entry | None) -> Put:
    """The answer to a put whose key was taken. Raises Transient when the object has gone since."""
    if there is None:
        raise Transient(f"{name!r} was there and is gone again", key=name) from None
    return Put(created=False, size=there.size)
