"""What this process does with files, programs and addresses, as Python's own audit events tell it.

In: a block of code. Out: what was opened, listed, made, moved or removed, which programs were started, and which
addresses were looked up or connected to, by whatever code ran meanwhile. SQLite opens its files by itself and is told
only when it connects; a mere look at a file's attributes is not told.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.cluster.canaries import LOOKING

FILES = ("open", "os.", "shutil.", "sqlite3.connect", "glob.", "pathlib.", "tempfile.")
PROGRAMS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork", "os.spawn", "pty.")
ADDRESSES = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
OWN = tuple(str(Path(place).resolve()) for place in (sys.prefix, sys.base_prefix, Path(__file__).parents[2]))
"""Where modules come from: they may be imported at any time."""


class Touch(msgspec.Struct, frozen=True):
    """One event: what was done (as in Python's table of audit events), with what."""

    event: str
    arguments: tuple[Any, ...]


class Touched:
    """The events of a block so far."""

    def __init__(self) -> None:
        self.events: list[Touch] = []

    def programs(self) -> list[Touch]:
        """Programs that were started."""
        return [one for one in self.events if one.event.startswith(PROGRAMS)]

    def addresses(self) -> list[Touch]:
        """Addresses that were looked up or connected to."""
        return [one for one in self.events if one.event.startswith(ADDRESSES)]

    def outside(self, *roots: Path) -> list[Touch]:
        """Files elsewhere than under the roots, and than where modules come from."""
        allowed = (*OWN, *(str(root.resolve()) for root in roots), os.devnull)
        return [
            one
            for one in self.events
            if one.event.startswith(FILES)
            and any(not os.path.realpath(path).startswith(allowed) for path in _paths(one.arguments))
        ]

    def naming(self, text: str) -> list[Touch]:
        """Events with the text in any argument."""
        return [one for one in self.events if text in repr(one.arguments)]


def _paths(arguments: tuple[Any, ...]) -> Iterator[str]:
    for each in arguments:
        if isinstance(each, str | bytes | os.PathLike):
            path = os.fsdecode(each)
            if "\0" in path or os.sep in path or path in (".", ".."):
                yield path.replace("\0", "?")


_listening: list[Touched] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if (
        _listening
        and event.startswith((*FILES, *PROGRAMS, *ADDRESSES))
        and threading.current_thread().name != LOOKING  # which reads in /proc all the time
    ):
        for each in _listening:
            each.events.append(Touch(event, arguments))


_hooked: list[bool] = []


@contextmanager
def touched() -> Iterator[Touched]:
    """Note what happens in the block, in all threads."""
    if not _hooked:
        _hooked.append(True)
        sys.addaudithook(_hear)  # it stays for the life of the process, and hears nothing outside of such blocks
    found = Touched()
    _listening.append(found)
    try:
        yield found
    finally:
        _listening.remove(found)
