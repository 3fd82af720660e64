"""What a toy node holds of points in time, in memory: its commit log, and what is under way on it."""

from typing import Any

import msgspec

from agent.cassandra.service_errors import KeptDown
from agent.wire.archiving import LogGap
from tests.cluster.toy_repository import Rows

TableRows = dict[tuple[str, str], set[str]]


class Written(msgspec.Struct, frozen=True):
    """A row in the commit log, and its time in microseconds since 1970."""

    micros: int
    keyspace: str
    table: str
    row: str


class ToyPoint(msgspec.Struct):
    """What a node knows of points, and what is under way on it, by job. `found`: fields of its check that a test sets;
    `covered`: what its log reaches with its own one added, None = as far as one likes; `replay_errors`: what its next
    checks of the replay tell."""

    written: list[Written] = []
    native: bool = True
    found: dict[str, Any] = {}
    covered: float | None = None
    newest_writes: dict[str, int] = {}
    """tag → the newest write that the snapshot holds"""
    gaps: list[LogGap] = []
    replay_errors: list[str] = []
    taken_until: float | None = None
    hints: dict[str, int] = {}
    held: dict[str, Rows] = {}
    aside: dict[str, TableRows] = {}
    began: set[str] = set()
    ids_at_pit: dict[tuple[str, str], str] = {}
    """keyspace and table → its id at the point, where that isn't the live one"""
    starts: int = 0
    """how often it was started by a restore"""
    needs_peer: bool = False
    """it isn't a seed: it starts only while another node is up"""
    blocks: set[str] = set()
    """jobs that let nobody else stop or start it"""
    shut: int = 0
    """how often, once its settings are back, the order to let clients in fails"""
    kept_down_by: str = ""
    """another restore, for whose sake an undo doesn't start it"""

    def refuse_kept_down(self, but: str = "") -> None:
        """Raises `KeptDown`, as agents do, while Cassandra is another restore's."""
        if jobs := sorted(self.blocks - {but}):
            raise KeptDown(f"the restore {', '.join(jobs)} lets nobody else stop or start Cassandra", jobs=jobs)
