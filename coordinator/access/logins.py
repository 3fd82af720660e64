"""Logins and the sessions that they begin. In: a name with a password, or a session's id. Out: a session's id, or the
user whose it is."""

import hashlib
import ipaddress
import re
import secrets
from collections.abc import Callable

import structlog

from coordinator.access.accounts import LONGEST, NAME
from coordinator.access.attempts import Allowance, Attempts
from coordinator.access.errors import LoginRefused, TooManyLogins
from coordinator.access.passwords import Passwords
from coordinator.model.access import Session, User
from coordinator.model.settings import AccessSettings
from coordinator.store.protocol import Sessions, Users
from kit.seldom import Seldom

SEEN_SECONDS = 60.0
"""How exactly it is kept when a session was used last: each time would be a write for each request."""
OF_A_USER = Allowance(10, 30.0)
"""For each address: a stranger's wrong tries keep nobody out who comes from elsewhere."""
OF_A_NAME = Allowance(300, 1.0)
"""From all addresses together: far more than one address may try, few for who guesses from many."""
OF_AN_ADDRESS = Allowance(20, 10.0)
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)

log = structlog.get_logger(__name__)


class Logins:
    """`clock`: unix seconds. `by_user` (of an address), `by_name` (from anywhere), `by_address`: how often somebody may
    try."""

    def __init__(
        self,
        users: Users,
        sessions: Sessions,
        passwords: Passwords,
        settings: AccessSettings,
        clock: Callable[[], float],
        by_user: Attempts | None = None,
        by_address: Attempts | None = None,
        by_name: Attempts | None = None,
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._passwords = passwords
        self._settings = settings
        self._clock = clock
        self._by_user = Attempts(OF_A_USER) if by_user is None else by_user
        self._by_name = Attempts(OF_A_NAME) if by_name is None else by_name
        self._by_address = Attempts(OF_AN_ADDRESS) if by_address is None else by_address
        self._told = Seldom()

    async def needed(self) -> bool:
        """Whether requests need a session: it is configured so, or there is a user."""
        return self._settings.login or await self._users.any()

    async def begin(self, name: str, password: str, address: str) -> str:
        """The id of a new session. Raises `LoginRefused` after the same work for every reason, and `TooManyLogins`
        before any. Each try counts before it is judged, so that many at once are no way around, and one that was right,
        or that nobody had time to judge, is given back."""
        whose, where = _key(name), _network(address)
        here = f"{whose} {where}"
        wait = self._by_address.take(where) or self._by_user.take(here) or self._by_name.take(whose)
        if wait:
            self._tell("logins were put off", address)
            raise TooManyLogins(wait)
        readable = NAME.fullmatch(name) and len(password.encode("utf-8", "surrogatepass")) <= LONGEST
        user = await self._users.get(name) if readable else None
        kept = None if user is None else user.password
        try:
            right = await self._passwords.matches(password if readable else "", kept)
        except TooManyLogins:
            self._give_back(whose, where)
            raise
        if user is None or not right or user.disabled:
            # A name that is nobody's may be a password in the wrong field: it goes nowhere.
            self._tell("logins were refused", address, user=user.name if user is not None else "unknown")
            raise LoginRefused
        self._give_back(whose, where)
        session_id, now = secrets.token_hex(16), self._clock()
        ends = now + self._settings.session_seconds
        await self._sessions.put(Session(key_of(session_id), user.name, user.stamp, now, ends, now))
        log.info("a user logged in", user=user.name, remote=address)
        return session_id

    async def user_of(self, session_id: str) -> User | None:
        """The user whose session it is, as they are now; None when it is over or nobody's."""
        if not _ID.fullmatch(session_id):
            return None
        key, now = key_of(session_id), self._clock()
        session = await self._sessions.get(key)
        if session is None:
            return None
        user = await self._users.get(session.user)
        if (
            user is None
            or user.disabled
            or user.stamp != session.stamp
            or now >= session.ends
            or now - session.seen >= self._settings.session_idle_seconds
        ):
            await self._sessions.remove(key)
            return None
        if now - session.seen >= SEEN_SECONDS:
            await self._sessions.saw(key, now)
        return user

    async def end(self, session_id: str) -> None:
        """Log out; of what is no session nothing happens."""
        if _ID.fullmatch(session_id):
            await self._sessions.remove(key_of(session_id))

    def _give_back(self, whose: str, where: str) -> None:
        self._by_address.give_back(where)
        self._by_user.give_back(f"{whose} {where}")
        self._by_name.give_back(whose)

    def _tell(self, what: str, address: str, **more: str) -> None:
        missed = self._told.due(f"{what} {_network(address)}")
        if missed is not None:
            log.warning(what, remote=address, untold=missed, **more)


def key_of(session_id: str) -> str:
    """What is kept of a session's id. It is random and long: one digest is enough."""
    return hashlib.sha256(session_id.encode()).hexdigest()


def _key(name: str) -> str:
    """A name as tries are counted: one length, whatever was sent."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _network(address: str) -> str:
    """Who shares an allowance: an IPv4 address; of IPv6 the network of 64 bits, which one machine has for itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((parsed.packed, 64), strict=False))
    return str(parsed)
