"""Which tables a backup takes. In: what was asked for and what the node has. Out: tables by name. Pure.

A view is no table here: its SSTables are not backed up, since a restore makes views from their base tables.
"""

from collections.abc import Collection, Mapping, Sequence

from agent.cassandra.errors import KeyspaceNotFound, KeyspaceRefused, TableNotFound
from agent.wire.names import NOT_BACKED_UP, VIRTUAL_KEYSPACES, check_name
from agent.wire.node import KeyspaceView, Tables


def select_tables(
    asked: Mapping[str, Sequence[str]] | None, present: Mapping[str, KeyspaceView], excluded: Collection[str]
) -> Tables:
    """The tables of every keyspace (an empty keyspace keeps its entry).

    `asked` None = every keyspace but NOT_BACKED_UP and `excluded`; an empty list of tables = all of the keyspace.
    Raises `KeyspaceNotFound`, `TableNotFound`, `KeyspaceRefused`, `InvalidName`.
    """
    if asked is None:
        wanted: Mapping[str, Sequence[str]] = {
            name: () for name in present if name not in NOT_BACKED_UP and name not in excluded
        }
    else:
        wanted = asked
    chosen: Tables = {}
    for keyspace in sorted(wanted):
        check_name("keyspace", keyspace, "keyspaces")
        if keyspace in VIRTUAL_KEYSPACES:
            raise KeyspaceRefused(f"{keyspace} is virtual: it has no files", keyspace=keyspace)
        view = present.get(keyspace)
        if view is None:
            raise KeyspaceNotFound(f"there is no keyspace {keyspace}", keyspace=keyspace)
        for table in wanted[keyspace]:
            check_name("table", table, f"keyspaces.{keyspace}")
            if table not in view.tables:
                what = "a materialized view, which is backed up with its base" if table in view.views else "not there"
                raise TableNotFound(f"the table {keyspace}.{table} is {what}", keyspace=keyspace, table=table)
        chosen[keyspace] = sorted(set(wanted[keyspace]) or set(view.tables))
    return chosen
