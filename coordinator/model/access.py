"""Who may do what: roles, users, and the sessions they log in to. Pure."""

from enum import StrEnum
from typing import Literal

import msgspec


class Role(StrEnum):
    """What a user may do; each may do what the ones before it may."""

    READ = "read"
    """look at everything; secrets are masked"""
    BACKUP = "backup"
    """and run, sync and scrub, also by schedules, and cancel these"""
    RESTORE = "restore"
    """and restore, also to a point in time, and cancel that"""
    ADMIN = "admin"
    """and all else: destinations, retention, archiving, deletes, users"""

    def allows(self, needed: "Role") -> bool:
        """Whether this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class PasswordHash(msgspec.Struct, frozen=True):
    """What is kept of a password: scrypt's parameters, and salt and digest in hex."""

    n: int
    r: int
    p: int
    salt: str
    digest: str


class User(msgspec.Struct, frozen=True):
    """`stamp`: anew with each password and each time the user is disabled; sessions of an older one are none any more,
    nor are those of a removed user of the same name. Times in unix seconds."""

    name: str
    role: Role
    password: PasswordHash
    stamp: str
    created: float
    changed: float
    disabled: bool = False

    @property
    def administers(self) -> bool:
        """Whether this user can log in and manage the others."""
        return self.role is Role.ADMIN and not self.disabled


class Session(msgspec.Struct, frozen=True):
    """A login. `key`: SHA-256 of the session's id in hex, which alone is kept: whoever reads the state can't use it.
    The role is the user's, looked up each time, so that a changed one counts at once. `stamp`: the user's at that time.
    `ends`: when it is over, used or not; `seen`: when it was last used, to the minute. Unix seconds."""

    key: str
    user: str
    stamp: str
    begun: float
    ends: float
    seen: float


class Change(StrEnum):
    """How a change of a user went."""

    DONE = "done"
    MISSED = "missed"
    """the user is not as the change took it to be, or gone"""
    LAST_ADMIN = "last_admin"
    """nobody could manage users after it"""


class Who(msgspec.Struct, frozen=True):
    """Who sent a request. `name`: the user's, else words that are no user's name. `kind`: what proved it."""

    name: str
    role: Role
    kind: Literal["user", "token", "certificate", "anyone"]


TOKEN = Who("token", Role.ADMIN, "token")
CERTIFICATE = Who("certificate", Role.ADMIN, "certificate")
ANYONE = Who("anyone on this machine", Role.ADMIN, "anyone")
"""Where no credentials are asked for."""

COORDINATOR = "coordinator"
"""Who asked for what the coordinator does by itself."""
SCHEDULE = "schedule"
"""Who asked for a schedule's backups, and for what they did not reach."""
RESERVED_NAMES = frozenset({TOKEN.name, CERTIFICATE.name, COORDINATOR, SCHEDULE})
"""Names of no user: they stand beside users' names where it is told who asked."""
