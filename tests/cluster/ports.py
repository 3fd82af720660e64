"""Ports and loopback networks that no other test process on this machine uses.

In: an address. Out: a port number leased until this process ends. A lease is a lock on a file, so parallel workers and
parallel runs never get the same one. The files go when their process ends, those of killed ones at the next start of
another. Ports lie below the kernel's ephemeral range (32768 and up), where outgoing connections would take them at
random.
"""

import atexit
import contextlib
import errno
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

_FIRST, _LAST = 20_000, 32_000
_held: dict[str, int] = {}  # file descriptors: the locks live as long as this process


def _leases() -> Path:
    directory = Path(tempfile.gettempdir()) / f"helenus-leases-{os.getuid()}"
    if not directory.exists():
        directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def _locked(path: Path, flags: int) -> int | None:
    """A descriptor of the file with its lock, None when another process has it or the file is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever ends removes the file while it holds the lock: a lock on a file without a name is nobody's lease.
        if os.fstat(descriptor).st_nlink:
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def sweep() -> None:
    """Remove the leases of processes that were killed."""
    for path in _leases().iterdir():
        if path.name not in _held and (descriptor := _locked(path, 0)) is not None:
            _end(path, descriptor)


def _end(path: Path, descriptor: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    os.close(descriptor)


def _end_all(owner: int) -> None:
    if os.getpid() != owner:  # a fork shares the locks, it does not own them
        return
    while _held:
        name, descriptor = _held.popitem()
        _end(_leases() / name, descriptor)


def _lease(name: str) -> bool:
    if name in _held:
        return False
    if not _held:
        sweep()
        atexit.register(_end_all, os.getpid())
    descriptor = _locked(_leases() / name, os.O_CREAT)
    if descriptor is None:
        return False
    _held[name] = descriptor
    return True


def _nobody_listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port on that address that nothing listens on, this process's own until it ends."""
    for port in random.sample(range(_FIRST, _LAST), 500):
        # One lease per port whatever the address: a server that binds to all addresses then clashes with none.
        if _nobody_listens(address, port) and _lease(f"port-{port}"):
            return port
    raise RuntimeError(f"no free port on {address} between {_FIRST} and {_LAST}")


def free_network() -> str:
    """The first three parts of a loopback network (127.0.x), this process's own until it ends."""
    for third in random.sample(range(100, 250), 150):
        if _nobody_listens(f"127.0.{third}.1", 9042) and _lease(f"network-{third}"):
            return f"127.0.{third}"
    raise RuntimeError("every loopback network from 127.0.100 to 127.0.249 is in use")
