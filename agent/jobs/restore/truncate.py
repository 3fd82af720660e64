"""TRUNCATE: the asked tables are emptied on the whole cluster. Fenced; told to exactly one agent.

Cassandra needs every node for it, keeps the old data in a `truncated-*` snapshot, and does not say what became of a
TRUNCATE whose connection broke: doing it again before the import is harmless, after it would lose the restored rows.
Hundreds of tables take longer than a command may: each is noted once it is empty, and the next TRUNCATE of the job goes
on behind it.
"""

from agent.cassandra.cql_text import quote
from agent.cassandra.errors import KeyspaceNotEmptied
from agent.jobs.restore.tools import RestoreTools, checked, refuse_after_import
from agent.model.job import JobContext, Outcome
from agent.wire.names import CLUSTER_KEYSPACES, NODE_KEYSPACES
from agent.wire.results import PhaseResult


class TruncateJob:
    """See the module."""

    def __init__(self, tools: RestoreTools) -> None:
        self._tools = tools

    async def run(self, context: JobContext) -> Outcome:
        """Truncate table by table; what isn't there (it will be made) is passed over, and so is what the job has
        emptied already.

        Raises `ControlOfAnotherNode`, `NodesDown`, `NodesMoving`, `ViewsChanged` before the first.
        """
        arguments = checked(context.arguments)
        notes = self._tools.notes(context)
        refuse_after_import(notes)
        for keyspace in arguments.tables:
            if keyspace in NODE_KEYSPACES | CLUSTER_KEYSPACES:
                raise KeyspaceNotEmptied(f"{keyspace} can't be emptied, the cluster lives by it", keyspace=keyspace)
        await self._tools.refuse_when_down_or_moving("TRUNCATE")
        await self._tools.refuse_new_views(arguments, notes)
        present = await self._tools.node.view.keyspaces()
        truncated = await notes.truncated()
        done = []
        for keyspace, tables in sorted(arguments.tables.items()):
            for table in tables:
                if keyspace not in present or table not in present[keyspace].tables:
                    continue
                # A table that was made anew since has another id, and may be full again.
                emptied = (keyspace, table, present[keyspace].tables[table])
                if emptied not in truncated:
                    statement = f"TRUNCATE TABLE {quote(keyspace)}.{quote(table)}"
                    await self._tools.change(context, notes, f"truncating {keyspace}.{table}", statement)
                    await notes.put_truncated(*emptied)
                done.append(f"{keyspace}.{table}")
        return Outcome(PhaseResult(done))
