"""Users as admins manage them. In: names, passwords, roles. Out: users in the store, or why not."""

import re
import secrets
from collections.abc import Callable

import msgspec

from coordinator.access.errors import LastAdmin, NoSuchUser, UserExists, WeakPassword
from coordinator.access.passwords import Passwords
from coordinator.model.access import RESERVED_NAMES, Change, PasswordHash, Role, User
from coordinator.model.errors import Conflict, InvalidArguments
from coordinator.store.protocol import Users

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}", re.ASCII)
SHORTEST = 12
"""Characters of a password."""
LONGEST = 1024
"""Bytes of a password."""
TRIES = 5
"""How often a change is tried that others overtake."""
NOBODY_LEFT = "the last admin stays: without one, a token or a client CA nobody could manage users"


class Accounts:
    """`others_administer`: a token or a client CA is configured, so that it needs no user to manage users."""

    def __init__(
        self, users: Users, passwords: Passwords, clock: Callable[[], float], *, others_administer: bool
    ) -> None:
        self._users = users
        self._passwords = passwords
        self._clock = clock
        self._admin_stays = not others_administer

    async def all(self) -> list[User]:
        """Every user, by name."""
        return await self._users.all()

    async def get(self, name: str) -> User:
        """The user. Raises `NoSuchUser`."""
        user = await self._users.get(name) if NAME.fullmatch(name) else None
        if user is None:
            raise NoSuchUser("there is no user of that name")
        return user

    async def add(self, name: str, password: str, role: Role) -> User:
        """Make a user. Raises `UserExists`, `WeakPassword`, `InvalidArguments`, and `LastAdmin` for one who isn't an
        admin while there is none: from the first user on requests need a session, and nobody could go on."""
        if not NAME.fullmatch(name) or name in RESERVED_NAMES:
            raise InvalidArguments(
                "«name» must have 1 to 64 letters, digits and _ . @ -, beginning with a letter, digit or _, and not be "
                f"one of {', '.join(sorted(RESERVED_NAMES))}",
                field="name",
            )
        check_password(name, password)
        if await self._users.get(name) is not None:
            raise UserExists(f"there is a user {name} already", user=name)
        if self._admin_stays and role is not Role.ADMIN and not any(user.administers for user in await self.all()):
            raise LastAdmin("the first user must be an admin: without a token or a client CA nobody else could be")
        now = self._clock()
        user = User(name, role, await self._passwords.digest(password), _stamp(), now, now)
        if not await self._users.add(user):
            raise UserExists(f"there is a user {name} already", user=name)
        return user

    async def change(
        self, name: str, *, password: str | None = None, role: Role | None = None, disabled: bool | None = None
    ) -> User:
        """Change what is given. A new password, and disabling, end the user's sessions. Raises `NoSuchUser`,
        `WeakPassword`, `LastAdmin`."""
        await self.get(name)
        digest: PasswordHash | None = None
        if password is not None:
            check_password(name, password)
            digest = await self._passwords.digest(password)
        for _ in range(TRIES):
            former = await self.get(name)
            user = msgspec.structs.replace(
                former,
                role=role or former.role,
                password=digest or former.password,
                disabled=former.disabled if disabled is None else disabled,
                stamp=_stamp() if digest is not None or disabled else former.stamp,
                changed=self._clock(),
            )
            if await self._replaced(former, user):
                return user
        raise Conflict(f"the user {name} is being changed by others all the time")

    async def remove(self, name: str) -> None:
        """Remove the user; their sessions are none any more. Raises `NoSuchUser`, `LastAdmin`."""
        for _ in range(TRIES):
            if await self._replaced(await self.get(name), None):
                return
        raise Conflict(f"the user {name} is being changed by others all the time")

    async def has_password(self, user: User, password: str) -> bool:
        """Whether it is the user's password."""
        return await self._passwords.matches(password, user.password)

    async def _replaced(self, former: User, user: User | None) -> bool:
        change = await self._users.replace(former, user, admin_stays=self._admin_stays)
        if change is Change.LAST_ADMIN:
            raise LastAdmin(NOBODY_LEFT, user=former.name)
        return change is Change.DONE


def check_password(name: str, password: str) -> None:
    """Raise `WeakPassword` for one that would be guessed at once."""
    if len(password) < SHORTEST:
        raise WeakPassword(f"the password has fewer than {SHORTEST} characters", field="password")
    if len(password.encode("utf-8", "surrogatepass")) > LONGEST:
        raise WeakPassword(f"the password has more than {LONGEST} bytes", field="password")
    if password.lower() == name.lower():
        raise WeakPassword("the password is the user's name", field="password")


def _stamp() -> str:
    return secrets.token_hex(8)
