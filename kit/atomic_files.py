"""Small files that are there whole or not at all. In: a path and bytes. Out: the same bytes after any crash."""

import contextlib
import errno
import os
import secrets
from pathlib import Path

TEMPORARY = ".helenus-new-"
"""The beginning of the names of unfinished files; what a crash left is removed by `remove_unfinished`."""

_TRIES = 20


def write_atomically(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put `content` at `path`, replacing what is there; durable (file and directory synced) when it returns."""
    unfinished = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        unfinished.rename(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()
        raise
    sync_directory(path.parent)


def try_to_write(path: Path) -> None:
    """Try whether `write_atomically` could put something there: an unfinished file beside it, gone again. Raises
    OSError."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    unfinished = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    unfinished.unlink()


def write_into(directory: Path, name: str, content: bytes) -> None:
    """`write_atomically` in a directory that is made when it is missing, also when somebody takes it away with
    `remove_from` at this moment."""
    for left in reversed(range(_TRIES)):
        try:
            write_atomically(make_directory(directory) / name, content)
            return
        except FileNotFoundError:  # it was empty and went before the file had begun: once there, the file keeps it
            if not left:
                raise


def remove_from(directory: Path, *names: str) -> None:
    """Remove the files durably, in this order, and the directory when nothing else is in it. What is not there is fine.
    Whoever else uses the directory writes with `write_into`."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):  # the directory may go as a whole
            remove_durably(directory / name)
    try:
        directory.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def remove_durably(path: Path) -> bool:
    """Remove the file; False if it was not there."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    sync_directory(path.parent)
    return True


def make_directory(path: Path, *, mode: int = 0o700) -> Path:
    """Make the directory and those above it where missing, durably; the path itself is returned."""
    missing = []
    current = path
    while not current.is_dir():
        missing.append(current)
        current = current.parent
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):  # somebody was quicker
            directory.mkdir(mode=mode)
        sync_directory(directory.parent)
    return path


def remove_unfinished(directory: Path) -> None:
    """Remove what a crash in `write_atomically` left. Only for a directory that nobody else writes to now."""
    for path in directory.glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Make the directory's entries durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
