"""How fast this agent's copies go: in, copies that have ended and the limits now; out, bytes per second to expect."""

from collections.abc import Callable

from agent.plan.snapshot_ttl import copy_rate

LEAST_BYTES = 64 * 1024 * 1024
"""A copy that put less tells of its beginning and end, not of its speed."""


def no_limit() -> float:
    """For a node without a limit."""
    return 0.0


class CopyRate:
    """For the life of the agent. `node_limit`: the node's own limit now, bytes per second, 0 = none."""

    def __init__(self, node_limit: Callable[[], float] = no_limit) -> None:
        self._node_limit = node_limit
        self._measured = 0.0

    def note(self, size: int, seconds: float) -> None:
        """A copy put so many bytes in so many seconds."""
        if size >= LEAST_BYTES and seconds > 0:
            self._measured = size / seconds

    def expected(self, *limits: float) -> float:
        """Bytes per second of the next copy, under these limits of its own (0 = none) beside the node's."""
        return copy_rate(self._measured, (self._node_limit(), *limits))
