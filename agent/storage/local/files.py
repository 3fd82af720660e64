"""Small steps on a directory tree that never follow a link. In: descriptors and names. Out: descriptors, durable names.

Every step goes from directory descriptor to directory descriptor with O_NOFOLLOW, so a link that somebody planted
inside the root leads nowhere.
"""

import errno
import os
import pwd
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.storage.protocol import (
    BadSettings,
    BucketMissing,
    DestinationFull,
    DirectoryDenied,
    DirectoryReadOnly,
    StorageError,
    Transient,
)

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
NAME_BYTES = 255
"""The longest name on nearly every file system; asked where the directory is there."""
SHOWN = 80
"""Characters of a refused path that an error repeats."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
REFUSED = frozenset({errno.EACCES, errno.EPERM})
LOOKS = frozenset({"get", "head", "list"})
"""Verbs for which reading is enough."""
PASSING = frozenset({errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT, errno.EINTR})


@contextmanager
def translated(verb: str, key: str, root: Path, needed: int | None = None) -> Iterator[None]:
    """What the kernel refuses in the destination at `root`, as the protocol's errors. Keys are long: they come last.
    `needed`: bytes of what is put."""
    try:
        yield
    except OSError as error:
        text = f"{root}: {error.strerror} ({verb} of {key!r})"
        fields: dict[str, object] = {"key": key, "errno": errno.errorcode.get(error.errno or 0, str(error.errno))}
        if error.errno in FULL:
            free = _free(root)
            why = "has no quota left" if error.errno == errno.EDQUOT else "is full"
            told = f"{'unknown' if free is None else free} bytes free{'' if needed is None else f', {needed} needed'}"
            text = f"{root} {why} ({told}): {verb} of {key!r}"
            raise DestinationFull(text, **fields, directory=str(root), free_bytes=free, needed_bytes=needed) from error
        if error.errno == errno.EROFS:
            text = f"{root} is mounted read-only: {verb} of {key!r}"
            raise DirectoryReadOnly(text, **fields, directory=str(root)) from error
        if error.errno in REFUSED:
            user = _own_user()
            right = "read" if verb in LOOKS else "write"
            text = f"the agent's user {user} may not {right} in {root} ({error.strerror}): {verb} of {key!r}"
            raise DirectoryDenied(text, **fields, directory=str(root), user=user) from error
        if error.errno in PASSING:
            raise Transient(text, **fields) from error
        raise StorageError(text, **fields) from error


def _own_user() -> str:
    """The name of the user this process acts as; its number where it has none."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _free(root: Path) -> int | None:
    """Bytes that the agent's user may still write there."""
    try:
        about = os.statvfs(root)
    except OSError:
        return None
    return about.f_bavail * about.f_frsize


def allowed_path(path: str, roots: Sequence[Path], own_state: Path | None = None) -> Path:
    """The directory that `path` means: absolute, or relative to the first root; links resolved.

    Raises `BadSettings` unless it is one of the roots or lies under one, and where it shares the agent's `own_state`:
    what is lost with that must not be the backups too.
    """
    if not roots:
        raise BadSettings("this agent allows no local destinations", setting="path")
    if "\0" in path or not path:
        raise BadSettings("a local destination needs a path", setting="path")
    wanted = (roots[0] / path).resolve()
    if not any(wanted.is_relative_to(root.resolve()) for root in roots):
        raise BadSettings(
            f"the directory {_short(path)} lies outside of the roots that this agent allows",
            setting="path",
            roots=[str(root) for root in roots],
        )
    own = None if own_state is None else own_state.resolve()
    if own is not None and (wanted.is_relative_to(own) or own.is_relative_to(wanted)):
        raise BadSettings("the directory holds the agent's own state, or is part of it", setting="path")
    longest = max(wanted.parts, key=lambda name: len(os.fsencode(name)))
    most = _longest_name(roots[0])
    if len(os.fsencode(longest)) > most:
        raise BadSettings(
            f"the directory {_short(path)} has a name of {len(os.fsencode(longest))} bytes: "
            f"the file system takes {most} at most",
            setting="path",
        )
    return wanted


def _longest_name(directory: Path) -> int:
    """The most bytes that a name in the file system of the directory has."""
    try:
        return os.pathconf(directory, "PC_NAME_MAX")
    except (OSError, ValueError):
        return NAME_BYTES


def _short(path: str) -> str:
    return repr(path if len(path) <= SHOWN else f"{path[:SHOWN]}…")


def open_root(root: Path) -> int:
    """A descriptor of the destination's directory. Raises `BucketMissing`. Opened for each operation: a descriptor that
    is kept would pin a file system that the administrator wants to unmount."""
    try:
        return os.open(root, DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        raise BucketMissing(f"there is no directory {root}", path=str(root)) from None


class DirectorySyncs:
    """Makes names durable. Callers who want the same directory synced at the same time share one fsync: it covers
    every name that was there when it began."""

    def __init__(self, fsync: Callable[[int], None] = os.fsync) -> None:
        self._fsync = fsync
        self._turns: dict[str, _Turns] = {}
        self._changed = threading.Condition()

    def sync(self, path: str, descriptor: int) -> None:
        """Return when all names made in the directory before this call are durable. `path` names it."""
        with self._changed:
            turns = self._turns.setdefault(path, _Turns())
            turns.wanted += 1
            turns.callers += 1
            mine = turns.wanted
        try:
            self._share(turns, mine, descriptor)
        finally:
            with self._changed:
                turns.callers -= 1
                if not turns.callers:
                    del self._turns[path]

    def _share(self, turns: "_Turns", mine: int, descriptor: int) -> None:
        with self._changed:
            while turns.running and turns.done < mine:
                self._changed.wait()
            if turns.done >= mine:
                return
            turns.running = True
            covered = turns.wanted
        try:
            self._fsync(descriptor)
        except BaseException:
            covered = 0  # the others try themselves
            raise
        finally:
            with self._changed:
                turns.running = False
                turns.done = max(turns.done, covered)
                self._changed.notify_all()


class _Turns:
    __slots__ = ("callers", "done", "running", "wanted")

    def __init__(self) -> None:
        self.wanted = 0
        self.done = 0
        self.callers = 0
        self.running = False


class Tree:
    """Directories under one root: found, made durably, pruned."""

    def __init__(self, root: Path, syncs: DirectorySyncs) -> None:
        self._root = root
        self._syncs = syncs
        self._durable: set[str] = set()  # directories whose own name is known to be durable
        self._real: str | None = None

    @contextmanager
    def directory(self, segments: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """A descriptor of the directory, closed afterwards. Without `make` a missing one is FileNotFoundError."""
        current, reached = self._nearest(segments, durable=make)
        try:
            for depth, name in enumerate(segments[reached:], reached):
                path = "/".join(segments[: depth + 1])
                if make and path not in self._durable:
                    self._make(current, "/".join(segments[:depth]), name, path)
                try:
                    below = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=current)
                except FileNotFoundError:
                    if not make:
                        raise
                    # Somebody else pruned it since.
                    self._make(current, "/".join(segments[:depth]), name, path)
                    below = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=current)
                os.close(current)
                current = below
            yield current
        finally:
            os.close(current)

    def _nearest(self, segments: Sequence[str], *, durable: bool) -> tuple[int, int]:
        """A descriptor of the directory, or else of the one above it, or else of the root, and how many segments deep
        it is. `durable`: of one whose name is known to be. Hundreds of thousands of small objects lie some levels deep:
        two steps instead of one for each level."""
        for depth in (len(segments), len(segments) - 1):
            if depth > 0 and (not durable or self.is_durable(segments[:depth])):
                found = self._at_once(segments[:depth])
                if found is not None:
                    return found, depth
        return open_root(self._root), 0

    def _at_once(self, segments: Sequence[str]) -> int | None:
        """A descriptor in one step, if the kernel tells that it led to the very place: a link can lead elsewhere. None
        when it didn't, or when that isn't known; steps from directory to directory then tell why."""
        if self._real is None:
            self._real = os.path.realpath(self._root)
        wanted = os.path.join(self._real, *segments)
        try:
            found = os.open(wanted, DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            if os.readlink(f"/proc/self/fd/{found}") == wanted:
                return found
        except OSError:
            pass  # no /proc, or a path longer than a page
        os.close(found)
        return None

    def is_durable(self, segments: Sequence[str]) -> bool:
        """Whether the names of the directory and of those above it are known to be durable."""
        return all("/".join(segments[:depth]) in self._durable for depth in range(1, len(segments) + 1))

    def _make(self, parent: int, parent_path: str, name: str, path: str) -> None:
        # Whoever finds the directory there already can't know whether its name is durable yet, so syncs it too.
        with suppress(FileExistsError):
            os.mkdir(name, 0o750, dir_fd=parent)
        self._syncs.sync(parent_path, parent)
        self._durable.add(path)

    def prune(self, segments: Sequence[str]) -> None:
        """Remove the directory and those above it, as far as they are empty; never the root."""
        for depth in range(len(segments), 0, -1):
            try:
                with self.directory(segments[: depth - 1]) as parent:
                    self._durable.discard("/".join(segments[:depth]))
                    os.rmdir(segments[depth - 1], dir_fd=parent)
            except OSError:
                return
