"""A local directory as a store. In: keys and bytes. Out: one file for each key, whole and durable, or none.

A put writes a temporary file under the same root, makes its bytes durable, and gives it its name by a hard link, which
fails when the name is taken: «create only if absent» is the file system's own promise.
"""

import io
import os
import stat
from collections.abc import AsyncIterator, Iterator, MutableSequence, Sequence
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path

from agent.storage.direct import DIRECT_FROM, DirectWriter, open_direct
from agent.storage.keys import RESERVED, check_key, check_prefix
from agent.storage.local.files import DirectorySyncs, Tree, open_root, translated
from agent.storage.local.temporary import Temporary
from agent.storage.protocol import (
    OPEN,
    Buffer,
    Entry,
    Gate,
    NotFound,
    Put,
    StorageError,
    Truncated,
    Unlocked,
)
from agent.storage.threads import Stop, Workers
from agent.storage.throttle import STEP, is_free, pass_checked

TRIES = 20
"""How often a put looks for its directory again when a delete prunes it at the same moment."""
PAGE = 1000
"""Entries that one turn of a thread lists: a node's objects lie in 256 directories, most with few of them."""
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class LocalStorage(Unlocked):
    """Objects as files under `root`, which must exist (`BucketMissing` otherwise, at each verb)."""

    def __init__(self, root: Path, *, workers: int = 8) -> None:
        self._root = root
        self._syncs = DirectorySyncs()
        self._tree = Tree(root, self._syncs)
        self._temporary = Temporary(root)
        self._direct = DirectWriter()
        self._workers = Workers(workers, "local-storage")
        self._cleaned = False

    async def put(self, key: str, body: Sequence[Buffer], *, replace: bool = False, gate: Gate = OPEN) -> Put:
        """Store the buffers; see `Storage.put`."""
        check_key(key)
        return await self._workers.run(partial(self._put, key, body, replace, gate))

    async def get(self, key: str, start: int = 0, length: int | None = None, *, gate: Gate = OPEN) -> bytes:
        """Bytes of an object; see `Storage.get`."""
        check_key(key)
        return await self._workers.run(partial(self._get, key, start, length, gate))

    async def head(self, key: str) -> Entry | None:
        """Size and time; see `Storage.head`."""
        check_key(key)
        return await self._workers.run(lambda stop: self._head(key))

    async def list(self, prefix: str) -> AsyncIterator[Entry]:
        """Every key of the prefix in lexical order; one directory, or a page, in memory at a time."""
        check_prefix(prefix)
        above, _, beginning = prefix.rpartition("/")
        waiting = [*reversed(await self._workers.run(partial(self._inside, above, beginning)))]
        while waiting:
            for entry in await self._workers.run(partial(self._page, waiting)):
                yield entry

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove the keys; see `Storage.delete`."""
        by_directory: dict[str, list[str]] = {}
        for key in keys:
            above, _, name = check_key(key).rpartition("/")
            by_directory.setdefault(above, []).append(name)
        for above, names in by_directory.items():
            await self._workers.run(partial(self._delete, above, names))

    async def close(self) -> None:
        """End the threads."""
        await self._workers.close()

    def _put(self, key: str, body: Sequence[Buffer], replace: bool, gate: Gate, stop: Stop) -> Put:
        *above, name = key.split("/")
        size = sum(memoryview(part).nbytes for part in body)
        with translated("put", key, self._root, size), ExitStack() as stack:
            self._clean_once()
            target = self._found(above, stack)
            if target is not None and not replace:
                there = self._there(target, above, name)
                if there is not None:
                    return there
            with self._temporary.directory() as unfinished:
                temporary = self._temporary.name()
                try:
                    self._write(unfinished, temporary, body, size, gate, stop)
                    return self._publish(unfinished, temporary, target, above, name, replace, size)
                finally:
                    with suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=unfinished)

    def _clean_once(self) -> None:
        if not self._cleaned:
            self._cleaned = True
            self._temporary.clean()

    def _found(self, above: Sequence[str], stack: ExitStack) -> int | None:
        """A descriptor of the directory, as long as the stack, None if it is not there."""
        try:
            return stack.enter_context(self._tree.directory(above))
        except FileNotFoundError:
            return None

    def _there(self, directory: int, above: Sequence[str], name: str) -> Put | None:
        try:
            size = _regular(os.stat(name, dir_fd=directory, follow_symlinks=False), name).st_size
        except FileNotFoundError:
            return None
        # Whoever made it may not have come to this yet, and our caller will rely on the object.
        self._syncs.sync("/".join(above), directory)
        return Put(created=False, size=size)

    def _write(
        self, unfinished: int, temporary: str, body: Sequence[Buffer], size: int, gate: Gate, stop: Stop
    ) -> None:
        descriptor = os.open(temporary, WRITE, 0o640, dir_fd=unfinished)
        try:
            if size >= DIRECT_FROM and is_free(gate):
                direct = open_direct(temporary, unfinished)
                try:
                    self._direct.write(descriptor, direct, 0, body, stop)
                finally:
                    if direct is not None:
                        os.close(direct)
            else:
                _write_gated(descriptor, body, gate, stop)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _publish(
        self,
        unfinished: int,
        temporary: str,
        target: int | None,
        above: Sequence[str],
        name: str,
        replace: bool,
        size: int,
    ) -> Put:
        """`target`: the directory if it was there before."""
        path = "/".join(above)
        for left in range(TRIES, 0, -1):
            known = target if left == TRIES and self._tree.is_durable(above) else None
            try:
                with self._tree.directory(above, make=True) if known is None else nullcontext(known) as directory:
                    if replace:
                        os.replace(temporary, name, src_dir_fd=unfinished, dst_dir_fd=directory)
                    else:
                        os.link(temporary, name, src_dir_fd=unfinished, dst_dir_fd=directory, follow_symlinks=False)
                    self._syncs.sync(path, directory)
                    return Put(created=True, size=size)
            except FileExistsError:
                with ExitStack() as stack:
                    again = self._found(above, stack)
                    there = None if again is None else self._there(again, above, name)
                    if there is not None:
                        return there
            except FileNotFoundError:
                if left == 1:
                    raise
        raise StorageError(f"the name {path}/{name} appears and disappears", key=f"{path}/{name}")

    def _get(self, key: str, start: int, length: int | None, gate: Gate, stop: Stop) -> bytes:
        *above, name = key.split("/")
        with translated("get", key, self._root):
            try:
                with self._tree.directory(above) as directory:
                    descriptor = os.open(name, READ, dir_fd=directory)
            except (FileNotFoundError, NotADirectoryError):
                raise NotFound(f"there is no such object: {key}", key=key) from None
            try:
                size = _regular(os.fstat(descriptor), name).st_size
                end = size if length is None else start + length
                if end > size or start > size:
                    raise Truncated(f"an object is shorter than asked for: {key}", key=key, size=size)
                return _read(descriptor, start, end, gate, stop, key)
            finally:
                os.close(descriptor)

    def _head(self, key: str) -> Entry | None:
        *above, name = key.split("/")
        with translated("head", key, self._root):
            try:
                with self._tree.directory(above) as directory:
                    about = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                return None
            return Entry(key, about.st_size, about.st_mtime) if stat.S_ISREG(about.st_mode) else None

    def _page(self, waiting: "MutableSequence[_Found]", stop: Stop) -> Sequence[Entry]:
        """The next entries, `PAGE` at least while there are more. `waiting`: what is still to come, the next one last;
        in the place of a directory comes what is in it."""
        page: list[Entry] = []
        while waiting and len(page) < PAGE:
            found = waiting.pop()
            if found.entry is not None:
                page.append(found.entry)
            else:
                waiting.extend(reversed(self._inside(found.path, "", stop)))
        return page

    def _inside(self, path: str, beginning: str, stop: Stop) -> "Sequence[_Found]":
        """Files and directories of one directory, as their keys sort: `a-b` comes before what is in `a`, because `-`
        comes before `/`."""
        found: list[tuple[str, _Found]] = []
        base = f"{path}/" if path else ""
        with (
            translated("list", path, self._root),
            suppress(FileNotFoundError, NotADirectoryError),
            self._tree.directory(path.split("/") if path else []) as directory,
            os.scandir(directory) as entries,
        ):
            for entry in entries:
                stop.check()
                name = entry.name
                if not name.startswith(beginning) or (not path and name == RESERVED):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    found.append((f"{name}/", _Found(base + name)))
                elif entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):
                        about = entry.stat(follow_symlinks=False)
                        listed = Entry(base + name, about.st_size, about.st_mtime)
                        found.append((name, _Found(base + name, listed)))
        found.sort(key=lambda pair: pair[0])
        return [one for _, one in found]

    def _delete(self, above: str, names: Sequence[str], stop: Stop) -> None:
        segments = above.split("/") if above else []
        with translated("delete", above, self._root):
            try:
                with self._tree.directory(segments) as directory:
                    for name in names:
                        stop.check()
                        with suppress(FileNotFoundError):
                            os.unlink(name, dir_fd=directory)
                    self._syncs.sync(above, directory)
            except (FileNotFoundError, NotADirectoryError):
                os.close(open_root(self._root))  # a missing root is an error, a missing directory in it is none
                return
            self._tree.prune(segments)


class _Found:
    """A file, with its entry, or a directory."""

    __slots__ = ("entry", "path")

    def __init__(self, path: str, entry: Entry | None = None) -> None:
        self.path = path
        self.entry = entry


def _write_gated(descriptor: int, body: Sequence[Buffer], gate: Gate, stop: Stop) -> None:
    for piece in _pieces(body, STEP):
        stop.check()
        pass_checked(gate, len(piece), stop.check)
        written = 0
        while written < len(piece):
            written += os.write(descriptor, piece[written:])


def _pieces(body: Sequence[Buffer], step: int) -> Iterator[memoryview]:
    for part in body:
        view = memoryview(part).cast("B")
        for at in range(0, len(view), step):
            yield view[at : at + step]


def _regular(about: os.stat_result, name: str) -> os.stat_result:
    if not stat.S_ISREG(about.st_mode):
        raise StorageError(f"{name!r} is no plain file", key=name)
    return about


def _read(descriptor: int, start: int, end: int, gate: Gate, stop: Stop, key: str) -> bytes:
    # Without a limit one read fills one buffer; otherwise the pieces grow into one.
    step = end - start if is_free(gate) else STEP
    received = io.BytesIO()
    at = start
    while at < end:
        stop.check()
        part = os.pread(descriptor, min(step, end - at), at)
        if not part:
            raise Truncated(f"an object became shorter while it was read: {key}", key=key)
        pass_checked(gate, len(part), stop.check)
        at += len(part)
        if len(part) == end - start:
            return part
        received.write(part)
    return received.getvalue()
