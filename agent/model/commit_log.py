"""What a destination keeps of a node's commit log: segments, what is known to be missing, and the schema's history.

Times are unix seconds by the node's clock. A segment's name is its file name, `CommitLog-<version>-<id>.log`.
"""

import msgspec

from agent.model.manifest import Piece
from agent.model.snapshot import KeyspaceSchema


class SegmentRecord(msgspec.Struct, frozen=True):
    """A copy of a segment: `size` plain bytes with this BLAKE3 `digest` (as FileEntry's), in `pieces` of the objects
    `objects` (id → stored size) with `codecs` (id → number of those that are not raw).

    `whole`: Cassandra had closed it. Else it was copied while it was written, and holds what Cassandra had synced at
    `closed_at`; a later copy of the same name counts instead, a whole one always. `opened_at`: no write in it was
    received earlier. `closed_at`: no write in it was received later, and what the node received until then is in it
    or in an earlier one. `previous`: the segment before it; `follows`: it is known that none is missing between."""

    name: str
    size: int
    digest: str
    piece_size: int
    pieces: tuple[Piece, ...]
    objects: dict[str, int]
    codecs: dict[str, int]
    whole: bool
    opened_at: float
    closed_at: float
    previous: str
    follows: bool
    copied_at: float


class LossRecord(msgspec.Struct, frozen=True):
    """Segments that can't come any more: see agent.wire.archiving.LogGap."""

    after: str
    before: str
    since: float
    until: float
    reason: str


class SchemaRecord(msgspec.Struct, frozen=True):
    """A schema of the cluster as this node saw it: in force from some moment after `unseen_since` (the last look that
    showed another version, or None: nobody looked before) and not later than `first_seen`. `ring`: host id → tokens of
    all members at that look."""

    version: str
    unseen_since: float | None
    first_seen: float
    keyspaces: tuple[KeyspaceSchema, ...]
    ring: dict[str, tuple[str, ...]]
