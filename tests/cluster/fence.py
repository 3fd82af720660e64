"""Runs a program under a systemd unit's restrictions, without systemd. In: a unit file and an argument list. Out: the
program, started with the unit's system call filter, address families, capabilities, file mode and limits.

`python -m tests.cluster.fence UNIT PROGRAM ARGUMENT…`; libseccomp is on every machine with systemd. What needs a mount
namespace of its own (ProtectSystem and the like) is not played.
"""

import ctypes
import ctypes.util
import errno
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

ALLOW = 0x7FFF0000
ERRNO = 0x00050000
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
CAPABILITY_VERSION_3 = 0x20080522


class _Compare(ctypes.Structure):
    """libseccomp's scmp_arg_cmp."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def settings_of(unit: Path) -> dict[str, list[str]]:
    """The unit's settings; one that is there several times has several values, in their order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def allowed_calls(lines: list[str]) -> set[str]:
    """The system calls that `SystemCallFilter=` lines come to: the first decides that it is a list of what is allowed,
    `~` takes away, groups are systemd's own."""
    allowed = _group("@default")
    for line in lines:
        names = line.removeprefix("~").split()
        calls = {call for name in names for call in (_group(name) if name.startswith("@") else {name})}
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def _group(name: str) -> set[str]:
    printed = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout
    calls = [line.strip() for line in printed.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return {call for entry in calls for call in (_group(entry) if entry.startswith("@") else {entry})}


def fence(unit: Path) -> None:
    """Put this process, and all that it starts, under the unit's restrictions."""
    settings = settings_of(unit)
    calls = allowed_calls(settings["SystemCallFilter"])
    families = [int(getattr(socket, name)) for name in settings["RestrictAddressFamilies"][-1].split()]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = min(int(settings["LimitNOFILE"][-1]), most)  # only systemd itself may raise it
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    os.umask(int(settings["UMask"][-1], 8))
    libc = ctypes.CDLL(None, use_errno=True)
    if settings["CapabilityBoundingSet"][-1] == "" and os.geteuid() == 0:
        _drop_capabilities(libc)
    if settings["NoNewPrivileges"][-1] == "true" and libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")
    _filter(calls, families)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    for number in range(int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1):
        if libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "PR_CAPBSET_DROP")
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if libc.capset(header, nothing):
        raise OSError(ctypes.get_errno(), "capset")


def _filter(calls: set[str], families: list[int]) -> None:
    """Load a filter: the calls are allowed, socket() only for the address families, all else is EPERM."""
    library = ctypes.CDLL(ctypes.util.find_library("seccomp") or "libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(ERRNO | errno.EPERM)))
    for name in sorted(calls - {"socket"}):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # others are of other architectures
            _check(library.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, 0, None), name)
    equal = 4  # SCMP_CMP_EQ
    for family in families:
        compare = (_Compare * 1)(_Compare(0, equal, family, 0))
        number = library.seccomp_syscall_resolve_name(b"socket")
        _check(library.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, 1, compare), "socket")
    _check(library.seccomp_load(context), "seccomp_load")


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(-result, what)


if __name__ == "__main__":
    fence(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
