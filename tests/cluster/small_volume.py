"""A file system that can really be full. In: a directory and a size. Out: a tmpfs mounted there, which is filled and
freed while programs use it. Needs root."""

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.processes import run

_FILLING = ".filling"
_BLOCK = 4096
_INODES = 20_000


class SmallVolume:
    """`async with SmallVolume(path, megabytes=64) as volume`; `path` is made when it isn't there."""

    def __init__(self, path: Path, *, megabytes: int) -> None:
        self.path = path
        self._megabytes = megabytes

    async def __aenter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        options = f"size={self._megabytes}m,nr_inodes={_INODES},mode=0755"
        await run(["mount", "-t", "tmpfs", "-o", options, "helenus-tests", self.path])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await run(["umount", "--lazy", self.path])

    @property
    def free(self) -> int:
        """Bytes that can still be written."""
        about = os.statvfs(self.path)
        return about.f_bavail * about.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Leave no more than that many bytes."""
        with self._filling("bytes").open("ab", buffering=0) as file:
            while (more := self.free - leave) >= _BLOCK:
                file.write(bytes(min(more, 1 << 20)))

    def fill_names(self) -> None:
        """Leave no inode: no file, directory or hard link can be made, however small."""
        for number in range(2 * _INODES):
            try:
                self._filling(f"name-{number}").touch()
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return

    def empty(self) -> None:
        """Give back what was filled."""
        for path in self.path.glob(f"{_FILLING}-*"):
            path.unlink()

    def _filling(self, name: str) -> Path:
        return self.path / f"{_FILLING}-{name}"
