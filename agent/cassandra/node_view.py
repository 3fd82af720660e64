"""What the node says of itself and its ring, over CQL. In: questions. Out: the wire's types."""

from collections.abc import Mapping

import msgspec

from agent.cassandra.cql import Cql, Row
from agent.cassandra.protocol import MemberState
from agent.wire.node import KeyspaceView, NodeIdentity, RingMember
from kit.together import together

_LOCAL = (
    "SELECT cluster_name, host_id, broadcast_address, data_center, rack, tokens, release_version, partitioner, "
    "schema_version, bootstrapped FROM system.local"
)
_PEERS = "SELECT peer, host_id, data_center, rack, tokens, release_version, schema_version FROM system.peers_v2"
_LIFE = "SELECT host_id, gossip_generation FROM system.local"
_LOCAL_SCHEMA = "SELECT broadcast_address, schema_version FROM system.local"
_PEERS_SCHEMA = "SELECT peer, host_id, schema_version FROM system.peers_v2"


class NodeLife(msgspec.Struct, frozen=True):
    """A node from a start of Cassandra to its end: `generation` is a greater one after each start."""

    host_id: str
    generation: int


class NodeView:
    """Identity, ring, keyspaces and settings of the local node. An address is the broadcast address: gossip's, peers'
    and nodetool's name of a node."""

    def __init__(self, cql: Cql) -> None:
        self._cql = cql

    async def identity(self) -> NodeIdentity:
        """Who the node is. Raises `CassandraUnavailable`, `CassandraDenied`."""
        (row,) = await self._cql.rows(_LOCAL)
        return NodeIdentity(
            host_id=str(row["host_id"]),
            address=str(row["broadcast_address"]),
            cluster_name=row["cluster_name"],
            dc=row["data_center"],
            rack=row["rack"],
            tokens=_tokens(row),
            version=row["release_version"],
            partitioner=row["partitioner"],
            schema_version=str(row["schema_version"]),
        )

    async def life(self) -> NodeLife:
        """Which node this is, and which of its lives. Raises as `identity`."""
        (row,) = await self._cql.rows(_LIFE)
        return NodeLife(str(row["host_id"]), row["gossip_generation"])

    async def ring(self, states: Mapping[str, MemberState] | None = None) -> list[RingMember]:
        """Every member that this node knows, itself first. With `states` (of `NodeControl.members`) also up and state,
        else `up` None and NORMAL for every member that has tokens."""
        (local,), peers = await together(self._cql.rows(_LOCAL), self._cql.rows(_PEERS))
        return [
            _member(local, str(local["broadcast_address"]), states),
            *(
                _member(row, str(row["peer"]), states)
                for row in sorted(peers, key=lambda row: str(row["peer"]))
                if row["host_id"] is not None  # a row half written, or left over from a node that went
            ),
        ]

    async def keyspaces(self) -> dict[str, KeyspaceView]:
        """Every keyspace but the virtual ones, with its tables and views."""
        keyspaces, tables, views = await together(
            self._cql.rows("SELECT keyspace_name, replication, durable_writes FROM system_schema.keyspaces"),
            self._cql.rows("SELECT keyspace_name, table_name, id FROM system_schema.tables"),
            self._cql.rows("SELECT keyspace_name, view_name, base_table_name FROM system_schema.views"),
        )
        tables_of: dict[str, dict[str, str]] = {}
        views_of: dict[str, dict[str, str]] = {}
        for row in tables:
            tables_of.setdefault(row["keyspace_name"], {})[row["table_name"]] = str(row["id"])
        for row in views:
            views_of.setdefault(row["keyspace_name"], {})[row["view_name"]] = row["base_table_name"]
        return {
            row["keyspace_name"]: KeyspaceView(
                replication=dict(row["replication"]),
                durable_writes=row["durable_writes"],
                tables=tables_of.get(row["keyspace_name"], {}),
                views=views_of.get(row["keyspace_name"], {}),
            )
            for row in keyspaces
        }

    async def schema_versions(self) -> dict[str, str]:
        """Address → schema version, of the node and every peer it knows. Asked several times a second, so without what
        else the ring tells: tokens make thousands of texts a look."""
        (local,), peers = await together(self._cql.rows(_LOCAL_SCHEMA), self._cql.rows(_PEERS_SCHEMA))
        return {
            str(address): str(version) if version is not None else ""
            for address, version in [
                (local["broadcast_address"], local["schema_version"]),
                *((row["peer"], row["schema_version"]) for row in peers if row["host_id"] is not None),
            ]
        }

    async def setting(self, *names: str) -> str | None:
        """The value of the first of these settings that the node has (a setting's name may differ by version)."""
        for name in names:
            literal = name.replace("'", "''")
            rows = await self._cql.rows(f"SELECT value FROM system_views.settings WHERE name = '{literal}'")  # noqa: S608 quoted
            if rows:
                value = rows[0]["value"]
                return None if value is None else str(value)
        return None

    async def views_enabled(self) -> bool:
        """Whether CREATE MATERIALIZED VIEW is allowed here (off by default; `enable_…` was its name before 4.1)."""
        return (await self.setting("materialized_views_enabled", "enable_materialized_views")) == "true"

    async def auto_snapshot(self) -> bool:
        """Whether Cassandra keeps a snapshot of what is truncated or dropped here (on by default)."""
        return (await self.setting("auto_snapshot")) != "false"

    async def truncated_at(self) -> dict[str, int]:
        """Table id → when the table was last truncated, milliseconds since 1970 by this node's clock."""
        (row,) = await self._cql.rows("SELECT truncated_at FROM system.local")
        return {str(table): _truncated_at(record) for table, record in (row["truncated_at"] or {}).items()}


def _truncated_at(record: bytes) -> int:
    """A record is a position in the commit log, and then the time [X: SystemKeyspace.truncationAsMapEntry]."""
    return int.from_bytes(record[-8:], "big", signed=True)


def _member(row: Row, address: str, states: Mapping[str, MemberState] | None) -> RingMember:
    known = (states or {}).get(address)
    return RingMember(
        host_id=str(row["host_id"]),
        address=address,
        dc=row["data_center"] or "",
        rack=row["rack"] or "",
        state=known.state if known is not None else "NORMAL" if row["tokens"] else "JOINING",
        up=known.up if known is not None else None,
        tokens=_tokens(row),
        version=row["release_version"] or "",
        schema_version=str(row["schema_version"]) if row["schema_version"] is not None else None,
    )


def _tokens(row: Row) -> list[str]:
    """In the ring's order where tokens are numbers, else as texts."""
    tokens = [str(token) for token in row["tokens"] or ()]
    try:
        return sorted(tokens, key=int)
    except ValueError:
        return sorted(tokens)
