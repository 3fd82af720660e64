"""Whose archived commit log lags. In: the nodes at a look, what was known before, the time. Out: what is known now.

Pure. What it gives is kept before anything is told by it, so that another life tells the same and not twice.
"""

from collections.abc import Mapping, Sequence

import msgspec

from coordinator.model.archiving import NodeArchiving

OFF = "off"


class NodeLag(msgspec.Struct, frozen=True):
    """A node that lags, or lagged last. Times in unix seconds. `unsafe`: when it was seen first that nothing of it is
    safe, None while something is. `since`: when it was told of as lagging; `caught_up`: when it was no more. Until the
    next lag both stay. `safe_until`: up to when its log was safe at `since`, `safe_again` at `caught_up`. `why`: what
    is known of the reason."""

    address: str
    unsafe: float | None = None
    since: float | None = None
    caught_up: float | None = None
    safe_until: float | None = None
    safe_again: float | None = None
    why: str = ""


def judged(
    former: Mapping[str, NodeLag], nodes: Sequence[NodeArchiving], now: float, limit: float
) -> dict[str, NodeLag]:
    """Host id → how it stands; `limit`: seconds for which what a node received may be unsafe. A node of which nobody
    says anything stays as it was; one that doesn't archive any more is forgotten."""
    known = dict(former)
    for node in nodes:
        if not node.host_id or (not node.safe and node.state != OFF):
            continue
        if node.state == OFF and not node.without:
            known.pop(node.host_id, None)
            continue
        if node.safe:
            known[node.host_id] = _one(known.get(node.host_id), node, now, limit)
    return {host: lag for host, lag in known.items() if lag != NodeLag(lag.address)}


def _one(former: NodeLag | None, node: NodeArchiving, now: float, limit: float) -> NodeLag:
    lag = msgspec.structs.replace(former or NodeLag(node.address), address=node.address)
    times = [time for time in node.safe.values() if time is not None]
    nothing = len(times) < len(node.safe)
    # A time of the future is of a clock that was wrong: the lag is counted from the look that saw it first.
    unsafe = (lag.unsafe if lag.unsafe is not None and lag.unsafe <= now else now) if nothing else None
    lag = msgspec.structs.replace(lag, unsafe=unsafe)
    oldest = unsafe if unsafe is not None else min(times)
    lagging = lag.since is not None and lag.caught_up is None
    if now - oldest > limit:
        if lagging:
            return lag
        errors = [str(error.get("message", "")) for error in node.errors if error.get("message")]
        safe_until = None if nothing else oldest
        return NodeLag(node.address, unsafe, since=now, safe_until=safe_until, why=node.without or "; ".join(errors))
    if lagging and not nothing:
        return msgspec.structs.replace(lag, caught_up=now, safe_again=oldest)
    return lag
