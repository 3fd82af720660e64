"""Passwords as scrypt's digests. In: a password. Out: what is kept of it, or whether it is the one that is kept.

The work is much on purpose: each takes 32 MiB and some tenths of a second. It is done in threads of its own, few at a
time, and more than wait already are sent away: a flood of logins takes neither the memory nor the loop.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from coordinator.access.errors import TooManyLogins
from coordinator.model.access import PasswordHash

T = TypeVar("T")

AT_ONCE = 2
WAITING = 16
"""More wait for no thread: they are told to come again."""
BUSY_SECONDS = 2
"""When those may come again."""
MEMORY = 256 << 20
"""Bytes that one digest may take at most, whatever its record says."""


class Cost(msgspec.Struct, frozen=True):
    """scrypt's parameters: 128 * n * r bytes of memory, gone through p times."""

    n: int = 1 << 15
    r: int = 8
    p: int = 3


class Passwords:
    """`cost`: of new digests; a kept one is compared with its own."""

    def __init__(self, cost: Cost | None = None, *, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._cost = cost or Cost()
        self._most = at_once + waiting
        self._asked = 0
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="passwords")
        self._nobodys = PasswordHash(self._cost.n, self._cost.r, self._cost.p, secrets.token_hex(16), "")

    async def digest(self, password: str) -> PasswordHash:
        """What is to be kept of a new password. Raises `TooManyLogins` when too many wait."""
        blank = msgspec.structs.replace(self._nobodys, salt=secrets.token_hex(16))
        digest = await self._in_turn(lambda: _scrypt(password, blank))
        return msgspec.structs.replace(blank, digest=digest)

    async def matches(self, password: str, kept: PasswordHash | None) -> bool:
        """Whether it is the password that is kept; None = never, after the same work. Raises `TooManyLogins`."""
        digest = await self._in_turn(lambda: _scrypt(password, kept or self._nobodys))
        return kept is not None and hmac.compare_digest(digest, kept.digest)

    def close(self) -> None:
        """Take no more work."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._asked >= self._most:
            raise TooManyLogins(BUSY_SECONDS)
        self._asked += 1
        # Shielded: work that has begun can't be stopped, and counts until it has ended though its asker is gone.
        done = asyncio.get_running_loop().run_in_executor(self._threads, work)
        done.add_done_callback(self._ended)
        return await asyncio.shield(done)

    def _ended(self, done: "asyncio.Future[T]") -> None:
        self._asked -= 1
        if not done.cancelled():
            done.exception()  # told to who waits; nobody may be left to


def _scrypt(password: str, kept: PasswordHash) -> str:
    """The digest of the password by the record's parameters and salt, in hex."""
    salt = bytes.fromhex(kept.salt)
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"), salt=salt, n=kept.n, r=kept.r, p=kept.p, maxmem=MEMORY, dklen=32
    ).hex()
