"""Which keyspaces, tables and nodes a request means: what was asked and what there is in, exact names out. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from agent.wire.names import CLUSTER_KEYSPACES, NODE_KEYSPACES, NOT_BACKED_UP, VIRTUAL_KEYSPACES
from agent.wire.node import KeyspaceView, RingMember, Tables
from coordinator.model.errors import InvalidArguments, UnknownKeyspace, UnknownTable
from coordinator.orchestrate.errors import KeyspaceRefused


def backup_scope(asked: Mapping[str, Sequence[str]], live: Mapping[str, KeyspaceView]) -> Tables:
    """The tables that a backup covers (design §3.11). `asked`: keyspace → tables, an empty list = all of it, empty =
    everything. Raises `KeyspaceRefused`, `UnknownKeyspace`, `UnknownTable`."""
    refuse_virtual(asked)
    chosen = asked or {keyspace: [] for keyspace in live if keyspace not in NOT_BACKED_UP}
    there = {keyspace: list(view.tables) for keyspace, view in live.items() if keyspace not in VIRTUAL_KEYSPACES}
    return _exact(chosen, there, "The cluster")


def refuse_virtual(asked: Iterable[str]) -> None:
    """Raises `KeyspaceRefused` for keyspaces that no cluster has data of."""
    virtual = sorted(keyspace for keyspace in asked if keyspace in VIRTUAL_KEYSPACES)
    if virtual:
        raise KeyspaceRefused(f"{', '.join(virtual)}: virtual, there is no data to back up", keyspaces=virtual)


def refuse_absent(asked: Mapping[str, Sequence[str]], live: Mapping[str, Sequence[str]], field: str) -> None:
    """Raises for what isn't there as `backup_scope` does. `live`: keyspace → its tables; `field`: what the keyspaces
    were named in."""
    _exact(asked, live, "The cluster", field)


def restore_scope(asked: Mapping[str, Sequence[str]], backup: Tables) -> Tables:
    """The tables that a restore brings back; empty `asked` = every non-system keyspace of the backup. A keyspace
    without tables stays in: it is made again when it is gone. Raises `KeyspaceRefused`, `UnknownKeyspace`,
    `UnknownTable`, `InvalidArguments` when nothing would be left."""
    refused = sorted(keyspace for keyspace in asked if keyspace in NODE_KEYSPACES)
    if refused:
        raise KeyspaceRefused(f"{', '.join(refused)} can't be restored on a live cluster", keyspaces=refused)
    chosen = asked or {keyspace: [] for keyspace in backup if keyspace not in NODE_KEYSPACES | CLUSTER_KEYSPACES}
    scope = _exact(chosen, backup, "The backup")
    if not scope:
        raise InvalidArguments("There is nothing to restore: the backup has system keyspaces only", field="keyspaces")
    return scope


def named_nodes(names: Iterable[str], ring: Sequence[RingMember]) -> list[str]:
    """Host ids of nodes named by address or host id. Raises `InvalidArguments` for one that isn't in the ring."""
    known = {member.host_id: member.host_id for member in ring} | {member.address: member.host_id for member in ring}
    unknown = sorted(name for name in names if name not in known)
    if unknown:
        raise InvalidArguments(f"The ring has no node {', '.join(unknown)}", field="excluded-nodes", nodes=unknown)
    return sorted({known[name] for name in names})


def union_of_tables(parts: Iterable[Tables]) -> Tables:
    """Every table that any part has."""
    union: dict[str, set[str]] = {}
    last: Tables = {}
    for part in parts:
        if part == last:
            continue  # as good as all nodes have the same thousand tables
        last = part
        for keyspace, tables in part.items():
            union.setdefault(keyspace, set()).update(tables)
    return {keyspace: sorted(tables) for keyspace, tables in union.items()}


def common_tables(one: Tables, other: Tables) -> list[str]:
    """What both mean, as `keyspace.table`; just `keyspace` where either has it without tables."""
    found = []
    for keyspace in sorted(one.keys() & other.keys()):
        if not one[keyspace] or not other[keyspace]:
            found.append(keyspace)
        found += [f"{keyspace}.{table}" for table in sorted({*one[keyspace]} & {*other[keyspace]})]
    return found


def union_of_keyspaces(views: Iterable[Mapping[str, KeyspaceView]]) -> dict[str, KeyspaceView]:
    """What any of the nodes' reports knows: a node whose report is old lacks what was made since."""
    union: dict[str, KeyspaceView] = {}
    for keyspaces in views:
        for name, view in keyspaces.items():
            if name not in union or len(view.tables) > len(union[name].tables):
                union[name] = view
    return union


def _exact(
    chosen: Mapping[str, Sequence[str]], there: Mapping[str, Sequence[str]], what: str, field: str = "keyspaces"
) -> Tables:
    if keyspaces := sorted(keyspace for keyspace in chosen if keyspace not in there):
        raise UnknownKeyspace(f"{what} has no keyspace {', '.join(keyspaces)}", field=field, unknown=keyspaces)
    tables = sorted(f"{ks}.{table}" for ks, tables in chosen.items() for table in tables if table not in there[ks])
    if tables:
        raise UnknownTable(f"{what} has no table {', '.join(tables)}", field=field, unknown=tables)
    return {keyspace: sorted(tables or there[keyspace]) for keyspace, tables in chosen.items()}
