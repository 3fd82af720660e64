"""Which keys and prefixes a store is ever asked for. In: a text. Out: the same text, or `BadKey`.

Every provider checks with this one function, so that what one takes all take, and no key can leave its root.
"""

from agent.storage.protocol import StorageError

MOST_BYTES = 1024
"""The longest key S3 takes."""
MOST_SEGMENT = 255
"""The longest file name of the usual file systems."""
RESERVED = ".helenus-tmp"
"""The first segment that the local provider keeps for its unfinished files."""


class BadKey(StorageError):
    """A key that no provider may be asked for: a mistake of the caller, never of the store."""

    code = "bad_key"
    status = 400
    todo = "Report it: a name reached the store without being encoded."


def check_key(key: str) -> str:
    """The key itself if it is relative, `/`-separated, printable ASCII without `.`, `..` and empty segments."""
    _check_text(key)
    segments = key.split("/")
    for segment in segments:
        if segment in ("", ".", "..") or len(segment) > MOST_SEGMENT:
            raise BadKey(f"the key {key!r} has a segment that can't be stored", key=key)
    if segments[0] == RESERVED:
        raise BadKey(f"the key {key!r} begins with a reserved name", key=key)
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself; any beginning of a key, and the empty text, will do."""
    _check_text(prefix)
    if prefix.startswith("/") or "//" in prefix or any(part in (".", "..") for part in prefix.split("/")[:-1]):
        raise BadKey(f"no key begins with {prefix!r}", key=prefix)
    return prefix


def _check_text(text: str) -> None:
    if len(text) > MOST_BYTES or not text.isascii() or not (text.isprintable()):
        raise BadKey("a key must be printable ASCII of at most 1,024 characters", key=repr(text[:MOST_BYTES]))
