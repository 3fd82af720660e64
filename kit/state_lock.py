"""One process per state directory. In: the directory. Out: a lock held until it is released or the process ends."""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from kit.atomic_files import make_directory
from kit.errors import HelenusError


class StateLocked(HelenusError):
    """Another process works with this state directory."""

    code = "state_directory_in_use"
    todo = "Stop the other process, or give this one a state directory of its own."


class StateUnusable(HelenusError):
    """The state directory can't be made or written."""

    code = "state_directory_unusable"
    todo = "Make the directory, owned by the service's user, mode 0700."


class StateLock:
    """An exclusive `flock` on `<directory>/lock`, taken at once. The kernel gives it back when the process dies."""

    def __init__(self, directory: Path) -> None:
        path = directory / "lock"
        try:
            make_directory(directory)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StateUnusable(
                f"the state directory {directory} can't be used: {error.strerror}", directory=str(directory)
            ) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 32).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise StateLocked(
                f"another process ({holder or 'unknown'}) uses the state directory {directory}",
                directory=str(directory),
                process=holder,
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "StateLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
