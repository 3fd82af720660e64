"""Ranges of objects, as stores over HTTP answer them. In: what was asked for and what was answered. Out: how many bytes
are to come, or the error that the answer is.

HTTP has no empty range, so that an object's size has to be known before some are asked for.
"""

from agent.storage.protocol import Entry, NotFound, StorageError, Truncated


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


def range_header(start: int, length: int) -> str:
    """How `length` bytes from `start` are asked for."""
    return f"bytes={start}-{start + length - 1}"


def told_size(content_range: object) -> int | None:
    """The object's whole size by a Content-Range; None where it isn't told."""
    size = str(content_range or "").rpartition("/")[2]
    return int(size) if size.isdecimal() else None


def checked_range(name: str, start: int, length: int | None, *, came: int, told: str | None) -> int:
    """How many bytes the answer has, if they are those that were asked for: `length` from `start`; None: the whole.

    `came`: its Content-Length, -1 when it has none. `told`: its Content-Range. Raises Truncated, StorageError.
    """
    if came < 0:
        raise Truncated(f"the answer with {name!r} doesn't say how long it is", key=name)
    if start and told is None:
        raise StorageError(f"the store ignores ranges: it sent all of {name!r}", key=name)
    if length is None or came == length:
        return came
    if came < length:
        total = told_size(told)
        known = {} if total is None else {"size": total}
        raise Truncated(f"an object is shorter than asked for: {name!r}", key=name, came=came, **known)
    raise StorageError(f"the store ignores ranges: it sent {came} bytes of {name!r}", key=name)
