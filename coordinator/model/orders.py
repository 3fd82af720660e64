"""What a person ordered, as frozen data: the API makes an order, the orchestrator carries it out, the store keeps it.

Throttles are bytes per second, 0 = none. Keyspaces and tables are real (case-sensitive, unquoted) names.
"""

from typing import Literal

import msgspec

from agent.wire.destinations import ON_SERVER, Settings


class Copy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A destination that a backup or a sync copies to, with that copy's own limit."""

    destination: str
    throttle_bytes_per_second: int = 0


class BackupOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Take a backup `tag` (claimed in the store by the API). `keyspaces`: None = all that a backup means by «all»
    (design §3.11), an empty list of tables = all of that keyspace. `keep`: the snapshots stay on the nodes as an
    on-server backup, beside the `copies`. `partial`: ring members without an agent that answers are left out and named
    instead of being an error. `time` unix seconds, as the tag says them. `pre_script`, `post_script`: which scripts of
    the agents' directories run on each node, before its snapshot and after it ("" = none)."""

    tag: str
    time: int
    backup_id: str = "adhoc"
    keyspaces: dict[str, list[str]] | None = None
    keep: bool = True
    copies: list[Copy] = []
    throttle_bytes_per_second: int = 0
    partial: bool = False
    pre_script: str = ""
    post_script: str = ""


class SyncOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Copy the backup `tag` to destinations (at least one), from another one (`source` None: that on the nodes)."""

    tag: str
    copies: list[Copy]
    throttle_bytes_per_second: int = 0
    partial: bool = False
    source: str | None = None


class DeleteOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Delete backup `tag` from a destination (None = the on-server backup), free its space, and forget the
    destination's settings afterwards if asked. `because`: the clause of retention that lets it go, "" = a person asked.
    `sweep`: False leaves the space in a destination to a later delete there, one sweep for all of them.
    `dry_run`: only tell what that would free."""

    tag: str
    destination: str | None = None
    remove_destination: bool = False
    because: str = ""
    sweep: bool = True
    dry_run: bool = False


class ScrubOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Let every node read again what it stored in a destination: the share that is due, or with `whole` all of it."""

    destination: str
    whole: bool = False


class RestoreTables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of a keyspace to restore: no tables = all of it in the backup; `truncate` empties them first."""

    tables: list[str] = []
    truncate: bool = False


class RestoreOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Restore from a destination (None = from the on-server backup). `keyspaces` None = every non-system keyspace of
    the backup, then `truncate` holds for all of them. `excluded_nodes`: addresses or host ids."""

    tag: str
    destination: str | None = None
    keyspaces: dict[str, RestoreTables] | None = None
    truncate: bool = False
    throttle_bytes_per_second: int = 0
    excluded_nodes: list[str] = []
    force: bool = False
    force_schema: bool = False


class PointInTimeOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bring tables to what they held at a point in time, or with `check` only tell whether that can be done.
    `pit_micros`: the point, microseconds since 1970. `destination`: where the snapshot is, `pit_destination`: where the
    commit log is (None = on the nodes). `keyspaces`: keyspace → tables, an empty list = all that it had at the point;
    None = every non-system keyspace of the snapshot. `restart_pause`: seconds between the starts of two nodes."""

    pit_micros: int
    keyspaces: dict[str, list[str]] | None = None
    destination: str | None = None
    pit_destination: str | None = None
    restart_pause: float = 0.0
    throttle_bytes_per_second: int = 0
    force: bool = False
    check: bool = False


class LogCopy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A destination that segments of the commit log are shipped to. `compressed`: with zstd, where that pays."""

    destination: str
    compressed: bool = False
    throttle_bytes_per_second: int = 0


class ArchivingOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Archive the commit log on every node, or (not `enabled`) on none, by a rolling restart of the nodes that need
    one. `keep`: segments stay on the nodes too. `directory`: where Cassandra's archive command puts them ("" = as it
    is in force, else the agents' setting). `sleep`: seconds between two restarts; `drain`: drain a node before it is
    restarted. `tail_seconds`: how often the segment that is being written is copied, 0 = never. `enroll`: nodes that
    join later, or lose the setting, are told and restarted without being asked. `partial`: go on without the nodes
    that don't answer, and restart others beside a node that is down."""

    enabled: bool
    copies: list[LogCopy] = []
    keep: bool = False
    directory: str = ""
    sleep: float = 0.0
    drain: bool = False
    tail_seconds: float = 0.0
    enroll: bool = False
    partial: bool = False


class TrimLogsOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Free the segments that no kept backup needs, in the destinations and (OPSC_ON_SERVER) on the nodes."""

    places: list[str]


class DestinationOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Add (`id` is new), update or delete a destination. `settings` are whole (an update was merged with what is
    stored), None only for delete. `one_shot`: its settings are forgotten after the first backup or sync to it."""

    action: Literal["add", "update", "delete"]
    id: str
    settings: Settings | None = None
    one_shot: bool = False


Order = (
    BackupOrder
    | SyncOrder
    | DeleteOrder
    | ScrubOrder
    | RestoreOrder
    | PointInTimeOrder
    | ArchivingOrder
    | TrimLogsOrder
    | DestinationOrder
)


def places_of(order: Order) -> list[str]:
    """Ids of the places that an order reads or writes."""
    match order:
        case BackupOrder():
            return [*([ON_SERVER] if order.keep else []), *(copy.destination for copy in order.copies)]
        case SyncOrder():
            return [order.source or ON_SERVER, *(copy.destination for copy in order.copies)]
        case DeleteOrder() | RestoreOrder():
            return [order.destination or ON_SERVER]
        case PointInTimeOrder():
            return list(dict.fromkeys([order.destination or ON_SERVER, order.pit_destination or ON_SERVER]))
        case ScrubOrder():
            return [order.destination]
        case ArchivingOrder():
            return [*(copy.destination for copy in order.copies), *([ON_SERVER] if order.keep else [])]
        case TrimLogsOrder():
            return order.places
        case DestinationOrder():
            return [order.id]


def reads_of(order: Order) -> list[str]:
    """Those of them that are only read, as others may do meanwhile."""
    return [order.source or ON_SERVER] if isinstance(order, SyncOrder) else []


def is_same_delete(one: Order, other: DeleteOrder) -> bool:
    """Whether both ask for the same delete, whoever wants it."""
    return isinstance(one, DeleteOrder) and msgspec.structs.replace(one, because=other.because) == other


def is_same_restore(one: RestoreOrder, other: RestoreOrder) -> bool:
    """Whether both ask for the same restore, whatever they are forced or throttled to, and in whatever order they name
    tables and nodes."""
    return _essence(one) == _essence(other)


def is_same_point(one: PointInTimeOrder, other: PointInTimeOrder) -> bool:
    """Whether both bring the same tables to the same point, whatever they are forced, paused or throttled to."""
    return _point(one) == _point(other)


def _point(order: PointInTimeOrder) -> PointInTimeOrder:
    keyspaces = order.keyspaces
    if keyspaces is not None:
        keyspaces = {keyspace: sorted({*tables}) for keyspace, tables in keyspaces.items()}
    return msgspec.structs.replace(
        order, keyspaces=keyspaces, restart_pause=0.0, throttle_bytes_per_second=0, force=False
    )


def _essence(order: RestoreOrder) -> RestoreOrder:
    keyspaces = order.keyspaces
    if keyspaces is not None:
        keyspaces = {
            keyspace: msgspec.structs.replace(chosen, tables=sorted({*chosen.tables}))
            for keyspace, chosen in keyspaces.items()
        }
    return msgspec.structs.replace(
        order,
        keyspaces=keyspaces,
        excluded_nodes=sorted({*order.excluded_nodes}),
        throttle_bytes_per_second=0,
        force=False,
        force_schema=False,
    )
