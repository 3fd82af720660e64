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
from agent.storage.local_files import DIRECTORY, open_root

STALE_SECONDS = 3600.0


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", "")


class Temporary:
    """Names `<boot id>.<process id>.<random>.<count>`. `now` gives unix seconds."""

    def __init__(self, root: Path, *, now: Callable[[], float] = time.time) -> None:
        self._root = root
        self._now = now
        self._boot = _boot()
        self._mine = f"{self._boot}.{os.getpid()}.{secrets.token_hex(4)}"
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
        """Remove what nobody has written to for an hour and no live process of this machine owns; how many that was.

        The directory may be shared with other machines, whose processes can't be seen from here: there the hour alone
        decides, and a writer that really stood still that long finds its file gone and fails its put.
        """
        removed = 0
        with self.directory() as descriptor:
            for name in os.listdir(descriptor):
                with suppress(FileNotFoundError):
                    about = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                    old = self._now() - about.st_mtime > STALE_SECONDS
                    if old and stat.S_ISREG(about.st_mode) and not self._alive(name):
                        os.unlink(name, dir_fd=descriptor)
                        removed += 1
        return removed

    def _alive(self, name: str) -> bool:
        boot, _, rest = name.partition(".")
        process = rest.partition(".")[0]
        return boot == self._boot and process.isdigit() and Path(f"/proc/{process}").exists()
