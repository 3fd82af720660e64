"""Listed backups, kept lean. In: each view as an agent told it. Out: an equal one in a tenth of the memory, while they
stay below a limit together.

A backup's record names every node with its bytes of each keyspace: of a thousand nodes that is a megabyte of objects,
and hourly backups of a month are 720. What most records have in common (the nodes, the keyspaces, the tables) is kept
once, and of each node its numbers alone.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, overload

import msgspec

from agent.wire.backups import BackupView, NodeRecord, Record
from coordinator.fleet.errors import ListingTooLarge

MOST_KEPT = 128 * 1024 * 1024
"""Bytes that one listing may take, by a rough reckoning."""
_VIEW = 4 * 1024
"""Bytes of a view, its lists apart."""
_UNPACKED = 4
"""Times as many bytes as its JSON has takes what isn't packed."""

Host = tuple[str, str, str]
"""host id, address, state"""


class LeanNodes(Sequence[NodeRecord]):
    """The nodes of a record: those of `hosts`, each with a size of each of the `keyspaces`, without an error."""

    __slots__ = ("hosts", "keyspaces", "sizes")

    def __init__(self, hosts: tuple[Host, ...], keyspaces: tuple[str, ...], sizes: "array[int]") -> None:
        self.hosts = hosts
        self.keyspaces = keyspaces
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.hosts)

    @overload
    def __getitem__(self, number: int) -> NodeRecord: ...

    @overload
    def __getitem__(self, number: slice) -> list[NodeRecord]: ...

    def __getitem__(self, number: int | slice) -> NodeRecord | list[NodeRecord]:
        if isinstance(number, slice):
            return [*self][number]
        return self._at(range(len(self.hosts))[number])

    def __iter__(self) -> Iterator[NodeRecord]:
        return map(self._at, range(len(self.hosts)))

    def __eq__(self, other: object) -> bool:
        return [*self] == [*other] if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def _at(self, number: int) -> NodeRecord:
        host_id, address, state = self.hosts[number]
        width = len(self.keyspaces)
        sizes = self.sizes[number * width : (number + 1) * width]
        return NodeRecord(host_id, address, state, dict(zip(self.keyspaces, sizes, strict=True)))


class LeanBackups:
    """Of one listing, by one agent (`url`)."""

    def __init__(self, url: str, most: int = MOST_KEPT) -> None:
        self._url = url
        self._most = most
        self._kept = 0
        self._shared: dict[Any, Any] = {}
        self._new = 0
        """what was met that nothing before it was equal to"""
        self._tables: dict[str, list[str]] = {}

    def lean(self, view: BackupView, size: int) -> BackupView:
        """An equal view; `size`: the bytes of its JSON. Raises `ListingTooLarge` when all that were asked for take too
        much."""
        before = self._new
        record = view.record and self._record(view.record)
        manifests = list(self._same(tuple(view.manifests)))
        # What nobody else has is kept as it came, and so is what can't be packed.
        is_packed = self._new == before and view.plan is None and record is not view.record
        self._kept += _VIEW + 8 * len(manifests)
        if record is not None and isinstance(record.nodes, LeanNodes):
            self._kept += 8 * len(record.nodes.sizes)
        if not is_packed:
            self._kept += _UNPACKED * size
        if self._kept > self._most:
            raise ListingTooLarge(
                f"The agent at {self._url} lists more backups than this coordinator can hold in memory",
                agent=self._url,
                bytes=self._kept,
            )
        return msgspec.structs.replace(view, record=record, manifests=manifests)

    def _record(self, record: Record) -> Record:
        """Itself where it can't be packed: sizes of other keyspaces from node to node, errors."""
        nodes = self._nodes(record.nodes)
        if nodes is None:
            return record
        if record.keyspaces != self._tables:
            self._tables = record.keyspaces
            self._new += 1
        return msgspec.structs.replace(record, keyspaces=self._tables, nodes=nodes)

    def _nodes(self, nodes: Sequence[NodeRecord]) -> LeanNodes | None:
        keyspaces = tuple(nodes[0].sizes) if nodes else ()
        if any(node.error is not None or (*node.sizes,) != keyspaces for node in nodes):
            return None
        try:
            sizes = array("q", [size for node in nodes for size in node.sizes.values()])
        except OverflowError:  # no honest agent's
            return None
        hosts = tuple((node.host_id, node.address, node.state) for node in nodes)
        return LeanNodes(self._same(hosts), self._same(keyspaces), sizes)

    def _same(self, value: Any) -> Any:
        """The equal object that was kept first."""
        if value not in self._shared:
            self._shared[value] = value
            self._new += 1
        return self._shared[value]
