"""Archiving of a cluster's commit log: what was ordered, and how each node stands."""

import msgspec

from agent.wire.archiving import ArchivingView, LogGap
from coordinator.model.orders import ArchivingOrder


class ArchivingSetting(msgspec.Struct, frozen=True):
    """What is in force: the newest order that any node took, and the request that brought it. `places`: every
    destination that it, or an order before it, sent segments to, and OPSC_ON_SERVER once they were kept on the nodes:
    where segments may lie."""

    order: ArchivingOrder
    request: str
    places: list[str] = []


class NodeLook(msgspec.Struct, frozen=True):
    """What the agent of a node says of its archiving; `view` None: nothing, and `unseen` says why. `host_id` "" while
    no agent knows it. `normal`: the ring holds the node for a NORMAL member."""

    address: str
    host_id: str
    view: ArchivingView | None = None
    unseen: str = ""
    normal: bool = False


class NodeArchiving(msgspec.Struct, frozen=True):
    """A node for people. `state`: as its agent tells, or unseen. `without`: why it does not archive as it should, as a
    clause; "" when it does, or when its Cassandra is down. `safe`: destination (or OPSC_ON_SERVER) → unix seconds up
    to which every write that it had received is there, counted without a gap from `since` on; None: nothing is.
    `tellable`: it is a NORMAL member of the ring and its agent answers, so that an order reaches it."""

    address: str
    host_id: str
    state: str
    without: str = ""
    safe: dict[str, float | None] = {}
    since: dict[str, float | None] = {}
    waiting_bytes: int = 0
    unarchived_bytes: int = 0
    gaps: list[LogGap] = []
    errors: list[dict[str, object]] = []
    tail_refused: str = ""
    tellable: bool = False


class ArchivingStatus(msgspec.Struct, frozen=True):
    """Of a cluster. `order`: in force, or about to be (`request` runs); None: nothing was ever ordered here, and what
    the agents say is all that is known."""

    enabled: bool
    order: ArchivingOrder | None
    nodes: list[NodeArchiving]
    request: str = ""
