"""Who drives a cluster, where several coordinators could. In: a cluster, a name. Out: a lease with a fence, or None.

No clock is compared with another machine's. A holder counts by its own, from before it asked, and stops a fifth early;
who wants the lease waits until it has seen it unchanged for its whole length by its own. So clocks may go one tenth too
quickly or too slowly, and stand at any time of day. A holder that was stopped amid a deed can't know how late it is:
what it then does bears its fence, which is lower than the next holder's.
"""

import math
from typing import Protocol

import msgspec

from coordinator.store.protocol import Commands

HELD_SHARE = 0.8
"""Of a lease's length: so long its holder acts."""


class Lease(msgspec.Struct, frozen=True):
    """A turn at a cluster. `fence`: higher than of every lease before it. `until`: by the clock of who holds it."""

    cluster: str
    owner: str
    fence: int
    until: float

    def is_held(self, now: float) -> bool:
        """Whether its holder may act at `now`, by the clock that it was taken with."""
        return now < self.until


class KeptLease(msgspec.Struct, frozen=True):
    """A lease as it is kept. `owner` "": it was given back. `seconds`: its length."""

    owner: str
    fence: int
    seconds: float


class Leases(Protocol):
    """One lease for each cluster. Each call raises `StoreFailed` when the state can't be reached: then nothing was
    taken or renewed that anybody acts by."""

    async def take(self, cluster: str, owner: str, seconds: float) -> Lease | None:
        """The lease, for so many seconds, None while another may hold it: ask again, a few times within its length.
        `owner`: a name that no other process ever bears. Who holds it already gets a new one."""
        ...

    async def renew(self, lease: Lease, seconds: float) -> Lease | None:
        """The same lease with its fence, for so many seconds from now; None: it was lost."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give it back; its holder has stopped acting."""
        ...


def may_take(kept: KeptLease | None, owner: str, unchanged: float) -> bool:
    """Whether a lease can be taken that was seen unchanged for so many seconds."""
    return kept is None or kept.owner in ("", owner) or unchanged >= kept.seconds


class AloneLeases:
    """`Leases` where the state directory's lock lets one coordinator in: each is granted, for good."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    async def take(self, cluster: str, owner: str, seconds: float) -> Lease | None:
        """See `Leases`."""
        return Lease(cluster, owner, await self._commands.next_fence(f"lease/{cluster}"), math.inf)

    async def renew(self, lease: Lease, seconds: float) -> Lease | None:
        """See `Leases`."""
        return lease

    async def release(self, lease: Lease) -> None:
        """See `Leases`."""
