"""A backup as it is planned, recorded and listed."""

import msgspec

from agent.wire.node import Tables

RUNNING = "running"
"""The state of a record that is put with the plan; the final one replaces it."""
SUCCESS = "success"
"""The state of a record of a backup of which every node has its part."""


class PlannedNode(msgspec.Struct, frozen=True):
    """A node that the backup expects a manifest of."""

    host_id: str
    address: str
    dc: str
    rack: str
    tokens: list[str]


class Plan(msgspec.Struct, frozen=True):
    """plan.json, put first: who takes part and what is backed up. `time` unix seconds. `missing_nodes`: ring members
    without an agent, accepted by the caller as missing. `made_by`: see SnapshotArguments; two backups of one tag never
    have equal plans by it."""

    tag: str
    backup_id: str
    time: float
    cluster_name: str
    cluster_id: str
    nodes: list[PlannedNode]
    keyspaces: Tables
    replication: dict[str, dict[str, str]]
    schema_version: str
    missing_nodes: list[str] = []
    made_by: str = ""


class NodeRecord(msgspec.Struct, frozen=True):
    """One node's part in a listing record: its state (success, failed, missing; running in a record that is
    put with the plan) and bytes per keyspace."""

    host_id: str
    address: str
    state: str
    sizes: dict[str, int]
    error: dict[str, object] | None = None


class Record(msgspec.Struct, frozen=True):
    """catalogue/<tag>/<n>.json: what a listing shows. `state`: success, partial, failed, running."""

    tag: str
    backup_id: str
    time: float
    state: str
    keyspaces: Tables
    nodes: list[NodeRecord]
    finished: float | None = None


class BackupView(msgspec.Struct, frozen=True):
    """An entry of GET /v1/backups, and GET /v1/backups/{tag} (then with `plan` and `manifests`).

    `manifests`: host ids whose manifest is in this destination; `complete`: every expected host has one (as far as this
    agent sees: of a per-node local destination a coordinator joins the nodes' answers); False in the list where the
    node, or its own directory, has no manifest of the backup at all, None where that isn't looked for. `record` may be
    missing after a crash: then the plan and the manifests tell. `stored`: when that record was put, unix seconds by the
    store's clock; None on the nodes, and without a record. `whole`: host ids of those manifests that name all that
    their node had, told of one backup while no record says how it ended; None elsewhere.
    """

    tag: str
    deleted: bool
    record: Record | None
    plan: Plan | None = None
    manifests: list[str] = []
    complete: bool | None = None
    stored: float | None = None
    whole: list[str] | None = None
