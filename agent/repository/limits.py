"""The agent's limits of bytes per second. In: destination ids. Out: one token bucket for the node, one for each."""

from agent.storage.throttle import TokenBucket


class Limits:
    """`node` is shared by all destinations; a rate of 0 is no limit."""

    def __init__(self, node_bytes_per_second: float = 0) -> None:
        self.node = TokenBucket(node_bytes_per_second)
        self._buckets: dict[str, TokenBucket] = {}

    def of(self, destination_id: str) -> TokenBucket:
        """The destination's own bucket, without a limit until one is set."""
        return self._buckets.setdefault(destination_id, TokenBucket(0))

    def forget(self, destination_id: str) -> None:
        """Whoever still uses the bucket goes on with it; a new destination of that id gets a new one."""
        self._buckets.pop(destination_id, None)
