"""CREATE_VIEWS: views are made (again) and waited for until they are built. Fenced; on one node.

Also what a cancelled or failed restore does to give back the views that it dropped: without statements, the views that
this agent noted before the drop are made.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable

from agent.cassandra.cql_text import statements, unquote
from agent.jobs.restore.errors import StatementRefused
from agent.jobs.restore.tools import RestoreTools, checked
from agent.model.job import JobContext, Outcome
from agent.wire.results import PhaseResult

_NAME = r'(?:"(?:[^"]|"")+"|[A-Za-z0-9_]+)'
_CREATE = re.compile(
    rf"CREATE\s+MATERIALIZED\s+VIEW\s+(?:IF\s+NOT\s+EXISTS\s+)?({_NAME})\s*\.\s*({_NAME})\s+AS\s", re.IGNORECASE
)
_PAUSE_SECONDS = 1.0
_ASK_WHO_IS_DOWN = 15
"""Every so many looks at the builds: with nodetool it costs a JVM start."""

View = tuple[str, str]


class CreateViewsJob:
    """See the module. `sleep` is injected for tests."""

    def __init__(self, tools: RestoreTools, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._tools = tools
        self._sleep = sleep

    async def run(self, context: JobContext) -> Outcome:
        """Make the views that are not there, then wait for all of them."""
        arguments = checked(context.arguments)
        notes = self._tools.notes(context)
        node = self._tools.node
        given = arguments.statements or [view.statement for view in await notes.views()]
        wanted = {view_of(statement): statement for statement in given}
        present = await node.view.keyspaces()
        for (keyspace, name), statement in wanted.items():
            if keyspace in present and name in present[keyspace].views:
                continue
            await context.stages.enter(f"making view {keyspace}.{name}")
            await node.cql.change(statement, guard=lambda: self._tools.refuse_when_late(context))
            await self._tools.settled()
        await context.stages.enter("waiting for the views to be built")
        warnings = await self._built(context, list(wanted))
        return Outcome(PhaseResult([f"{keyspace}.{name}" for keyspace, name in wanted], warnings))

    async def _built(self, context: JobContext, views: list[View]) -> list[str]:
        """Wait until every live node has built every view; what nodes that are down owe is told."""
        node = self._tools.node
        look = 0
        down: frozenset[str] = frozenset()
        while views:
            if look % _ASK_WHO_IS_DOWN == 0:
                down = frozenset(await self._tools.down())
            look += 1
            hosts = {member.host_id: member.address for member in await node.view.ring()}
            live = {host for host, address in hosts.items() if address not in down}
            owing = {view: sorted(set(hosts) - await self._builders(view)) for view in views}
            waiting = [view for view, absent in owing.items() if live & set(absent)]
            if not waiting or context.stop_requested:
                return [
                    f"the view {view[0]}.{view[1]} is not built yet on {', '.join(hosts[host] for host in absent)}"
                    for view, absent in owing.items()
                    if absent
                ]
            await self._sleep(_PAUSE_SECONDS)
        return []

    async def _builders(self, view: View) -> set[str]:
        """The host ids that finished the view's build."""
        keyspace, name = (part.replace("'", "''") for part in view)
        rows = await self._tools.node.cql.rows(
            "SELECT host_id, status FROM system_distributed.view_build_status "  # noqa: S608 both are quoted
            f"WHERE keyspace_name = '{keyspace}' AND view_name = '{name}'"
        )
        return {str(row["host_id"]) for row in rows if row["status"] == "SUCCESS"}


def view_of(statement: str) -> View:
    """The view that a statement makes. Raises `StatementRefused` for anything but one CREATE MATERIALIZED VIEW with its
    keyspace."""
    found = _CREATE.match(statement.strip())
    if found is None or len(statements(statement)) != 1:
        raise StatementRefused("that is no single CREATE MATERIALIZED VIEW", statement=statement[:200])
    return unquote(found[1]), unquote(found[2])
