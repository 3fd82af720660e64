"""A fetched file on its way to the disk: in, runs of bytes in any order; out, a file that is there whole or not at all.

Everything here blocks and is called in worker threads. Files are made and named relative to an open directory, never
through a symbolic link; a file gets its name only when its digest was compared and its bytes are durable. What a crash
leaves has a temporary name and is made anew.
"""

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from agent.crypto.digest import digest, file_digest
from agent.model.manifest import FileEntry
from agent.pipeline.errors import FileDiffers, TargetFull, TargetUnwritable
from agent.storage.direct import DIRECT_FROM, DirectWriter, open_direct
from agent.storage.threads import Stop

MODE = 0o660
_DIRECTORY_MODE = 0o770
TEMPORARY = ".helenus-part-"
"""The beginning of the names of unfinished files."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FULL = (errno.ENOSPC, errno.EDQUOT)


class NewFile:
    """One file of the manifest, on its way into a directory."""

    def __init__(self, directory: Path, entry: FileEntry, writer: DirectWriter) -> None:
        self.entry = entry
        self._writer = writer
        self._directory = directory
        self._lock = threading.Lock()
        self._runs: list[bytes | None] = [None] * len(entry.pieces)
        self._left = len(entry.pieces)
        self._descriptor = -1
        self._direct: int | None = None
        above, _, self._name = entry.name.rpartition("/")
        self._above = above
        self._unfinished = f"{TEMPORARY}{digest(entry.name.encode()).hex()[:32]}"

    def is_there(self, stop: Stop) -> bool:
        """Whether the file is there already with the right bytes; one with others is removed. A stop takes effect
        within a piece."""
        with _told(self._directory, self.entry.name), self._opened() as directory:
            try:
                descriptor = os.open(self._name, _OLD, dir_fd=directory)
            except FileNotFoundError:
                return False
            try:
                good = os.fstat(descriptor).st_size == self.entry.size and self._digest_of(descriptor, stop)
            finally:
                os.close(descriptor)
            if not good:
                os.unlink(self._name, dir_fd=directory)
            return good

    def write(self, place: int, start: int, run: memoryview, run_digest: bytes, stop: Stop) -> bool:
        """Write the run number `place`, which begins at byte `start` and has this digest; True when the file is
        complete and has its name.

        Raises FileDiffers, TargetFull, TargetUnwritable.
        """
        with _told(self._directory, self.entry.name):
            descriptor, direct = self._open()
            self._writer.write(descriptor, direct if run.nbytes >= DIRECT_FROM else None, start, [run], stop)
            with self._lock:
                self._runs[place] = run_digest
                self._left -= 1
                complete = not self._left
            if complete:
                self._finish()
        return complete

    def make_empty(self) -> None:
        """Make a file of no bytes."""
        with _told(self._directory, self.entry.name):
            self._open()
            self._finish()

    def close(self) -> None:
        """Let go of a file that was not completed."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
            if self._direct is not None:
                os.close(self._direct)
                self._direct = None

    def _open(self) -> tuple[int, int | None]:
        with self._lock:
            if self._descriptor < 0:
                with self._opened() as directory:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(self._unfinished, dir_fd=directory)
                    self._descriptor = os.open(self._unfinished, _NEW, MODE, dir_fd=directory)
                    if self.entry.size >= DIRECT_FROM:
                        self._direct = open_direct(self._unfinished, directory)
                os.fchmod(self._descriptor, MODE)  # whatever the umask
            return self._descriptor, self._direct

    def _finish(self) -> None:
        found = file_digest([run for run in self._runs if run is not None], self.entry.size).hex()
        with self._opened() as directory:
            if found != self.entry.digest:
                os.unlink(self._unfinished, dir_fd=directory)
                raise FileDiffers(
                    f"the fetched bytes of {self.entry.name} have the digest {found}, not {self.entry.digest}",
                    name=self.entry.name,
                )
            os.fsync(self._descriptor)
            os.rename(self._unfinished, self._name, src_dir_fd=directory, dst_dir_fd=directory)
        self.close()

    def _digest_of(self, descriptor: int, stop: Stop) -> bool:
        runs = []
        buffer = bytearray(min(self.entry.size, self.entry.piece_size))
        start = 0
        while start < self.entry.size:
            stop.check()
            view = memoryview(buffer)[: min(len(buffer), self.entry.size - start)]
            filled = 0
            while filled < view.nbytes:
                count = os.preadv(descriptor, [view[filled:]], start + filled)
                if not count:
                    return False
                filled += count
            runs.append(digest(view))
            start += view.nbytes
        return file_digest(runs, self.entry.size).hex() == self.entry.digest

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """The directory that the file goes to: the one given, or one below it for a legacy index."""
        directory = os.open(self._directory, _DIRECTORY)
        try:
            if self._above:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(self._above, _DIRECTORY_MODE, dir_fd=directory)
                below = os.open(self._above, _DIRECTORY, dir_fd=directory)
                os.close(directory)
                directory = below
            yield directory
        finally:
            os.close(directory)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    with _told(path, ""):
        descriptor = os.open(path, _DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _told(directory: Path, name: str) -> Iterator[None]:
    """An OSError as the error that a person is shown."""
    try:
        yield
    except OSError as error:
        path = str(directory / name)
        if error.errno in _FULL:
            raise TargetFull(f"no room for {path}", path=path) from error
        raise TargetUnwritable(f"can't write {path}: {error.strerror}", path=path, errno=error.errno) from error
