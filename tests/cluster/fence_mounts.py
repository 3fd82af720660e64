"""The file system as a unit's service sees it: ProtectSystem=strict, ReadWritePaths, StateDirectory, ProtectHome and
PrivateTmp in a mount namespace of this process's own. Needs root.

In: the unit's settings, and where its paths are here. Out: nothing can be written but what the unit makes writable;
homes and temporary directories are empty.

What the tests themselves need (the interpreter, this repository) stays where it is, readable, also in an empty home.
"""

import ctypes
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.cluster.places import REPOSITORY

CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
HOMES = ("/home", "/root", "/run/user")
TEMPORARY = ("/tmp", "/var/tmp")
KERNELS = ("/dev", "/proc", "/sys")


class _Attributes(ctypes.Structure):
    """The kernel's mount_attr."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def writable_paths(settings: Mapping[str, Sequence[str]]) -> list[str]:
    """The paths that the unit lets its service write."""
    given = [path.removeprefix("-") for line in settings.get("ReadWritePaths", []) for path in line.split()]
    return given + [f"/var/lib/{name}" for line in settings.get("StateDirectory", []) for name in line.split()]


def see_as_the_unit(settings: Mapping[str, Sequence[str]], at: Mapping[str, Path], keep: Sequence[Path]) -> None:
    """Change what this process sees. `at`: the unit's writable path → where that is here; `keep`: what is to be seen,
    read-only, though it lies in a home or a temporary directory."""
    assert settings["ProtectSystem"] == ["strict"]
    covers: dict[str, str] = {}
    if settings.get("ProtectHome") == ["true"]:
        covers |= {home: "mode=0755" for home in HOMES if Path(home).is_dir()}
    if settings.get("PrivateTmp") == ["true"]:
        covers |= dict.fromkeys(TEMPORARY, "mode=1777")
    writable = [at[path].resolve() for path in writable_paths(settings)]
    needed = [place.resolve() for place in (REPOSITORY, Path(sys.prefix), Path(sys.base_prefix), *keep)]
    hidden = [path for path in needed if any(path.is_relative_to(cover) for cover in covers)]
    libc = ctypes.CDLL(None, use_errno=True)
    _done(libc.unshare(CLONE_NEWNS), "unshare")
    _mount(libc, "none", "/", "", MS_REC | MS_PRIVATE)
    opened = {path: os.open(path, os.O_PATH) for path in {*hidden, *writable}}
    for cover, mode in covers.items():
        _mount(libc, "fence", cover, "tmpfs", 0, mode)
    for path in sorted(opened, key=lambda path: len(path.parts)):
        path.mkdir(parents=True, exist_ok=True)
        _mount(libc, f"/proc/self/fd/{opened[path]}", str(path), "", MS_BIND | MS_REC)
        os.close(opened[path])
    _read_only(libc, ["/"], True, AT_RECURSIVE)
    _read_only(libc, [*KERNELS, *map(str, writable)], False, AT_RECURSIVE)
    _read_only(libc, [path for path in TEMPORARY if path in covers], False, 0)  # what is kept there is not written
    os.chdir(REPOSITORY)  # else it is still in what lies below a cover


def _mount(libc: ctypes.CDLL, source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    texts = [text.encode() or None for text in (source, target, kind)]
    _done(libc.mount(*texts, ctypes.c_ulong(flags), options.encode() or None), f"mount {target}")


def _read_only(libc: ctypes.CDLL, paths: Iterable[str], yes: bool, flags: int) -> None:
    attributes = _Attributes(attr_set=MOUNT_ATTR_RDONLY) if yes else _Attributes(attr_clr=MOUNT_ATTR_RDONLY)
    for path in paths:
        size = ctypes.c_size_t(ctypes.sizeof(attributes))
        done = libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), flags, ctypes.byref(attributes), size)
        _done(done, f"mount_setattr {path}")


def _done(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
