"""A cluster as the fleet knows it, and the backups in it: what listings are made of."""

from typing import Any

import msgspec


class ClusterNode(msgspec.Struct, frozen=True):
    """A ring member or a configured agent. `agent`: its agent's URL ("" = the ring member has none that answers).
    `host_id` is "" while an agent can't say (Cassandra down since the agent's start). `state` as the ring tells; `up`:
    what most of the other nodes that were heard hold it for (in doubt down), True when none was heard and its own agent
    sees it answer, else None and `up_unknown` says why; `agent_up`: the agent answers now; `trouble`: the error object
    of whatever is wrong. `free_bytes`: on its data volumes; `held_bytes`: of its live SSTables; None = not known."""

    address: str
    host_id: str
    agent: str
    agent_up: bool
    dc: str = ""
    rack: str = ""
    version: str = ""
    agent_version: str = ""
    state: str = ""
    up: bool | None = None
    tokens: list[str] = []
    free_bytes: int | None = None
    trouble: dict[str, Any] | None = None
    up_unknown: str = ""
    held_bytes: int | None = None
    strays: list[str] = []
    """tags of snapshots on the node that are named as backups and of which its agent knows nothing"""


class BackupKeyspace(msgspec.Struct, frozen=True):
    """A keyspace of a backup: its tables, the addresses of nodes that hold a part, bytes over all nodes."""

    tables: list[str]
    nodes: list[str]
    bytes: int


class NamedNode(msgspec.Struct, frozen=True):
    """A node that something is told of. `address` is "" when only the host id is known."""

    address: str
    host_id: str


class Backup(msgspec.Struct, frozen=True):
    """A backup at one place, over all nodes. `state`: success, partial, failed, running, deleting (a request does),
    or unfinished (its record says that it runs, but no request of this coordinator writes it, and a manifest is
    missing). `backup_id`: "adhoc" or a schedule's id. `missing`: nodes that were expected and have no manifest; of what
    runs those that take no part. `damaged`: nodes whose newest scrub found something of their part damaged or missing
    there. `time` unix seconds. `stored`: when its newest record was put, by the store's clock; None = not known."""

    tag: str
    backup_id: str
    time: float
    state: str
    keyspaces: dict[str, BackupKeyspace]
    missing: list[NamedNode] = []
    damaged: list[NamedNode] = []
    stored: float | None = None
