"""Which backups of a destination are known to be damaged: in, what each node's scrub told last; out, their tags, and
whose scrub told anything.

A node's newest scrub of a destination stands for all that is known of its part there: besides what it reads itself it
looks again at every object that an earlier one noted in the destination and at those of later formats, reads every
manifest, plan and newest record, and misses what isn't listed. So a clean one says that the former
damage was healed or belongs to no backup any more. What a node told stays when it leaves the ring.

It is kept by repository: a destination that is put anew there knows what the former one had lost, and one whose
repository is made anew has lost nothing yet. Two destinations with one repository are copies, with bytes of their own:
what is doubtful in one is so in all, and only a scrub of that one, or its end, clears it.
"""

import asyncio
from collections.abc import Mapping, Sequence, Set

import msgspec

from agent.wire.results import ScrubResult
from coordinator.model.destinations import Destination
from coordinator.store.protocol import Store


class NodeDamage(msgspec.Struct, frozen=True):
    """`backups`: the tags of those that lost something of a node's part. `more`: others may have as well."""

    backups: Sequence[str] = ()
    more: bool = False


class KnownDamage:
    """The damage of a cluster's backups in the repository of a destination. `turn`: held while it is written, the same
    for all that write it: scrubs of two destinations may end at once."""

    def __init__(self, store: Store, destination: Destination, turn: asyncio.Lock) -> None:
        self._store = store
        self._destination = destination
        self._name = f"damage of {destination.cluster} in {destination.repository_id}"
        self._turn = turn

    async def by_node(self) -> dict[str, NodeDamage]:
        """Host id → what its scrubs told last, of all destinations with the repository; nodes without damage are left
        out."""
        found: dict[str, NodeDamage] = {}
        for nodes in (await self._places()).values():
            for host, damage in nodes.items():
                if not damage.backups and not damage.more:
                    continue
                other = found.get(host, NodeDamage())
                tags = sorted({*other.backups, *damage.backups})
                found[host] = NodeDamage(tags, other.more or damage.more)
        return found

    async def looked(self) -> Set[str]:
        """The hosts whose scrub of this destination told something, be it that all is whole: of the others nothing is
        known."""
        return (await self._places()).get(self._destination.id, {}).keys()

    async def put(self, host_id: str, told: ScrubResult) -> None:
        """Keep what a node's scrub of the destination told in the place of what it told of it before; durable when it
        returns. What it told of destinations that are no more goes too: this one is all that can be looked at."""
        async with self._turn:
            before = await self._places()
            others = {one.id for one in await self._store.destinations.all(self._destination.cluster)}
            others.discard(self._destination.id)
            after = {
                place: {host: damage for host, damage in nodes.items() if host != host_id or place in others}
                for place, nodes in before.items()
            }
            after.setdefault(self._destination.id, {})[host_id] = NodeDamage(told.backups, told.more_objects)
            after = {place: nodes for place, nodes in after.items() if nodes}
            if after != before:
                await self._store.values.put(self._name, msgspec.to_builtins(after))

    async def _places(self) -> Mapping[str, Mapping[str, NodeDamage]]:
        """Destination → host id → damage."""
        return msgspec.convert(await self._store.values.get(self._name) or {}, dict[str, dict[str, NodeDamage]])
