"""Who takes part in a restore to a point in time, and what every phase is told. Pure."""

import msgspec

from agent.wire.commands import RestoreArguments, Target
from agent.wire.node import Tables
from agent.wire.point_in_time import PitArguments
from coordinator.model.orders import PointInTimeOrder


class PitNode(msgspec.Struct, frozen=True):
    """A node: while its Cassandra is down only this says which agent is its own. `agent`: that one's URL."""

    host_id: str
    address: str
    agent: str


class PitScope(msgspec.Struct, frozen=True):
    """`nodes`: the whole ring. `source`: where the snapshot is, `logs`: where the segments are (None = on the nodes).
    `started`: addresses of nodes that were down and were started first."""

    nodes: list[PitNode]
    source: Target | None
    logs: Target | None
    started: list[str] = []

    @property
    def hosts(self) -> list[str]:
        """Host ids of all nodes."""
        return [node.host_id for node in self.nodes]

    def arguments(
        self, order: PointInTimeOrder, tag: str, pit_micros: int, tables: Tables, others: list[str] | None = None
    ) -> PitArguments:
        """What a phase is told on any node. `others`: for a check, backups whose windows are wanted too."""
        return PitArguments(
            tag=tag,
            pit_micros=pit_micros,
            tables=tables,
            source=self.source,
            logs=self.logs,
            force=order.force,
            throttle_bytes_per_second=order.throttle_bytes_per_second,
            others=others or [],
        )

    def view_arguments(self, host_id: str, tag: str, tables: Tables, statements: list[str]) -> RestoreArguments:
        """What the node that makes views is told."""
        return RestoreArguments(
            tag=tag, source_host_id=host_id, tables=tables, source=self.source, statements=statements
        )


def asked_tables(order: PointInTimeOrder) -> Tables:
    """What the check is asked for: {} = all."""
    return {keyspace: list(tables) for keyspace, tables in (order.keyspaces or {}).items()}
