"""A cluster as the fleet knows it, and the backups in it: what listings are made of."""

from typing import Any

import msgspec


class ClusterNode(msgspec.Struct, frozen=True):
    """A ring member or a configured agent. `agent`: its agent's URL ("" = the ring member has none that answers).
    `host_id` is "" while an agent can't say (Cassandra down since the agent's start). `state` and `up` as the ring
    tells; `agent_up`: it answers now; `trouble`: the error object of whatever is wrong. `data_bytes`: used on its data
    volumes; None = not known."""

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
    data_bytes: int | None = None
    free_bytes: int | None = None
    trouble: dict[str, Any] | None = None


class BackupKeyspace(msgspec.Struct, frozen=True):
    """A keyspace of a backup: its tables, the addresses of nodes that hold a part, bytes over all nodes."""

    tables: list[str]
    nodes: list[str]
    bytes: int


class Backup(msgspec.Struct, frozen=True):
    """A backup at one place, over all nodes. `state`: success, partial, failed, running. `backup_id`: "adhoc" or a
    schedule's id. `missing`: host ids that were expected and have no manifest. `time` unix seconds."""

    tag: str
    backup_id: str
    time: float
    state: str
    keyspaces: dict[str, BackupKeyspace]
    missing: list[str] = []
