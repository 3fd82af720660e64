"""Runs a program under a systemd unit's restrictions, without systemd. In: a unit file and an argument list. Out: the
program, started with the unit's system call filter, address families, capabilities, file mode and limits.

`python -m tests.cluster.fence UNIT [--user UID:GID[:GID…]] [--at PATH=HERE …] [--keep PATH …] -- PROGRAM ARGUMENT…`

With `--at` it sees the file system as the unit gives it (see `fence_mounts`), which needs root. libseccomp is on every
machine with systemd. Devices, kernel tunables and control groups are not played.
"""

import argparse
import ctypes
import ctypes.util
import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tests.cluster import fence_mounts

ALLOW = 0x7FFF0000
ERRNO = 0x00050000
EQUAL, MASKED_EQUAL = 4, 7
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
CAPABILITY_VERSION_3 = 0x20080522
SUID_SGID = 0o6000
MODES = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "mkdir": 1, "mkdirat": 2, "mknod": 1, "mknodat": 2, "creat": 1}
"""System calls that take a mode → which argument it is."""
OPENS = {"open": 1, "openat": 2}
"""System calls that take a mode behind these flags, when O_CREAT is among them."""
UNSEEN = frozenset({"openat2", "fchmodat2"})
"""Their mode can't be looked at, or libseccomp may not know them: without them the C library takes the older ones."""


class User(msgspec.Struct, frozen=True):
    """Who the program runs as."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """As `--user` takes it."""
        return ":".join(map(str, (self.uid, self.gid, *self.groups)))


class _Compare(ctypes.Structure):
    """libseccomp's scmp_arg_cmp."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def command(
    unit: Path, *, user: User | None = None, at: Mapping[str, Path] | None = None, keep: Sequence[Path] = ()
) -> list[str]:
    """The argument list to put in front of a program's."""
    line = [sys.executable, "-m", "tests.cluster.fence", str(unit)]
    line += ["--user", user.text] if user else []
    for path, here in (at or {}).items():
        line += ["--at", f"{path}={here}"]
    for kept in keep:
        line += ["--keep", str(kept)]
    return [*line, "--"]


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


def fence(
    unit: Path, *, user: User | None = None, at: Mapping[str, Path] | None = None, keep: Sequence[Path] = ()
) -> None:
    """Put this process, and all that it starts, under the unit's restrictions."""
    settings = settings_of(unit)
    calls = allowed_calls(settings["SystemCallFilter"])
    families = [int(getattr(socket, name)) for name in settings["RestrictAddressFamilies"][-1].split()]
    if at is not None:
        os.umask(0o022)
        fence_mounts.see_as_the_unit(settings, at, keep)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = min(int(settings["LimitNOFILE"][-1]), most)  # only systemd itself may raise it
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    os.umask(int(settings["UMask"][-1], 8))
    libc = ctypes.CDLL(None, use_errno=True)
    if settings["CapabilityBoundingSet"][-1] == "" and os.geteuid() == 0:
        _bind_capabilities(libc)
        if user is None:
            _drop_capabilities(libc)
    if user is not None:  # the kernel takes a former root's capabilities
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    if settings["NoNewPrivileges"][-1] == "true" and libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")
    _filter(calls, families, no_suid=settings.get("RestrictSUIDSGID", ["false"])[-1] == "true")


def _bind_capabilities(libc: ctypes.CDLL) -> None:
    for number in range(int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1):
        if libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "PR_CAPBSET_DROP")


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if libc.capset(header, nothing):
        raise OSError(ctypes.get_errno(), "capset")


def _filter(calls: set[str], families: list[int], *, no_suid: bool) -> None:
    """Load a filter: the calls are allowed, socket() only for the address families, all else is EPERM. `no_suid`: no
    mode may have the set-user-id or set-group-id bit."""
    rules: list[tuple[str, _Compare | None]] = [
        ("socket", _Compare(0, EQUAL, family, 0)) for family in families if "socket" in calls
    ]
    looked_at = {"socket"}
    if no_suid:
        for name, argument in MODES.items():
            rules.append((name, _Compare(argument, MASKED_EQUAL, SUID_SGID, 0)))
        for name, argument in OPENS.items():
            rules.append((name, _Compare(argument, MASKED_EQUAL, os.O_CREAT, 0)))
            rules.append((name, _Compare(argument + 1, MASKED_EQUAL, SUID_SGID, 0)))
        looked_at |= {*MODES, *OPENS, *UNSEEN}
    rules = [rule for rule in rules if rule[0] in calls] + [(name, None) for name in sorted(calls - looked_at)]
    library = ctypes.CDLL(ctypes.util.find_library("seccomp") or "libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(ERRNO | errno.EPERM)))
    for name, compare in rules:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:  # of another architecture
            continue
        compares = (_Compare * 1)(compare) if compare is not None else None
        count = 0 if compare is None else 1
        _check(library.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, count, compares), name)
    _check(library.seccomp_load(context), "seccomp_load")


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(-result, what)


def _user(text: str) -> User:
    uid, gid, *groups = map(int, text.split(":"))
    return User(uid, gid, tuple(groups))


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("unit", type=Path)
    parser.add_argument("--user", type=_user)
    parser.add_argument("--at", action="append", default=[])
    parser.add_argument("--keep", action="append", default=[], type=Path)
    parser.add_argument("program", nargs="+")
    options = parser.parse_args()
    at = {path: Path(here) for path, _, here in (entry.partition("=") for entry in options.at)}
    fence(options.unit, user=options.user, at=at or None, keep=options.keep)
    os.execvp(options.program[0], options.program)


if __name__ == "__main__":
    _main()
