"""Unfinished files of the local provider: names that tell who writes them, and the removal of those nobody finishes.

In: a root directory. Out: fresh names under `<root>/.helenus-tmp/`, and fewer leftovers.
"""

import itertools
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.storage.keys import RESERVED
from agent.storage.local.files import DIRECTORY, open_root

STALE_SECONDS = 3600.0


def own_place() -> str:
    """Which processes this one can see: the machine's present run and the process namespace in it (two containers of
    one machine have the same boot id)."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", "")
    return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"


def started(process: int) -> str | None:
    """When a process of this place began, in the kernel's ticks: with its number it tells one process from all others.
    None when that can't be seen, "" when it has ended and only its parent has not noticed (proc(5), fields 3 and 22;
    the second field may hold blanks and brackets)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode("ascii")


class Temporary:
    """Names `<place>.<process id>.<its start>.<random>.<count>`. `now` gives unix seconds."""

    def __init__(self, root: Path, *, now: Callable[[], float] = time.time) -> None:
        self._root = root
        self._now = now
        self._place = own_place()
        process = os.getpid()
        self._mine = f"{self._place}.{process}.{started(process)}.{secrets.token_hex(4)}"
        self._count = itertools.count()

    def name(self) -> str:
        """A name that no other file has."""
        return f"{self._mine}.{next(self._count)}"

    @contextmanager
    def directory(self) -> Iterator[int]:
        """A descriptor of the directory of unfinished files, made when it is not there."""
        root = open_root(self._root)
        try:
            try:
                found = os.open(RESERVED, DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
            except FileNotFoundError:
                with suppress(FileExistsError):
                    os.mkdir(RESERVED, 0o750, dir_fd=root)
                found = os.open(RESERVED, DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
        finally:
            os.close(root)
        try:
            yield found
        finally:
            os.close(found)

    def clean(self) -> int:
        """Remove what a dead process of this place left, and what nobody has written to for an hour unless a live one
        of this place owns it; how many that was.

        The directory may be shared with other machines, whose processes can't be seen from here: there the hour alone
        decides, and a writer that really stood still that long finds its file gone and fails its put.
        """
        removed = 0
        with self.directory() as descriptor:
            for name in os.listdir(descriptor):
                with suppress(FileNotFoundError):
                    about = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                    if stat.S_ISREG(about.st_mode) and self._left(name, about.st_mtime):
                        os.unlink(name, dir_fd=descriptor)
                        removed += 1
        return removed

    def _left(self, name: str, modified: float) -> bool:
        place, _, rest = name.partition(".")
        process, _, rest = rest.partition(".")
        if place == self._place and process.isdecimal() and len(process) < 10:
            return not _alive(int(process), rest.partition(".")[0])
        return self._now() - modified > STALE_SECONDS


def _alive(process: int, begun: str) -> bool:
    """Whether the process that began then is still there; another may have got its number since."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's, whose start may be hidden
    return started(process) in (None, begun)
