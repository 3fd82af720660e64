"""Which backups of a repository are known to be damaged: in, what each node's scrub told last; out, their tags.

A node's newest scrub stands for all that is known of its part: besides what it reads itself it looks again at every
object that an earlier one noted in the destination, and at what it could not read of plans, records and later formats,
reads every manifest, and misses what isn't listed. So a clean one says that the former damage was healed or belongs to
no backup any more. What a node told stays when it leaves the ring. It goes by the repository, not by the destination:
one that is made anew elsewhere has lost nothing yet, and two destinations that lead to the same data have lost the
same.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from agent.wire.results import ScrubResult
from coordinator.store.protocol import Values


class NodeDamage(msgspec.Struct, frozen=True):
    """`backups`: the tags of those that lost something of a node's part. `more`: others may have as well."""

    backups: Sequence[str] = ()
    more: bool = False


class KnownDamage:
    """The damage of a cluster's backups in one repository. `turn`: held while it is written, the same for all that
    write it: scrubs of two destinations may end at once."""

    def __init__(self, values: Values, cluster: str, repository_id: str, turn: asyncio.Lock) -> None:
        self._values = values
        self._name = f"damage of {cluster} in {repository_id}"
        self._turn = turn

    async def by_node(self) -> dict[str, NodeDamage]:
        """Host id → what its scrub told last; nodes without damage are left out."""
        return msgspec.convert(await self._values.get(self._name) or {}, dict[str, NodeDamage])

    async def put(self, host_id: str, told: ScrubResult) -> None:
        """Keep what a node's scrub told in the place of what it told before; durable when it returns."""
        async with self._turn:
            before = await self.by_node()
            after = {host: damage for host, damage in before.items() if host != host_id}
            if told.backups or told.more_objects:
                after[host_id] = NodeDamage(told.backups, told.more_objects)
            if after != before:
                await self._values.put(self._name, msgspec.to_builtins(after))
