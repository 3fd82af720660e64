"""What an agent says of itself and of its Cassandra node (GET /v1/node)."""

from typing import Annotated, Literal

import msgspec

PROTOCOL = 1
"""The protocol version this code speaks; an agent answers the range that it understands."""

EVENTS_INTERVAL = "events_interval"
"""The feature of agents that take `interval` at GET /v1/events."""
NODE_KNOWN = "node_known"
"""The feature of agents that take `known` at GET /v1/node."""

MOST_BYTES = 2**53 - 1
"""Bytes of a volume or of a node's data that a report can tell; the coordinator adds up those of a thousand nodes."""

Bytes = Annotated[int, msgspec.Meta(ge=0, le=MOST_BYTES)]
UnixSeconds = Annotated[float, msgspec.Meta(ge=0, le=1e11)]

Tables = dict[str, list[str]]
"""Keyspace → tables, as real (case-sensitive, unquoted) names. An empty list of a request means all its tables."""


class RingMember(msgspec.Struct, frozen=True):
    """A node as this one sees it. `state`: NORMAL, JOINING, LEAVING, MOVING, DOWN… ; `up` by gossip's failure detector
    (None: not known)."""

    host_id: str
    address: str
    dc: str
    rack: str
    state: str
    up: bool | None
    tokens: list[str]
    version: str
    schema_version: str | None


class DataDirectory(msgspec.Struct, frozen=True):
    """A data directory with the bytes of its volume. `volume` names the device: two directories may share it."""

    path: str
    volume: str
    total_bytes: Bytes
    free_bytes: Bytes


class KeyspaceView(msgspec.Struct, frozen=True):
    """A keyspace: its replication as in system_schema, its tables (with ids) and its views."""

    replication: dict[str, str]
    durable_writes: bool
    tables: dict[str, str]
    """table → table id (uuid text)"""
    views: dict[str, str]
    """view → its base table"""


class NodeIdentity(msgspec.Struct, frozen=True):
    """Who a node is. `address` is the one that peers and clients name it by (rpc/broadcast address)."""

    host_id: str
    address: str
    cluster_name: str
    dc: str
    rack: str
    tokens: list[str]
    version: str
    partitioner: str
    schema_version: str


class NodeReport(msgspec.Struct, frozen=True):
    """GET /v1/node. `agent_id` stays for the life of the agent's state directory; `instance` is new at every start of
    the process. `node` is None while Cassandra doesn't answer (then `trouble` says why). `trouble` beside a `node`:
    what its commands will fail of: nodetool can't be started (`nodetool_missing`), or orders would go to another
    node (`control_of_another_node`, up to a minute old)."""

    agent_id: str
    instance: str
    agent_version: str
    protocol_min: int
    protocol_max: int
    features: list[str]
    now: UnixSeconds
    node: NodeIdentity | None
    trouble: dict[str, object] | None
    data_directories: list[DataDirectory]
    keyspaces: dict[str, KeyspaceView]
    ring: list[RingMember]
    throttle_bytes_per_second: Bytes
    events: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    """the newest sequence of the agent's event log"""
    load_bytes: Bytes | None = None
    """bytes of the node's live SSTables on disk, snapshots apart; up to a minute old. None: not known (yet)"""
    stray_snapshots: tuple[str, ...] = ()
    """tags of snapshots on the node that are named as backups and of which the agent knows nothing (its state was lost,
    or another program's are named so); up to a minute old"""
    truncated_at: dict[str, int] | None = None
    """table id → when it was last truncated, milliseconds since 1970 by the node's clock; told only when asked for"""
    last_known: NodeIdentity | None = None
    """who the node was when Cassandra answered last, told while it doesn't (`node` None)"""
    shape: str = ""
    """stands for `ring` and `keyspaces` as this agent sees them; "" of an agent that doesn't tell"""
    as_known: bool = False
    """`ring` and `keyspaces` are left out: they are those of the shape that was asked with"""


class HealthView(msgspec.Struct, frozen=True):
    """GET /health, open to all: `status` ok, stopping, or unwell (then `code` is that of the error that makes
    it so)."""

    status: Literal["ok", "stopping", "unwell"]
    code: str | None = None
