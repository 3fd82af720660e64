"""What backups there are at a place: each agent's views in, one picture per tag out. Pure.

A shared store is seen whole by one agent; of per-node directories and on-server snapshots every agent sees its own
part, and the backup is their union.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

import msgspec

from agent.wire.backups import RUNNING, BackupView, Plan, Record
from coordinator.model.cluster import Backup, BackupKeyspace, NamedNode

UNFINISHED = "unfinished"
"""The state of a backup whose record says that it runs, while no request of this coordinator writes it: the one that
did was lost, or another coordinator is at it. Some manifest is missing; which, `missing` says."""
DELETING = "deleting"
"""The state of a backup that a running request of this coordinator deletes: what of it is missing is no damage."""

PLACE_GONE = frozenset({"bucket_missing", "not_a_repository", "repository_file_lost", "repository_gone"})
"""Codes of an agent that finds no repository where its node's own directory was: removed, emptied or not mounted."""


class Joined(msgspec.Struct, frozen=True):
    """A backup over all agents that were asked. `manifests`: host ids whose manifest is there. `missing`: host ids
    that were expected and whose manifest isn't there, or isn't known to be (`unseen`: their agent gave no answer, and
    may come back). `unread`: host id → error of an agent that could not tell what of the backup its node has. `told`:
    host ids of the agents that could; None of a shared place, where one tells of all. `stored`: when the
    newest record was put, by the latest of the stores' clocks. `whole`: host ids of the manifests that are known to
    name all that their node had, looked for only where no record says how the backup ended."""

    tag: str
    deleted: bool
    record: Record | None
    plan: Plan | None
    manifests: list[str]
    missing: list[str]
    unseen: list[str]
    unread: dict[str, dict[str, Any]] = {}
    told: list[str] | None = None
    stored: float | None = None
    whole: list[str] = []

    @property
    def complete(self) -> bool:
        """Whether every expected host has its manifest."""
        return not self.missing and bool(self.manifests)


def join(views: Mapping[str, Iterable[BackupView]], *, shared: bool, ring: Set[str] = frozenset()) -> dict[str, Joined]:
    """`views`: host id of the agent → what it answered; `ring`: host ids of the ring's members, empty when no agent
    sees its Cassandra. Tag → the joined backup, deleted ones included."""
    return dict(each_joined(views, shared=shared, ring=ring))


def each_joined(
    views: Mapping[str, Iterable[BackupView]], *, shared: bool, ring: Set[str] = frozenset()
) -> Iterator[tuple[str, Joined]]:
    """The same, one by one: of a thousand nodes each is a millisecond's work."""
    by_tag: dict[str, dict[str, BackupView]] = {}
    for host_id, answers in views.items():
        for view in answers:
            by_tag.setdefault(view.tag, {})[host_id] = view
    for tag, seen in by_tag.items():
        yield tag, _join(tag, seen, set(views), shared, ring)


def backup_of(joined: Joined, *, running: bool, deleting: bool = False) -> Backup:
    """The backup as listings show it. `running`: a request of this coordinator is still writing it; `deleting`: one
    is deleting it."""
    record, plan = joined.record, joined.plan
    ended = record is not None and record.state != RUNNING
    tables = record.keyspaces if record is not None else plan.keyspaces if plan is not None else {}
    sizes: dict[str, int] = dict.fromkeys(tables, 0)
    holders: dict[str, list[str]] = {keyspace: [] for keyspace in tables}
    if record is not None and ended:
        # A part that was lost since isn't held any more, whatever the record says.
        good = [node for node in record.nodes if node.state == "success" and node.host_id not in joined.missing]
        for keyspace in tables:
            sizes[keyspace] = sum(node.sizes.get(keyspace, 0) for node in good)
            # Of an empty keyspace no node tells a size: it is in every manifest.
            with_data = [node.address for node in good if keyspace in node.sizes]
            holders[keyspace] = with_data or [node.address for node in good]
    else:
        # What is under way, or was left so: only the manifests tell which nodes have their part.
        addresses = addresses_in(joined)
        for keyspace in tables:
            holders[keyspace] = [addresses[host_id] for host_id in joined.manifests if host_id in addresses]
    return Backup(
        tag=joined.tag,
        backup_id=record.backup_id if record is not None else plan.backup_id if plan is not None else "adhoc",
        time=record.time if record is not None else plan.time if plan is not None else 0.0,
        state=DELETING if deleting else _state(joined, running),
        keyspaces={
            keyspace: BackupKeyspace(sorted(tables[keyspace]), sorted(holders[keyspace]), sizes[keyspace])
            for keyspace in tables
        },
        missing=named(joined, _missed(joined, running, deleting)),
        stored=joined.stored,
    )


def _missed(joined: Joined, running: bool, deleting: bool) -> list[str]:
    """Host ids of nodes whose part is to be called missing: of what runs only those that take no part in it."""
    if deleting:
        return []
    return sorted(_left_out(joined) & {*joined.missing}) if running else joined.missing


def hosts_without_place(unread: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Host ids of the nodes whose directory is gone. `unread`: host id → error of an agent that could not list. What
    an agent that is silent, or has the wrong keys, can't tell may be whole."""
    return {host_id for host_id, error in unread.items() if error.get("code") in PLACE_GONE}


def without_parts(joined: Joined, gone: Set[str]) -> Joined:
    """The backup without what the nodes `gone` had of it: their part is missing, whatever a record says that others
    have; of a node that had none nothing changes."""
    gone = gone & addresses_in(joined).keys()
    if not gone:
        return joined
    return msgspec.structs.replace(
        joined,
        manifests=[host_id for host_id in joined.manifests if host_id not in gone],
        missing=sorted({*joined.missing, *gone}),
        unseen=[host_id for host_id in joined.unseen if host_id not in gone],
    )


def addresses_in(joined: Joined) -> dict[str, str]:
    """Host id → address, of all that plan and record name."""
    addresses = {node.host_id: node.address for node in joined.plan.nodes} if joined.plan is not None else {}
    if joined.record is not None:
        addresses |= {node.host_id: node.address for node in joined.record.nodes}
    return addresses


def named(joined: Joined, host_ids: Iterable[str]) -> list[NamedNode]:
    """The nodes with the addresses that plan and record know them by."""
    addresses = addresses_in(joined)
    return [NamedNode(addresses.get(host_id, ""), host_id) for host_id in host_ids]


def _state(joined: Joined, running: bool) -> str:
    if running:
        return "running"
    record = joined.record
    if record is not None and record.state != RUNNING:
        really_missing = set(joined.missing) - set(joined.unseen)
        return "partial" if record.state == "success" and really_missing else record.state
    # The coordinator died before the final record: plan and manifests tell.
    left_out = _left_out(joined)
    if joined.manifests and not set(joined.missing) - left_out:
        is_known = joined.plan is not None or record is not None  # which nodes it should have
        is_whole = is_known and not left_out and set(joined.manifests) <= set(joined.whole)
        return "success" if is_whole else "partial"
    if record is not None:
        return UNFINISHED
    return "partial" if joined.manifests else "failed"


def is_through(joined: Joined) -> bool:
    """Whether by the plan every node that took part has its manifest there: what still writes the backup writes it
    elsewhere."""
    return joined.plan is not None and bool(joined.manifests) and not set(joined.missing) - _left_out(joined)


def may_hold(joined: Joined, host_id: str) -> bool:
    """Whether a node may have a part in the backup, by a listing, short or long: a record names every node, also one
    whose manifest an earlier copy put."""
    record = joined.record
    return record is None or host_id in joined.manifests or any(node.host_id == host_id for node in record.nodes)


def _left_out(joined: Joined) -> set[str]:
    """Nodes that took no part, and whose part isn't there."""
    left_out = set(joined.plan.missing_nodes) if joined.plan is not None else set()
    if joined.record is not None:
        left_out |= {node.host_id for node in joined.record.nodes if node.state == "missing"}
    return left_out - set(joined.manifests)


def _gone(seen: Mapping[str, BackupView], expected: Set[str], asked: Set[str], ring: Set[str]) -> Set[str]:
    """Hosts that left the ring for good: no agent of theirs will answer. The part of such a one may still lie in the
    directory of a rebuilt node, whose agent then lists a backup that its new host id has no part in."""
    if not ring or any(host not in expected and view.complete is not False for host, view in seen.items()):
        return frozenset()
    return expected - asked - ring


def _join(tag: str, seen: Mapping[str, BackupView], asked: Set[str], shared: bool, ring: Set[str]) -> Joined:
    records = [view.record for view in seen.values() if view.record is not None]
    # Later records replace earlier ones; an agent that was away may still hold an earlier one.
    record = max(records, key=lambda each: (each.finished or 0.0, each.state != RUNNING), default=None)
    plan = next((view.plan for view in seen.values() if view.plan is not None), None)
    manifests = {host for view in seen.values() for host in view.manifests}
    expected = {node.host_id for node in plan.nodes} if plan is not None else set()
    if record is not None:
        expected |= {node.host_id for node in record.nodes}
    gone = _gone(seen, expected, asked, ring)
    if record is not None and not any(view.manifests for view in seen.values()):
        # A short listing names no manifests: the record does, but only what some agent still has counts. An agent that
        # lists a backup of which it has no manifest says so (`complete`).
        done = {node.host_id for node in record.nodes if node.state == "success"}
        there = {host for host, view in seen.items() if view.complete is not False}
        manifests = done if shared else {host for host in done if host in there or host not in asked | gone}
    unseen = set() if shared else expected - asked - manifests - gone
    if plan is None and record is None:
        expected = set(manifests)
    return Joined(
        tag=tag,
        deleted=any(view.deleted for view in seen.values()),
        record=record,
        plan=plan,
        manifests=sorted(manifests),
        missing=sorted(expected - manifests),
        unseen=sorted(unseen),
        whole=sorted({host for view in seen.values() for host in view.whole or ()}),
        stored=max((view.stored for view in seen.values() if view.stored is not None), default=None),
    )
