"""The backups of a place as people see them. In: what the agents list, the running requests, what scrubs found. Out:
each backup with what it holds and how it stands.

Of a thousand nodes to sum one up takes two milliseconds: what has not changed since it was listed last is taken from
there.
"""

from collections import Counter
from collections.abc import Awaitable, Callable

import msgspec

from agent.wire.backups import RUNNING
from agent.wire.destinations import ON_SERVER
from coordinator.model.cluster import Backup
from coordinator.model.destinations import Destination
from coordinator.model.requests import NodePart, RequestKind, RequestState
from coordinator.model.table_counts import Layouts
from coordinator.orchestrate.damage import KnownDamage
from coordinator.orchestrate.listing import Joined, backup_of, hosts_without_place, is_through, named, without_parts
from coordinator.orchestrate.places import Places
from coordinator.orchestrate.run import Surroundings
from kit.slices import Slices

Progress = Callable[[str], Awaitable[list[NodePart]]]
"""Gives the nodes' parts of a running request."""
MOST_KEPT = 500_000
"""Addresses of nodes in all backups that are kept, each as often as a keyspace has it: some fifty megabytes."""


class Listings:
    """Asks the agents anew each time."""

    def __init__(self, around: Surroundings, progress: Progress, most: int = MOST_KEPT) -> None:
        self._around = around
        self._progress = progress
        self._most = most
        self._known: dict[tuple[str, str, str], tuple[Joined, bool, bool, Backup]] = {}
        self._kept = 0

    async def backups(self, cluster: str, destination: str | None) -> list[Backup]:
        """Every undeleted backup there."""
        places = Places(self._around, cluster, at_a_glance=True)
        place = await places.optional(destination)
        place_id = destination or ON_SERVER
        running, deleting, nowhere_else = dict[str | None, str](), set[str | None](), set[str | None]()
        for request in await self._around.store.requests.find(cluster=cluster, state=RequestState.RUNNING):
            if request.kind in (RequestKind.BACKUP, RequestKind.SYNC) and place_id in request.destinations:
                running[request.tag] = request.id
                if len(request.destinations) == 1:
                    nowhere_else.add(request.tag)
            elif request.kind is RequestKind.DELETE and place_id in request.destinations:
                deleting.add(request.tag)
        damage = await self._damage(place)
        backups, slices = [], Slices()
        listed, unread = await places.backups_seen(place)
        gone = hosts_without_place(unread)
        for tag, joined in listed.items():
            if joined.deleted:
                continue
            if joined.record is None or joined.record.state == RUNNING:
                # How it ended was never put, or it hasn't ended: plan and manifests tell.
                joined = await places.backup(place, tag) or joined
            joined = without_parts(joined, gone)
            # A snapshot may be taken anew. What is through here counts while it is copied elsewhere; what is copied to
            # no other place ends in a moment, and only then its sizes are known.
            runs = tag in running and (place is None or tag in nowhere_else or not is_through(joined))
            backup = self._backup((cluster, place_id, tag), joined, running=runs, deleting=tag in deleting)
            if tag in running and not runs and (joined.record is None or joined.record.state == RUNNING):
                backup = await self._sized(backup, joined, running[tag], place_id)
            if tag in damage:
                backup = msgspec.structs.replace(backup, damaged=named(joined, damage[tag]))
            backups.append(backup)
            await slices.pause()
        self._forget_others(cluster, place_id, {backup.tag for backup in backups})
        return backups

    async def _sized(self, backup: Backup, joined: Joined, request: str, place_id: str) -> Backup:
        """The backup with the bytes that its nodes count here, of those that have their part: they are noted only when
        it has ended at all of its places. Their totals, for news of what is done may come later than the manifest."""
        sizes, slices, layouts = Counter[str](), Slices(), Layouts()
        for part in await self._progress(request):
            if part.host_id in joined.manifests and place_id in part.progress:
                sizes.update(layouts.pack(part.progress[place_id]).total_bytes())
            await slices.pause()
        parts = {name: msgspec.structs.replace(each, bytes=sizes[name]) for name, each in backup.keyspaces.items()}
        return msgspec.structs.replace(backup, keyspaces=parts)

    async def _damage(self, place: Destination | None) -> dict[str, list[str]]:
        """Tag → host ids of the nodes whose newest scrub there found damage in their part."""
        damage: dict[str, list[str]] = {}
        if place is not None:
            known = KnownDamage(self._around.store, place, self._around.leaving.turn(place.cluster))
            for host_id, found in sorted((await known.by_node()).items()):
                for tag in found.backups:
                    damage.setdefault(tag, []).append(host_id)
        return damage

    def _forget_others(self, cluster: str, place_id: str, tags: set[str]) -> None:
        gone = [key for key in self._known if key[:2] == (cluster, place_id) and key[2] not in tags]
        for key in gone:
            self._take_out(key)

    def _take_out(self, key: tuple[str, str, str]) -> tuple[Joined, bool, bool, Backup] | None:
        known = self._known.pop(key, None)
        self._kept -= 0 if known is None else _size(known[3])
        return known

    def _backup(self, key: tuple[str, str, str], joined: Joined, *, running: bool, deleting: bool) -> Backup:
        """As `backup_of`."""
        known = self._take_out(key)
        if known is None or known[:3] != (joined, running, deleting):
            known = joined, running, deleting, backup_of(joined, running=running, deleting=deleting)
        if joined.plan is not None:  # it is under way, or was left so: a plan has megabytes
            return known[3]
        self._known[key] = known
        self._kept += _size(known[3])
        while self._kept > self._most:
            self._take_out(next(iter(self._known)))
        return known[3]


def _size(backup: Backup) -> int:
    return 1 + sum(len(part.nodes) for part in backup.keyspaces.values())
