"""Ports and loopback networks that no other test process on this machine uses.

In: an address. Out: a port number leased until this process ends. A lease is a lock on a file, so parallel workers and
parallel runs never get the same one, and a killed process leaves nothing behind. Ports lie below the kernel's
ephemeral range (32768 and up), where outgoing connections would take them at random.
"""

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
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def _lease(name: str) -> bool:
    if name in _held:
        return False
    descriptor = os.open(_leases() / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
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
