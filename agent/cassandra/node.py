"""The Cassandra node put together. In: settings and the agent's state directory. Out: all that the jobs need of it."""

import asyncio
from pathlib import Path

import msgspec

from agent.cassandra.control_proof import Door, ProvenControl
from agent.cassandra.cql import Cql
from agent.cassandra.directories import as_wire, volumes
from agent.cassandra.errors import ControlOfAnotherNode
from agent.cassandra.inventory import live_bytes
from agent.cassandra.jolokia import Jolokia
from agent.cassandra.jvm_options import JvmOptions
from agent.cassandra.known_node import KnownNode
from agent.cassandra.node_directories import NodeDirectories
from agent.cassandra.node_view import NodeView
from agent.cassandra.nodetool import Nodetool, not_startable
from agent.cassandra.proof_notes import ProofNotes
from agent.cassandra.protocol import NodeControl
from agent.cassandra.schema_agreement import SchemaAgreement
from agent.cassandra.service import CassandraService
from agent.cassandra.service_orders import ServiceOrders
from agent.cassandra.settings import CassandraSettings, JolokiaSettings, NodetoolSettings
from agent.cassandra.snapshots import NodeSnapshots
from agent.cassandra.strays import Strays
from agent.crypto.digest import digest
from agent.wire.node import DataDirectory, RingMember
from kit.errors import HelenusError
from kit.lately import Lately

_PROOF, _KNOWN = "control-proof.json", "node.json"


class CassandraNode:
    """The node's parts. Nothing is connected or started until the first question."""

    def __init__(self, settings: CassandraSettings, state: Path) -> None:
        nodetool = Nodetool(settings.nodetool)
        imports_by = by = Door(
            "cassandra.nodetool",
            f"{settings.nodetool.host}:{settings.nodetool.port}",
            nodetool.host_id,
            dear=True,
            opened_with=_opened_with(settings.nodetool),
        )
        self._jolokia: Jolokia | None = None
        if settings.jolokia is not None:
            self._jolokia = Jolokia(settings.jolokia, nodetool)
            by = Door(
                "cassandra.jolokia",
                settings.jolokia.url,
                self._jolokia.host_id,
                dear=False,
                opened_with=_opened_with(settings.jolokia),
            )
        self.settings = settings
        self.cql = Cql(settings.cql)
        self.view = NodeView(self.cql)
        proven = ProvenControl(
            self._jolokia or nodetool, self.view.life, by=by, imports_by=imports_by, notes=ProofNotes(state / _PROOF)
        )
        self.control: NodeControl = proven
        self.astray: Lately[ControlOfAnotherNode | None] = Lately(proven.astray, None, patience=0.0)
        """Why its orders go to another node, None if they don't or it isn't known (yet). Nobody waits for the JVM that
        nodetool starts for it once in a life of Cassandra; it is mostly known before a backup asks for it."""
        self.agreement = SchemaAgreement(self.view, self.control)
        self.directories = NodeDirectories(settings, self.view)
        self.known = KnownNode(self.view, self.directories, state / _KNOWN)
        self.orders = ServiceOrders(settings.nodetool, self.known.host_id)
        self.service = CassandraService(settings, self.orders)
        self.jvm = JvmOptions(Path(settings.service.jvm_options_file) if settings.service.jvm_options_file else None)
        self.held_bytes: Lately[int | None] = Lately(self._live_bytes, None)
        """The bytes of the live SSTables, snapshots apart; None while they could not be counted yet. Counted from the
        files: `nodetool info` starts a JVM for each look, and `system_views.disk_usage` rounds every table up to whole
        MiB [X: TableMetricTables]."""
        self.snapshots = NodeSnapshots(
            settings, self.control, self.cql, self.view, self.agreement, self.directories, state
        )
        self.strays: Lately[list[str]] = Lately(Strays(self.directories.every, self.snapshots.ours).look, [])

    async def data_directories(self) -> list[DataDirectory]:
        """The data directories as GET /v1/node shows them."""
        directories = await self.directories.fresh()
        return list(as_wire(await asyncio.to_thread(volumes, directories)))  # a hung disk must not hold up the loop

    def unready(self) -> HelenusError | None:
        """What keeps a node that answers from being ordered about: nodetool, which imports need beside Jolokia too."""
        return not_startable(self.settings.nodetool)

    async def ring(self) -> list[RingMember]:
        """The ring as GET /v1/node shows it: with up and down where Jolokia tells it cheaply, else without."""
        return await self.view.ring(await self.control.members() if self._jolokia is not None else None)

    async def _live_bytes(self) -> int:
        return await asyncio.to_thread(live_bytes, await self.directories.every())

    async def close(self) -> None:
        """Close its connections."""
        await self.held_bytes.close()
        await self.astray.close()
        await self.strays.close()
        await self.cql.close()
        if self._jolokia is not None:
            await self._jolokia.close()


def _opened_with(door: NodetoolSettings | JolokiaSettings) -> str:
    """A digest of a door's settings, which name files of secrets but hold none."""
    return digest(msgspec.json.encode(door, order="deterministic")).hex()
