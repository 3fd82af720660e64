"""What the rest of the agent asks of its node: control (snapshots and imports in Cassandra) and the agent's snapshots.

In: names that were checked. Out: facts of the node, or an error of `agent.cassandra.errors`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from agent.cassandra.errors import CassandraError
from agent.model.snapshot import SnapshotInfo, SnapshotTable
from agent.plan.snapshot_ttl import UNMEASURED
from agent.wire.commands import SnapshotArguments
from agent.wire.node import DataDirectory, Tables


class MemberState(msgspec.Struct, frozen=True):
    """Whether a member is up, and its state: NORMAL, JOINING, LEAVING, MOVING."""

    up: bool
    state: str


class NodeOrders(Protocol):
    """Orders to a Cassandra process, by nodetool or Jolokia. Every call has a deadline."""

    async def snapshot(self, tag: str, tables: Tables, ttl_seconds: int | None) -> None:
        """Flush and hard-link the fully named `tables` as snapshot `tag`. `ttl_seconds` (at least 60, Cassandra 4.1+):
        Cassandra clears it by itself after that time. Raises `SnapshotExists` if the tag is there for a table."""

    async def clear_snapshot(self, tag: str) -> None:
        """Clear snapshot `tag` in every keyspace; one that is not there is fine."""

    async def import_sstables(self, keyspace: str, table: str, directories: Sequence[Path]) -> str:
        """Move the SSTables in `directories` into the table, without checking tokens, and invalidate its caches.

        Returns what was said. The caller looks whether Data files were left. Raises `ImportFailed` for named
        directories that Cassandra refused, else the error of the call.
        """

    async def members(self) -> dict[str, MemberState]:
        """Every ring member by its (broadcast) address, as this node's failure detector and ring see it."""


class NodeControl(NodeOrders, Protocol):
    """Orders to the Cassandra process of this node: none that changes anything is given to another one.

    Imports, and clears of what was not taken through this control, raise `ControlOfAnotherNode` instead; snapshots too
    where asking costs no JVM.
    """

    async def prove(self) -> None:
        """That orders reach the node that answers by CQL, asked once in a life of Cassandra (then with nodetool a JVM
        starts). Raises `ControlOfAnotherNode`, and the error of the call."""

    async def cause(self, error: CassandraError) -> CassandraError:
        """Why an order's outcome is not found on the node: `ControlOfAnotherNode` if that is so, else `error`."""


class Held(msgspec.Struct, frozen=True):
    """What goes when a snapshot goes: `bytes` that nothing else holds, `data_bytes` of them without those that it wrote
    for itself; and how many files it has. What can't be read counts nothing."""

    bytes: int = 0
    data_bytes: int = 0
    files: int = 0


class OwnSnapshot(msgspec.Struct, frozen=True):
    """A snapshot that this agent took or was taking. Not `complete`: the agent stopped before it was. `kept`: it is (to
    be) an on-server backup. `made_by`: see SnapshotArguments."""

    tag: str
    command_id: str
    began_at: float
    complete: bool
    made_by: str = ""
    kept: bool = False


def unheard(tables: Tables) -> None:
    """For callers of `Snapshots.take` that need not hear which tables are taken."""


class Snapshots(Protocol):
    """The snapshots that this agent takes, and what is in them. Its own tags are noted durably under
    `<state>/on-server/<tag>/` (owner.json before Cassandra is asked, snapshot.json when the snapshot is complete)."""

    async def take(
        self,
        arguments: SnapshotArguments,
        command_id: str,
        *,
        copy_rate: float = UNMEASURED,
        chosen: Callable[[Tables], None] = unheard,
    ) -> SnapshotInfo:
        """Take the snapshot, or return it if this command completed it before; one that this command left half done is
        cleared and taken again. `copy_rate`: bytes per second at which it is going to be copied, for its time-to-live.
        `chosen` is told the tables before Cassandra is; again, if a change of the schema makes it begin anew.

        Raises `SnapshotExists`, `KeyspaceNotFound`, `TableNotFound`, `KeyspaceRefused`, `NotEnoughSpace`,
        `SchemaChanged`, `SnapshotMissing` (no snapshot directory came of it), `CassandraUnavailable`, …
        """

    async def inventory(self, tag: str, tables: Mapping[str, Sequence[str]] | None = None) -> tuple[SnapshotTable, ...]:
        """Every file of the snapshot, by table (of `tables`, or of the whole snapshot), over all data directories;
        sorted by keyspace, table, name. Raises `SnapshotMissing` for a named table without a directory, and of the
        whole snapshot also for a Data file that Cassandra's own manifest.json names and that is not there;
        `SnapshotUnreadable` and `NoDataDirectories` where a disk doesn't let that be seen."""

    async def info(self, tag: str) -> SnapshotInfo | None:
        """The completed snapshot `tag` of this agent with its whole schema (megabytes in a large cluster), None if it
        has none of that name."""

    async def own(self, tag: str) -> OwnSnapshot | None:
        """The agent's own snapshot of that name, complete or not."""

    async def exists(self, tag: str) -> bool:
        """Whether any snapshot directory of that tag is on the data directories, whoever made it."""

    async def clear(self, tag: str) -> None:
        """Clear the agent's own snapshot `tag` and forget it; nothing to clear is fine. Other files under
        `on-server/<tag>/` are the caller's. Raises `SnapshotExists` if the snapshot is somebody else's. On disks that
        can't be read Cassandra clears it too, but then it is not forgotten: `SnapshotUnreadable`, `NoDataDirectories`.
        """

    async def ours(self) -> tuple[OwnSnapshot, ...]:
        """Every snapshot this agent took and has not cleared, oldest first."""

    async def volumes_below(self, free_percent: float) -> tuple[DataDirectory, ...]:
        """Data directories on volumes with less than `free_percent` of their bytes free; those that can't be read are
        left out."""

    async def held_alone(self, tag: str) -> Held:
        """What goes when the snapshot `tag` goes."""
