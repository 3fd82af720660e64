"""Where a restore's files wait before Cassandra imports them. In: data directories and a job. Out: directories that
both the agent and Cassandra may use, on the volume of each data directory.

    <parent of the data directory>/.helenus/<its name>/<job>/      when that is on the same device and writable
    <data directory>/.helenus/backups/<job>/                       else: Cassandra's start-up check skips `backups`
        owner                    marks the directory as ours: nothing without it is removed
        held/<keyspace>/<table>/       verified files, until the job is cleaned
        import/<batch>/<keyspace>/<table>/    fresh links of one batch
"""

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from agent.cassandra.errors import CassandraError, NotEnoughSpace, SnapshotMissing, StagingRefused
from agent.cassandra.rights import cassandra_account, own_account, refusal, shared_group
from agent.wire.names import check_name

DIRECTORY_MODE = 0o770
FILE_MODE = 0o660
_CHUNK = 1 << 20
_HIDDEN = ".helenus"
_MARK = "owner"
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_TARGETS_OWN = _FULL | {errno.EROFS, errno.ENOENT}
"""What a link is refused with for where it goes, when its source is there."""
_COPY_INSTEAD = frozenset({errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EACCES, errno.EOPNOTSUPP})


class StagingRoot(msgspec.Struct, frozen=True):
    """A job's directory for one data directory. `base` exists already, `parts` lead from there to the root. `group`:
    what files get so that Cassandra may write them (None: agent and Cassandra are the same user). `owner`: given to the
    files where the agent may (as root)."""

    data_directory: str
    base: str
    parts: tuple[str, ...]
    group: int | None = None
    owner: int | None = None

    @property
    def path(self) -> Path:
        """The job's directory."""
        return Path(self.base, *self.parts)

    def held(self, keyspace: str, table: str) -> Path:
        """Where the table's verified files are."""
        return self.path / "held" / keyspace / table


class Probe(msgspec.Struct, frozen=True):
    """What a data directory's staging can do: `links` (else files are copied, and need the room twice)."""

    root: StagingRoot
    links: bool


def staging_root(data_directory: str, job: str, run_as: str = "") -> StagingRoot:
    """Where the job stages for that data directory. Raises `StagingRefused` if agent and Cassandra share no group."""
    check_name("job", job)
    data = Path(data_directory)
    mine, theirs = own_account(), cassandra_account(data_directory, run_as)
    group = owner = None
    if mine.uid != theirs.uid:
        group = shared_group(mine, theirs, data.stat().st_gid)
        owner = theirs.uid if mine.uid == 0 else None
        if group is None:
            raise StagingRefused(
                f"the agent's user {mine.name} and Cassandra's user {theirs.name} are in no group together",
                path=data_directory,
                reason="no_shared_group",
            )
    parent = data.parent
    if parent.stat().st_dev == data.stat().st_dev and os.access(parent, os.W_OK | os.X_OK):
        return StagingRoot(data_directory, str(parent), (_HIDDEN, data.name, job), group, owner)
    return StagingRoot(data_directory, data_directory, (_HIDDEN, "backups", job), group, owner)


def make_root(root: StagingRoot) -> None:
    """Make the job's directory with its mark. Raises `StagingRefused`, `NotEnoughSpace`."""
    make_directory(root, ())
    mark = root.path / _MARK
    try:
        if not mark.exists():
            mark.write_text(root.parts[-1])
            settle_file(root, mark)
    except OSError as error:
        raise staging_error(error, f"{mark} can't be made", mark) from None


def is_made(root: StagingRoot) -> bool:
    """Whether the job's directory stands with its mark: not on a volume that was wiped or replaced since. Raises
    `StagingRefused` when that can't be seen (rights, a disk error)."""
    mark = root.path / _MARK
    try:
        return stat.S_ISREG(mark.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise staging_error(error, f"{mark} can't be looked at", mark) from None


def make_directory(root: StagingRoot, below: Sequence[str]) -> Path:
    """Make a directory below the root (names that were checked), durably, never through a symbolic link; every one of
    them has the mode and group that Cassandra needs. Raises `StagingRefused`, `NotEnoughSpace`."""
    parts = [*root.parts, *below]
    where = Path(root.base)
    mode = DIRECTORY_MODE | (stat.S_ISGID if root.group is not None else 0)
    try:
        descriptor = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts:
                where = where / part
                child = _child(descriptor, part)
                os.close(descriptor)
                descriptor = child
                _settle(descriptor, root, mode)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise staging_error(error, f"{where} can't be made", where) from None
    return where


def _child(parent: int, name: str) -> int:
    """Open (and make) the directory `name` in the directory `parent`."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, DIRECTORY_MODE, dir_fd=parent)
        os.fsync(parent)
    return os.open(name, _OPEN_DIRECTORY, dir_fd=parent)


def settle_file(root: StagingRoot, path: Path) -> None:
    """Give a staged file of ours the mode, group and (as root) owner that let Cassandra rewrite and hard-link it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _settle(descriptor, root, FILE_MODE)
    finally:
        os.close(descriptor)


def _settle(descriptor: int, root: StagingRoot, mode: int) -> None:
    about = os.fstat(descriptor)
    uid = -1 if root.owner is None or root.owner == about.st_uid else root.owner
    gid = -1 if root.group is None or root.group == about.st_gid else root.group
    if about.st_uid not in (os.geteuid(), root.owner) and os.geteuid() != 0:
        return  # Cassandra made it: it is not ours to change
    if (uid, gid) != (-1, -1):
        os.fchown(descriptor, uid, gid)
    if stat.S_IMODE(about.st_mode) != mode:
        os.fchmod(descriptor, mode)


def link_or_copy(root: StagingRoot, source: Path, target: Path) -> bool:
    """A hard link of `source` at `target`; a copy where the kernel refuses links (then False), its bytes durable. The
    name is durable when the directory was synced. Raises `NotEnoughSpace` and `StagingRefused` for the target,
    `SnapshotMissing` when the source is gone, and OSError for what else the source has, or a link that the disk refuses
    for a reason that may be either's.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno in _COPY_INSTEAD:
            _copy(root, source, target)
            return False
        if error.errno == errno.ENOENT and not os.path.lexists(source):
            raise _gone(source) from None
        if error.errno in _TARGETS_OWN:
            raise _put_error(error, root, target) from None
        raise
    return True


def _copy(root: StagingRoot, source: Path, target: Path) -> None:
    """Reads and writes apart, so that each side's troubles are told as its own."""
    unfinished = target.with_name(f".{target.name}.part")  # no name of a component: nobody takes it for one
    try:
        reading = source.open("rb")
    except FileNotFoundError:
        raise _gone(source) from None
    with reading:
        with _putting(root, target):
            unfinished.unlink(missing_ok=True)
            writing = unfinished.open("xb", buffering=0)  # to close it writes nothing
        with writing:
            while rest := memoryview(reading.read(_CHUNK)):
                with _putting(root, target):
                    while rest:
                        rest = rest[writing.write(rest) :]
            with _putting(root, target):
                os.fsync(writing.fileno())  # Cassandra only renames what it imports: nobody else makes it durable
    with _putting(root, target):
        settle_file(root, unfinished)
        unfinished.rename(target)


@contextlib.contextmanager
def _putting(root: StagingRoot, target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _put_error(error, root, target) from None


def _put_error(error: OSError, root: StagingRoot, target: Path) -> CassandraError:
    if error.errno in _FULL:
        where = str(root.path)
        return NotEnoughSpace(f"no room for {target.name} in {where}", volumes=[{"path": where}])
    return staging_error(error, f"{target} can't be put there", target)


def _gone(source: Path) -> SnapshotMissing:
    return SnapshotMissing(f"{source} is gone", path=str(source))


def probe(root: StagingRoot, run_as: str = "") -> Probe:
    """Create, rename and hard-link a file in the root, and look whether Cassandra's user could do the same with it.

    What the probe made is removed again; the root's directories stay until the job is cleaned. Raises
    `StagingRefused`, `NotEnoughSpace`.
    """
    make_root(root)
    place = make_directory(root, (f"probe-{secrets.token_hex(4)}",))
    account = cassandra_account(root.data_directory, run_as)
    try:
        first, second, third = place / "created", place / "renamed", place / "linked"
        first.write_bytes(b"probe")
        settle_file(root, first)
        first.rename(second)
        links = link_or_copy(root, second, third)
        reason = refusal(account, place) or refusal(account, third)
        target = Path(root.data_directory)
        if reason is None and target.stat().st_dev != place.stat().st_dev:
            reason = f"{place} and {target} are on two devices"
    except OSError as error:
        raise staging_error(error, f"staging on {root.path} fails", root.path) from None
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if reason is not None:
        raise StagingRefused(f"staging on {root.path} is of no use: {reason}", path=str(root.path), reason=reason)
    return Probe(root, links)


def staging_error(error: OSError, message: str, path: Path) -> CassandraError:
    """A full volume is told apart from one that refuses."""
    if error.errno in _FULL:
        return NotEnoughSpace(f"{message}: no room", volumes=[{"path": str(path)}])
    return StagingRefused(f"{message}: {error.strerror}", path=str(path), reason=str(error))


def remove_below(root: StagingRoot, *below: str) -> None:
    """Remove a directory below the root, if it is there. Symbolic links are removed, not followed."""
    path = root.path.joinpath(*below)
    if path.is_symlink():
        path.unlink()
        return
    while path.is_dir():
        with contextlib.suppress(FileNotFoundError):  # somebody took a file of it meanwhile: look again
            shutil.rmtree(path)


def remove_root(root: StagingRoot, keep: str = "") -> bool:
    """Remove the job's directory, which must bear our mark, and the directories above it that are then empty; what is
    named `keep` stays in it, with the mark. False when there is nothing of ours."""
    path = root.path
    if path.is_symlink() or not path.is_dir():
        return False
    if not (path / _MARK).is_file():
        if any(path.iterdir()):
            raise StagingRefused(f"{path} does not bear the agent's mark: it is left alone", path=str(path))
        path.rmdir()
    else:
        mark = path / _MARK
        for entry in path.iterdir():
            if entry != mark and entry.name != keep:
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        if keep and os.path.lexists(path / keep):
            return True
        mark.unlink()
        path.rmdir()
    for parent in list(path.parents)[: len(root.parts) - 1]:
        with contextlib.suppress(OSError):  # another job's directory is in it
            parent.rmdir()
    return True
