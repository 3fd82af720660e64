"""May another user use a file or directory? In: users and groups, stat results. Out: yes or no, and where not.

Judged by owner, group and mode as the kernel does (ACLs and capabilities apart): the agent can't try it as Cassandra.
"""

import os
import pwd
import stat
from pathlib import Path

import msgspec

READ, WRITE, ENTER = 4, 2, 1


class Account(msgspec.Struct, frozen=True):
    """A user with all groups it is in."""

    uid: int
    name: str
    groups: frozenset[int]


def account_of(uid: int) -> Account:
    """The account of a user id with its groups: those that its Cassandra process really has, where one runs (it may
    have been started before the user got a group), else those that the system knows."""
    running = _groups_of_cassandra(uid)
    try:
        known = pwd.getpwuid(uid)
    except KeyError:
        return Account(uid, str(uid), running or frozenset())
    return Account(uid, known.pw_name, running or frozenset(os.getgrouplist(known.pw_name, known.pw_gid)))


def _groups_of_cassandra(uid: int) -> frozenset[int] | None:
    """The groups of a running Cassandra of that user, None if none is to be seen."""
    for process in Path("/proc").iterdir():
        try:
            if not process.name.isdigit() or process.stat().st_uid != uid:
                continue
            if b"CassandraDaemon" not in (process / "cmdline").read_bytes():
                continue
            lines = (process / "status").read_text().splitlines()
        except OSError:
            continue  # it ended meanwhile, or is not for this user to see
        words = [line.split() for line in lines]
        found = {word[0]: [int(gid) for gid in word[1:]] for word in words if word and word[0] in ("Gid:", "Groups:")}
        return frozenset(found.get("Groups:", [])) | frozenset(found.get("Gid:", [])[1:2])
    return None


def account_named(name: str) -> Account | None:
    """The account of a user's name, None if there is no such user."""
    try:
        return account_of(pwd.getpwnam(name).pw_uid)
    except KeyError:
        return None


def own_account() -> Account:
    """The account this process runs as, with the groups it really has."""
    uid = os.geteuid()
    return Account(uid, account_of(uid).name, frozenset({os.getegid(), *os.getgroups()}))


def cassandra_account(data_directory: str, run_as: str) -> Account:
    """The user Cassandra runs as: the one that is named, else the owner of what it made in its data directory."""
    named = account_named(run_as) if run_as else None
    if named is not None:
        return named
    made = Path(data_directory, "system")
    return account_of((made if made.is_dir() else Path(data_directory)).stat().st_uid)


def allowed(account: Account, about: os.stat_result, wanted: int) -> bool:
    """Whether the mode bits give `account` the wanted rights."""
    if account.uid == 0:
        return True
    if about.st_uid == account.uid:
        given = about.st_mode >> 6
    elif about.st_gid in account.groups:
        given = about.st_mode >> 3
    else:
        given = about.st_mode
    return given & wanted == wanted


def refusal(account: Account, path: Path) -> str | None:
    """Why `account` could not read, write and enter the directory or file at `path`; None when it could."""
    for parent in reversed(path.parents):
        if not allowed(account, parent.stat(), ENTER):
            return f"the user {account.name} may not enter {parent}"
    about = path.stat()
    wanted = READ | WRITE | (ENTER if stat.S_ISDIR(about.st_mode) else 0)
    if not allowed(account, about, wanted):
        return f"the user {account.name} may not read and write {path} ({stat.filemode(about.st_mode)})"
    return None


def shared_group(mine: Account, theirs: Account, preferred: int) -> int | None:
    """A group that a file of mine can have so that they may write it: the preferred one, else any that we share."""
    common = theirs.groups if mine.uid == 0 else mine.groups & theirs.groups
    if preferred in common:
        return preferred
    return min(common, default=None)
