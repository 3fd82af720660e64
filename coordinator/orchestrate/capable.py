"""Whether the agents can do what an order takes. In: an order, and what each agent last told. Out: nothing, or the
refusal that names nodes and reason before anything is begun.

Agents of two minor versions live side by side while a cluster is updated (docs/protocol.md, «Versions»): one that
doesn't know a kind of command refuses it when it comes, which may be in the middle.
"""

from agent.wire.commands import Kind
from coordinator.fleet.registry import Registry
from coordinator.model.orders import (
    ArchivingOrder,
    BackupOrder,
    DeleteOrder,
    Order,
    PointInTimeOrder,
    RestoreOrder,
    ScrubOrder,
    SyncOrder,
    TrimLogsOrder,
)
from coordinator.orchestrate.errors import AgentsTooOld

_RESTORE = (Kind.PREFLIGHT, Kind.FETCH, Kind.TRUNCATE, Kind.SCHEMA, Kind.IMPORT, Kind.CHECK, Kind.CLEAN)
_VIEWS = (Kind.DROP_VIEWS, Kind.CREATE_VIEWS)
_POINT = tuple(kind for kind in Kind if kind.value.startswith("pit_"))


def kinds_of(order: Order) -> tuple[Kind, ...]:
    """What every node's agent may be told to do for the order."""
    match order:
        case BackupOrder():
            copies = (Kind.UPLOAD,) if order.copies else ()
            scripts = (Kind.SCRIPT,) if order.pre_script or order.post_script else ()
            return (Kind.SNAPSHOT, *copies, *scripts)
        case SyncOrder():
            return (Kind.SYNC,)
        case DeleteOrder():
            return (Kind.DELETE,) if order.destination is None else (Kind.DELETE, Kind.SWEEP)
        case ScrubOrder():
            return (Kind.SCRUB,)
        case RestoreOrder():
            return (*_RESTORE, *_VIEWS)
        case PointInTimeOrder():
            return (Kind.PIT_CHECK,) if order.check else _POINT
        case ArchivingOrder():
            return (Kind.ARCHIVE, Kind.RESTART) if order.enabled else (Kind.ARCHIVE,)
        case TrimLogsOrder():
            return (Kind.TRIM_LOGS,)
        case _:
            return ()


def refuse_too_old(registry: Registry, cluster: str, order: Order) -> None:
    """Raise `AgentsTooOld` where an agent that takes part can't do all of it, as far as agents were heard. Nodes that a
    restore leaves out don't count."""
    wanted = kinds_of(order)
    left_out = set(order.excluded_nodes) if isinstance(order, RestoreOrder) else set[str]()
    older: dict[str, str] = {}
    lacking: set[Kind] = set()
    for agent in registry.agents(cluster) if wanted else ():
        if agent.report is None or {agent.address, agent.host_id} & left_out:
            continue
        lacks = [kind for kind in wanted if kind not in agent.report.features]
        if lacks:
            older[agent.address] = agent.report.agent_version
            lacking.update(lacks)
    if older:
        nodes = ", ".join(f"{address} ({version})" for address, version in older.items())
        kinds = sorted(lacking)
        raise AgentsTooOld(f"The agents of these nodes can't do {', '.join(kinds)}: {nodes}", nodes=older, kinds=kinds)
