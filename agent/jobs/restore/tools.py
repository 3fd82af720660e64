"""What every phase of a restore works with: the node, the sources of backups, the agent's state, a clock."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.cassandra.node import CassandraNode
from agent.cassandra.protocol import MemberState
from agent.cassandra.schema_capture import capture_schema
from agent.cassandra.schema_compare import by_name
from agent.jobs.in_use import InUse
from agent.jobs.restore.errors import NodesDown, NodesMoving, ViewsChanged
from agent.jobs.restore.notes import RestoreNotes
from agent.jobs.restore.source import Sources
from agent.model.job import JobContext
from agent.model.manifest import Head, TableReference
from agent.model.refusals import ImportHasBegun, TooLate
from agent.model.snapshot import KeyspaceSchema
from agent.wire.commands import RestoreArguments
from agent.wire.destinations import ON_SERVER
from agent.wire.names import check_name, check_tables


@dataclass(frozen=True)
class RestoreTools:
    """The collaborators of all phases. `clock`: unix seconds. `imports_at_a_time`: half of each is the start of
    nodetool's JVM. Three tables of 180 MB took 1.8 s on two cores, two at a time 2.05 s; four were no faster."""

    node: CassandraNode
    sources: Sources
    state: Path
    clock: Callable[[], float] = time.time
    in_use: InUse = field(default_factory=InUse)
    imports_at_a_time: int = 3

    def notes(self, context: JobContext) -> RestoreNotes:
        """The notes of the command's job. Raises `JobMissing`."""
        return RestoreNotes(self.state, context.job)

    async def live(self, keyspaces: Sequence[str]) -> dict[str, KeyspaceSchema]:
        """The live schema of those of the keyspaces that exist."""
        present = await self.node.view.keyspaces()
        return by_name(await capture_schema(self.node.cql, [name for name in keyspaces if name in present]))

    async def down(self) -> list[str]:
        """The addresses of members that are down."""
        return down_among(await self.members())

    async def members(self) -> dict[str, MemberState]:
        """The ring's members by address, as this node sees them."""
        return await self.node.control.members()

    async def refuse_when_down_or_moving(self, what: str) -> None:
        """Raises `NodesDown` unless every member is up, `NodesMoving` unless every one stays where it is, and
        `ControlOfAnotherNode` where a node of another cluster might say so."""
        await self.node.control.prove()
        members = await self.members()
        down = down_among(members)
        if down:
            raise NodesDown(f"{what} needs every node, and {', '.join(down)} is down", nodes=down)
        refuse_moving(members)

    async def refuse_new_views(self, arguments: RestoreArguments, notes: RestoreNotes) -> None:
        """Raises `ViewsChanged` when an asked table has a live view that is neither named nor noted for this job."""
        known = {(view.keyspace, view.name) for view in await notes.views()}
        known |= {(keyspace, name) for keyspace, names in arguments.views.items() for name in names}
        present = await self.node.view.keyspaces()
        new = [
            f"{keyspace}.{name}"
            for keyspace, tables in sorted(arguments.tables.items())
            if keyspace in present
            for name, base in sorted(present[keyspace].views.items())
            if base in tables and (keyspace, name) not in known
        ]
        if new:
            raise ViewsChanged(f"views came to the tables since the preflight: {', '.join(new)}", views=new)

    def refuse_when_late(self, context: JobContext) -> None:
        """Raises `TooLate` after the command's `not_after`."""
        if context.not_after is not None and self.clock() > context.not_after:
            raise TooLate("the command's time to begin has passed", not_after=context.not_after, now=self.clock())

    async def change(self, context: JobContext, notes: RestoreNotes, label: str, statement: str) -> None:
        """Journal `label`, then send the statement, unless the command's time has passed or the import has begun.

        Both are looked at last of all, when only the sending is left: a process that stood still before must find out.
        """
        await context.stages.enter(label)

        def guard() -> None:
            refuse_after_import(notes)
            self.refuse_when_late(context)

        await self.node.cql.change(statement, guard=guard)

    async def settled(self) -> None:
        """Wait until every node has the changed schema. Raises `SchemaDisagreement`."""
        await self.node.agreement.settled(self.node.settings.cql.agreement_seconds)


def down_among(members: Mapping[str, MemberState]) -> list[str]:
    """The addresses of those that are down."""
    return sorted(address for address, member in members.items() if not member.up)


def refuse_moving(members: Mapping[str, MemberState]) -> None:
    """Raises `NodesMoving` when any is joining, leaving or moving."""
    moving = {address: member.state for address, member in sorted(members.items()) if member.state != "NORMAL"}
    if moving:
        told = ", ".join(f"{address} is {state}" for address, state in moving.items())
        raise NodesMoving(f"the ring is changing: {told}", nodes=moving)


def checked(arguments: RestoreArguments) -> RestoreArguments:
    """The arguments, after every name in them was checked. Raises `InvalidName`."""
    check_name("tag", arguments.tag)
    check_name("host_id", arguments.source_host_id)
    check_tables(arguments.tables, "tables")
    check_tables(arguments.views, "views")
    check_tables(arguments.replace, "replace")
    return arguments


def counted_as(arguments: RestoreArguments) -> str:
    """The name under which progress is counted: the destination's id, or on-server's."""
    return ON_SERVER if arguments.source is None else arguments.source.destination


def refuse_after_import(notes: RestoreNotes) -> None:
    """Raises `ImportHasBegun` once the job's import has begun on this node. Looks at the disk: one stat."""
    if notes.import_begun():
        raise ImportHasBegun(f"the import of the job {notes.job} has begun on this node", job=notes.job)


def references(head: Head, tables: dict[str, list[str]]) -> list[TableReference]:
    """The backup's tables among the asked ones, in the manifest's order."""
    return [one for one in head.tables if one.table in tables.get(one.keyspace, ())]
