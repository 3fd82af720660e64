"""What a sweep may remove: in, which manifests, marks and objects there are; out, what nobody needs. Pure.

Needed is everything that a manifest of an undeleted backup of this node names. A tag's last traces (plan, records, and
the mark, in this order) go with its last manifest.
"""

from collections.abc import Mapping

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
