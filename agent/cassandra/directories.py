"""The node's data directories and their volumes. In: paths. Out: devices, filesystems, bytes free.

A filesystem is named by what stays the same over reboots: its UUID where the system shows it, else its mount source.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec
import structlog

from agent.cassandra.errors import NoDataDirectories
from agent.wire.node import MOST_BYTES, DataDirectory

_MOUNTS = Path("/proc/self/mountinfo")
_UUIDS = Path("/dev/disk/by-uuid")
_log = structlog.get_logger(__name__)


class Volume(msgspec.Struct, frozen=True):
    """A directory's volume. `device`: st_dev, comparable until the next boot. `filesystem`: the lasting name."""

    path: str
    device: int
    filesystem: str
    total_bytes: int
    free_bytes: int

    @property
    def free_percent(self) -> float:
        """Of the volume's bytes, how many a process without privileges may still write."""
        return 100.0 * self.free_bytes / self.total_bytes if self.total_bytes else 0.0


def volume_of(path: Path) -> Volume:
    """The volume that `path` is on. Raises OSError."""
    device = path.stat().st_dev
    space = os.statvfs(path)
    return Volume(
        path=str(path),
        device=device,
        filesystem=_filesystem(device),
        total_bytes=space.f_blocks * space.f_frsize,
        free_bytes=space.f_bavail * space.f_frsize,
    )


def volumes(directories: Iterable[str]) -> tuple[Volume, ...]:
    """The volume of each data directory, in order. Raises `NoDataDirectories` for one that can't be read."""
    found = []
    for directory in directories:
        try:
            found.append(volume_of(Path(directory)))
        except OSError as error:
            raise NoDataDirectories(
                f"the data directory {directory} can't be read: {error.strerror}", path=directory
            ) from None
    if not found:
        raise NoDataDirectories("the node has no data directories that the agent knows of")
    return tuple(found)


def volumes_that_answer(directories: Iterable[str]) -> tuple[Volume, ...]:
    """As `volumes`, without those that can't be read: the log tells of each."""
    found: list[Volume] = []
    for directory in directories:
        try:
            found += volumes([directory])
        except NoDataDirectories as error:
            _log.warning("volume_not_looked_at", path=directory, reason=error.message)
    return tuple(found)


def as_wire(found: Iterable[Volume]) -> tuple[DataDirectory, ...]:
    """The directories as GET /v1/node shows them. A file system over a network may tell any size."""
    return tuple(
        DataDirectory(one.path, one.filesystem, min(one.total_bytes, MOST_BYTES), min(one.free_bytes, MOST_BYTES))
        for one in found
    )


def parse_setting(value: str) -> tuple[str, ...]:
    """The directories in `system_views.settings`: `[/a, /b]` in 4.1 and 5.0 [T]."""
    inner = value.strip().removeprefix("[").removesuffix("]")
    return tuple(part.strip() for part in inner.split(",") if part.strip())


def _filesystem(device: int) -> str:
    return _uuid(device) or _mount_source(device) or f"device-{os.major(device)}:{os.minor(device)}"


def _uuid(device: int) -> str | None:
    try:
        for link in os.scandir(_UUIDS):
            if os.stat(link.path).st_rdev == device:
                return link.name
    except OSError:
        return None  # no udev here (a container), or not for this user to read
    return None


def _mount_source(device: int) -> str | None:
    """The mount's source and the subtree it shows, of the first mount of that device in /proc/self/mountinfo."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = _MOUNTS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, source = before.split(), after.split()
        if len(fields) > 4 and len(source) > 1 and fields[2] == wanted:
            return f"{source[1]}@{fields[4]}"
    return None
