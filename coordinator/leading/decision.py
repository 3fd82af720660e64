"""When to take, renew and give up the lead. In: what was seen, and when. Out: what to do. No I/O, no clock.

No two machines' clocks are compared. The holder counts from before it sent a renewal, whoever waits from after he first
saw it: so the holder's time is over first, however long either message took, as long as both clocks go about as fast
(`DRIFT`). A holder that slept finds its time over when it wakes, whatever it was about to do.
"""

import msgspec

from coordinator.model.leading import Lease

DRIFT = 0.01
"""By how much one clock may go faster than another, as a part: who waits, waits that much longer."""


class Terms(msgspec.Struct, frozen=True):
    """Seconds. `length`: how long the lead lasts without a renewal. `margin`: how long before its end the holder stops
    acting, so that what it sent has come to its end. `renew`: between renewals. `look`: between looks at the lease of
    another. `patience`: how long one question may take."""

    length: float
    margin: float
    renew: float
    look: float
    patience: float


def terms_of(seconds: float) -> Terms:
    """The terms of a lease of so many seconds: two renewals may fail before the lead is lost."""
    return Terms(
        length=seconds, margin=seconds / 5, renew=seconds / 3, look=min(2.0, seconds / 10), patience=seconds / 6
    )


class Waiting(msgspec.Struct, frozen=True):
    """Another one leads, or nobody: what of the lease was seen last, and since when (monotonic seconds; the moment when
    the answer had come)."""

    seen: Lease | None = None
    since: float = 0.0


class Leading(msgspec.Struct, frozen=True):
    """The lead is ours: the lease as we kept it last, and when we began to send it (monotonic seconds)."""

    lease: Lease
    sent: float


def noticed(waiting: Waiting, lease: Lease | None, now: float) -> Waiting:
    """After a look whose answer came `now`: any change begins the wait anew."""
    return waiting if lease == waiting.seen else Waiting(lease, now)


def may_take(waiting: Waiting, me: str, now: float) -> bool:
    """Whether the lease that was just seen may be taken: there is none, it was given back, nothing was heard of its
    holder for its whole length, or it is our own, of which we didn't hear that we have it, or which we gave up."""
    seen = waiting.seen
    return seen is None or seen.holder in ("", me) or now - waiting.since >= seen.seconds * (1 + DRIFT)


def taken(seen: Lease | None, holder: str, terms: Terms, url: str, *, certificate: bool) -> Lease:
    """The lease as whoever takes it keeps it."""
    return Lease(holder, (seen.fence if seen else 0) + 1, 0, terms.length, url, certificate)


def renewed(lease: Lease) -> Lease:
    """The lease with its next beat."""
    return msgspec.structs.replace(lease, beat=lease.beat + 1)


def given_back(lease: Lease) -> Lease:
    """The lease for whoever comes first. The fence stays: the next one is higher."""
    return msgspec.structs.replace(lease, holder="", beat=lease.beat + 1, url="")


def acts_until(leading: Leading, terms: Terms) -> float:
    """The moment (monotonic seconds) from which the holder must do nothing any more."""
    return leading.sent + leading.lease.seconds - terms.margin


def renew_at(leading: Leading, terms: Terms) -> float:
    """The moment of the next renewal."""
    return leading.sent + terms.renew
