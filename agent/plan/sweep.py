"""What a sweep may remove: in, which manifests, marks and objects there are; out, what nobody needs. Pure.

Needed is everything that a manifest of an undeleted backup of this node names. A tag's last traces (plan, records, and
the mark, in this order) go with its last manifest.
"""

from collections.abc import Mapping, Sequence

import msgspec

from agent.plan.objects import ObjectIndex


class SweepView(msgspec.Struct, frozen=True):
    """What the catalogue and the backups of a cluster look like. `hosts`: tag → host ids with a manifest of it."""

    deleted: frozenset[str]
    hosts: Mapping[str, frozenset[str]]

    def kept(self, host_id: str) -> list[str]:
        """Tags whose manifest of this node must be read: what it names is needed."""
        return sorted(tag for tag, hosts in self.hosts.items() if host_id in hosts and tag not in self.deleted)

    def doomed(self, host_id: str) -> list[str]:
        """Tags whose manifest of this node goes."""
        return sorted(tag for tag in self.deleted if host_id in self.hosts.get(tag, frozenset()))

    def traces(self) -> list[str]:
        """Deleted tags of which no node has a manifest any more."""
        return sorted(tag for tag in self.deleted if not self.hosts.get(tag))


def unneeded(listed: ObjectIndex, needed: ObjectIndex) -> ObjectIndex:
    """The objects of the listing that no manifest needs."""
    found = ObjectIndex()
    for digest, codec, size in listed.missing_from(needed):
        found.add(digest, size, codec)
    return found


class Owners:
    """Which of some backups alone names an object: what the deletion of just that one would free, if nobody else needs
    it. 24 bytes an object, as the index. `tags`: at most 2^56 of them."""

    def __init__(self, tags: Sequence[str]) -> None:
        self.tags = list(tags)
        self._numbers = {tag: number for number, tag in enumerate(self.tags, 1)}
        self._owner = ObjectIndex()

    def add(self, tag: str, name: bytes, codec: int = 0) -> None:
        """The backup `tag` names the object; any number of times."""
        number = self._numbers[tag]
        known = self._owner.get(name, codec)
        if known is None:
            self._owner.add(name, number, codec)
        elif known not in (number, _SEVERAL):
            self._owner.add(name, _SEVERAL, codec)

    def shares(self, going: ObjectIndex) -> dict[str, tuple[int, int]]:
        """Tag → bytes and objects of `going` that only that backup names."""
        found = [[0, 0] for _ in range(len(self.tags) + 1)]
        for digest, codec, size in going.missing_from(ObjectIndex()):
            number = self._owner.get(digest, codec) or _SEVERAL
            found[number][0] += size
            found[number][1] += 1
        return {tag: (found[number][0], found[number][1]) for tag, number in self._numbers.items()}


_SEVERAL = 0
"""The owner of what several of the backups name."""
