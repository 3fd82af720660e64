"""GET /v1/node: in, the node and the agent; out, the report, also while Cassandra doesn't answer.
Beside a node that does, `trouble` is what its orders will fail of."""

import asyncio
import time
from collections.abc import Callable, Mapping

import msgspec
import structlog

from agent.cassandra.errors import CassandraUnavailable
from agent.cassandra.node import CassandraNode
from agent.cassandra.protocol import MemberState
from agent.wire.commands import Kind
from agent.wire.node import (
    EVENTS_INTERVAL,
    NODE_KNOWN,
    PROTOCOL,
    DataDirectory,
    KeyspaceView,
    NodeIdentity,
    NodeReport,
    RingMember,
)
from kit.errors import HelenusError, first_of
from kit.groups import TaskGroup
from kit.lately import Lately

log = structlog.get_logger(__name__)

MEMBERS_SECONDS = 10.0
"""How long a look at who is up is good: with nodetool each one starts a JVM."""
ANSWER_SECONDS = 12.0
"""How long the node may take before it counts as not answering."""


class NodeReports:
    """`throttle` gives the node's limit (bytes per second), `newest` the newest sequence of the event log. Those who
    ask at the same time share one look at the node. `clock`: unix seconds; `ticks`: seconds that only grow."""

    def __init__(
        self,
        node: CassandraNode,
        *,
        agent_id: str,
        instance: str,
        version: str,
        kinds: frozenset[Kind],
        throttle: Callable[[], int],
        newest: Callable[[], int],
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._agent_id = agent_id
        self._instance = instance
        self._version = version
        self._features = [*sorted(kind.value for kind in kinds), EVENTS_INTERVAL, NODE_KNOWN]
        self._throttle = throttle
        self._newest = newest
        self._clock = clock
        self._looking: asyncio.Task[NodeReport] | None = None
        self._members: Lately[Mapping[str, MemberState]] = Lately(
            self._seen, {}, fresh=MEMBERS_SECONDS, patience=ANSWER_SECONDS, clock=ticks
        )

    async def report(self, *, members: bool = False, truncations: bool = False) -> NodeReport:
        """The report as of now. `members`: with what the node's failure detector holds of each member of the ring, up
        to 10 s old, where it can be asked; of a member that it doesn't know nothing is said. `truncations`: with when
        tables were truncated, where the node tells."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(self._looked)
        report = await asyncio.shield(self._looking)
        if truncations and report.node is not None:
            report = msgspec.structs.replace(report, truncated_at=await self._truncated_at())
        if not members or report.node is None or all(member.up is not None for member in report.ring):
            return report
        states = await self._members.read()
        ring = [_seen_as(member, states.get(member.address)) for member in report.ring]
        return msgspec.structs.replace(report, ring=ring)

    async def _truncated_at(self) -> dict[str, int] | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._node.view.truncated_at()
        except (HelenusError, TimeoutError):
            return None

    async def _seen(self) -> Mapping[str, MemberState]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._node.control.members()
        except (HelenusError, TimeoutError):
            return {}  # not known is an answer; what is wrong with the node the report tells

    def _looked(self, task: "asyncio.Task[NodeReport]") -> None:
        self._looking = None

    async def _look(self) -> NodeReport:
        trouble: HelenusError | None = None
        identity: NodeIdentity | None = None
        directories: list[DataDirectory] = []
        keyspaces: dict[str, KeyspaceView] = {}
        ring: list[RingMember] = []
        try:
            async with asyncio.timeout(ANSWER_SECONDS), TaskGroup() as questions:
                asked_keyspaces = questions.create_task(self._node.view.keyspaces())
                asked_ring = questions.create_task(self._node.ring())
                asked_directories = questions.create_task(self._node.data_directories())
                asked_identity = questions.create_task(self._node.view.identity())
                asked_unready = questions.create_task(asyncio.to_thread(self._node.unready))
            keyspaces, ring = asked_keyspaces.result(), asked_ring.result()
            directories, identity = asked_directories.result(), asked_identity.result()
            trouble = asked_unready.result()
        except* HelenusError as failed:
            trouble = first_of(failed)
        except* TimeoutError:
            trouble = CassandraUnavailable(f"Cassandra did not answer within {ANSWER_SECONDS:.0f} s")
        last_known = None
        if identity is None:
            last = await self._node.known.last()
            last_known = None if last is None else last.identity
        else:
            await self._keep(identity)
        load_bytes = None if identity is None else await self._node.held_bytes.read()
        if trouble is None:
            trouble = await self._node.astray.read()
        strays = () if identity is None else tuple(await self._node.strays.read())
        return NodeReport(
            agent_id=self._agent_id,
            instance=self._instance,
            agent_version=self._version,
            protocol_min=PROTOCOL,
            protocol_max=PROTOCOL,
            features=self._features,
            now=self._clock(),
            node=identity,
            trouble=None if trouble is None else trouble.as_dict(),
            data_directories=directories,
            keyspaces=keyspaces,
            ring=ring,
            throttle_bytes_per_second=self._throttle(),
            events=self._newest(),
            load_bytes=load_bytes,
            stray_snapshots=strays,
            last_known=last_known,
        )

    async def _keep(self, identity: NodeIdentity) -> None:
        """Know who the node is, and where its files are, when Cassandra will be down."""
        try:
            await self._node.known.note(identity)
        except (HelenusError, OSError) as error:
            log.warning("what is known of the node can't be kept", reason=str(error))


def _seen_as(member: RingMember, seen: MemberState | None) -> RingMember:
    return member if seen is None else msgspec.structs.replace(member, up=seen.up, state=seen.state)
